// Walks the activation memory: brings the windows of ROWS output positions into the window memory, one slot of one or two activation
// words a cycle, each word to every row that needs it; one pass ahead of the array. For MAXPOOL the same walk feeds the pool unit.
//
//   TILE  wait for a free window buffer          (one cycle if there is one)
//   SEG   set up a run of positions on one line  (one cycle)
//   WALK  one slot a cycle: (ky, column, channel words)
//   RES   one slot a cycle: residual words of each position
// With FETCH 2 a slot brings two neighbouring channel words when NCB is even (residual words: when NCB and RES_N are).
//
// Latency: a slot's word is written to the window in the second cycle after it, and may be read from the third on.
// Stall rule: `stall` or a full pair of buffers hold the walk; the write side never waits.
// Padding: slots outside the input write PAD instead of memory.
//
// Parameters: ROWS positions; LANES bytes of a word; FETCH words of a slot, 1 or 2; AW address bits of the activation memory; WW address bits of one window buffer.
`default_nettype none
module fetch #(
    parameter ROWS  = 4,
    parameter LANES = 8,
    parameter FETCH = 1,
    parameter AW    = 12,
    parameter WW    = 8
) (
    input  wire               clk,
    input  wire               rst_n,
    input  wire               go,
    input  wire [767:0]       desc,
    input  wire               stall,
    input  wire               released,      // the array has finished with a buffer
    // activation memory
    output wire               a_re,
    output wire [AW-1:0]      a_addr,
    input  wire [FETCH*LANES*8-1:0] a_rdata,  // the word at a_addr, and the one after it
    // window memory
    output wire [ROWS-1:0]    w_en,
    output wire               w_buf,
    output wire [ROWS*WW-1:0] w_addr,
    output wire               w_pair,        // two words: w_addr (even) and the next
    output wire [FETCH*LANES*8-1:0] w_data,
    output reg  [WW:0]        fill,          // words in the last valid row of the buffer being filled
    output reg  [1:0]         fills_done,    // buffers filled so far, modulo 4
    output reg  [WW-1:0]      res_base,      // window word of the first residual word
    // pool unit (shares w_data)
    output wire               p_valid,
    output wire               p_first,
    output wire               p_last,
    // counters
    output wire               cnt_word,
    output wire               cnt_pair,
    output wire               cnt_wait,
    output wire               cnt_stall
);
`include "heddle_contract.vh"
    // verilator lint_off UNUSEDSIGNAL
    // Fields are as wide as the contract; small memories use fewer bits.
    // ---- descriptor fields
    wire        f_pool   = desc[HD_F_OPCODE +: HD_W_OPCODE] == HD_OP_MAXPOOL;
    wire        f_single = desc[HD_F_SINGLE];
    wire [15:0] f_in_h = desc[HD_F_IN_H +: 16], f_in_w = desc[HD_F_IN_W +: 16];
    wire signed [16:0] f_iy0 = {desc[HD_F_IY0 + 15], desc[HD_F_IY0 +: 16]};
    wire signed [16:0] f_ix0 = {desc[HD_F_IX0 + 15], desc[HD_F_IX0 +: 16]};
    wire [15:0] f_ncb = desc[HD_F_NCB +: 16];
    wire [7:0]  f_pad = desc[HD_F_PAD +: 8];
    wire [AW-1:0] f_in_start = desc[HD_F_IN_START +: AW], f_col_step = desc[HD_F_COL_STEP +: AW];
    wire [AW-1:0] f_ky_step = desc[HD_F_KY_STEP +: AW], f_pos_step = desc[HD_F_POS_STEP +: AW];
    wire [AW-1:0] f_line_step = desc[HD_F_LINE_STEP +: AW], f_res_start = desc[HD_F_RES_START +: AW];
    wire [7:0]  f_dx = desc[HD_F_DX +: 8], f_dy = desc[HD_F_DY +: 8], f_sx = desc[HD_F_SX +: 8], f_sy = desc[HD_F_SY +: 8];
    wire [7:0]  f_kh = desc[HD_F_KH +: 8], f_kw = desc[HD_F_KW +: 8], f_res_n = desc[HD_F_RES_N +: 8];
    wire [15:0] f_out_w = desc[HD_F_OUT_W +: 16], f_res_stride = desc[HD_F_RES_STRIDE +: 16], f_slices = desc[HD_F_SLICES +: 16];
    wire [23:0] res_stride = {8'd0, f_res_stride};
    wire [23:0] f_positions = desc[HD_F_POSITIONS +: 24];

    // ---- walk state
    localparam [ROWS-1:0] ROW0 = 1;
    localparam [AW-1:0] ONE = 1, TWO = 2;
    localparam [23:0] ROWS24 = ROWS[23:0];
    localparam S_IDLE = 3'd0, S_TILE = 3'd1, S_SEG = 3'd2, S_WALK = 3'd3, S_RES = 3'd4;
    reg [2:0] state;
    reg [1:0] held;                           // buffers begun and not yet released
    reg [23:0] m_left;                        // positions not yet in a segment
    reg [15:0] ox_left;                       // of them, on this line
    reg [4:0]  rows_left;                     // rows of the pass not yet in a segment
    reg [4:0]  n_seg;
    reg signed [16:0] iy_line, pos_ix, nxt_ix, iy, ix;
    reg [AW-1:0] line_addr, pos_addr, nxt_addr, sweep_addr, col_addr, addr, res_pos, res_addr, slice_base;
    reg [15:0] cb, slice_left;
    reg [7:0]  ky, sxc, res_j;
    reg [4:0]  started, finished;
    reg [ROWS-1:0] seg_row, next_row, act, last_row, res_row;
    reg        pool_first;
    reg [7:0]  kx [0:ROWS-1];

    wire slot = (state == S_WALK || state == S_RES) && !stall;
    wire walk = state == S_WALK && !stall;
    wire pair_walk = FETCH == 2 && !f_pool && !f_ncb[0];
    wire pair_res  = pair_walk && !f_res_n[0];
    wire pair      = state == S_RES ? pair_res : pair_walk;
    wire col_end = cb + (pair_walk ? 16'd2 : 16'd1) == f_ncb || f_pool;
    wire [ROWS-1:0] finishing;
    genvar r;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_finish
        assign finishing[r] = act[r] && kx[r] + 1'b1 == f_kw;
    end endgenerate
    wire sweep_end = col_end && (|finishing) && finished + 1'b1 == n_seg;
    wire start_row = col_end && !sweep_end && started != n_seg && sxc + 1'b1 == f_sx;
    wire seg_end   = sweep_end && ky + 1'b1 == f_kh;

    // After a segment
    wire line_end  = ox_left == {11'd0, n_seg};
    wire all_end   = m_left == {19'd0, n_seg};
    wire tile_end  = rows_left == n_seg || all_end;
    wire res_end   = res_row == last_row && res_j + (pair_res ? 8'd2 : 8'd1) == f_res_n;
    wire walk_last = seg_end && !f_pool && tile_end && f_res_n == 8'd0;

    wire [4:0] n_free = (ox_left < {11'd0, rows_left}) ? ox_left[4:0] : rows_left;
    wire has_buffer = held < 2'd2;
    wire begin_tile = state == S_TILE && (f_pool || has_buffer);
    wire end_of_layer = m_left == 24'd0;      // valid in TILE, after the last segment

    // Window column of each active row; zero for the others, so that a row starts at 0.
    wire kx_clear = state == S_SEG || (walk && sweep_end);
    wire kx_step = walk && col_end;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_kx
        always @(posedge clk)
            if (kx_clear) kx[r] <= 8'd0;
            else if (kx_step) kx[r] <= act[r] ? kx[r] + 1'b1 : 8'd0;
    end endgenerate

    always @(posedge clk) begin
        if (!rst_n) begin
            state <= S_IDLE;
            held <= 2'd0;
        end else begin
            if (go) held <= 2'd0;
            else held <= held + {1'b0, begin_tile && !f_pool && !end_of_layer} - {1'b0, released};
            case (state)
                S_IDLE: if (go) state <= S_TILE;
                S_TILE: if (end_of_layer && (!f_pool || slice_left == 16'd1)) state <= S_IDLE;
                        else if (begin_tile) state <= S_SEG;
                S_SEG: state <= S_WALK;
                S_WALK: if (walk && seg_end) begin
                    if (f_pool) state <= all_end ? S_TILE : S_SEG;
                    else if (!tile_end) state <= S_SEG;
                    else state <= (f_res_n != 8'd0) ? S_RES : S_TILE;
                end
                default: if (slot && res_end) state <= S_TILE;
            endcase
        end
    end

    always @(posedge clk) begin
        if (go) begin
            m_left <= f_positions; ox_left <= f_out_w;
            iy_line <= f_iy0; pos_ix <= f_ix0;
            line_addr <= f_in_start; pos_addr <= f_in_start; slice_base <= f_in_start;
            res_pos <= f_res_start; slice_left <= f_slices;
        end
        case (state)
            S_TILE: begin
                rows_left <= ROWS[4:0];
                seg_row <= ROW0;
                last_row <= (m_left >= ROWS24) ? ROW0 << (ROWS - 1)
                                             : ROW0 << (m_left[4:0] - 5'd1);
                if (f_pool && end_of_layer) begin
                    // next slice: the same positions, one channel word on
                    slice_left <= slice_left - 1'b1; slice_base <= slice_base + 1'b1;
                    m_left <= f_positions; ox_left <= f_out_w;
                    iy_line <= f_iy0; pos_ix <= f_ix0;
                    line_addr <= slice_base + 1'b1; pos_addr <= slice_base + 1'b1;
                end
            end
            S_SEG: begin
                n_seg <= (f_single || f_pool) ? 5'd1 : n_free;
                if (f_pool) seg_row <= ROW0;
                act <= f_pool ? ROW0 : seg_row;
                next_row <= seg_row << 1;
                started <= 5'd1; finished <= 5'd0; sxc <= 8'd0; ky <= 8'd0; cb <= 16'd0;
                iy <= iy_line; ix <= pos_ix;
                sweep_addr <= pos_addr; col_addr <= pos_addr; addr <= pos_addr;
                nxt_addr <= pos_addr + f_pos_step; nxt_ix <= pos_ix + $signed({9'd0, f_sx});
                pool_first <= 1'b1;
            end
            S_WALK: if (walk) begin
                pool_first <= 1'b0;
                if (!col_end) begin
                    cb <= cb + (pair_walk ? 16'd2 : 16'd1); addr <= addr + (pair_walk ? TWO : ONE);
                end else if (!sweep_end) begin
                    cb <= 16'd0;
                    col_addr <= col_addr + f_col_step; addr <= col_addr + f_col_step;
                    ix <= ix + $signed({9'd0, f_dx});
                    if (|finishing) finished <= finished + 1'b1;
                    sxc <= start_row ? 8'd0 : sxc + 1'b1;
                    act <= (act & ~finishing) | (start_row ? next_row : {ROWS{1'b0}});
                    if (start_row) begin
                        started <= started + 1'b1; next_row <= next_row << 1;
                        if (ky == 8'd0) begin
                            nxt_addr <= nxt_addr + f_pos_step; nxt_ix <= nxt_ix + $signed({9'd0, f_sx});
                        end
                    end
                end else if (!seg_end) begin
                    cb <= 16'd0; ky <= ky + 1'b1;
                    iy <= iy + $signed({9'd0, f_dy}); ix <= pos_ix;
                    sweep_addr <= sweep_addr + f_ky_step; col_addr <= sweep_addr + f_ky_step; addr <= sweep_addr + f_ky_step;
                    act <= seg_row; next_row <= seg_row << 1;
                    started <= 5'd1; finished <= 5'd0; sxc <= 8'd0;
                end else begin
                    // next segment
                    m_left <= m_left - {19'd0, n_seg}; rows_left <= rows_left - n_seg;
                    seg_row <= next_row;
                    if (line_end) begin
                        ox_left <= f_out_w; iy_line <= iy_line + $signed({9'd0, f_sy}); pos_ix <= f_ix0;
                        line_addr <= line_addr + f_line_step; pos_addr <= line_addr + f_line_step;
                    end else begin
                        ox_left <= ox_left - {11'd0, n_seg}; pos_ix <= nxt_ix; pos_addr <= nxt_addr;
                    end
                    res_row <= ROW0; res_j <= 8'd0; res_addr <= res_pos;
                end
            end
            S_RES: if (slot) begin
                if (res_j + (pair_res ? 8'd2 : 8'd1) == f_res_n) begin
                    res_j <= 8'd0; res_row <= res_row << 1;
                    res_pos <= res_pos + res_stride[AW-1:0];
                    res_addr <= res_pos + res_stride[AW-1:0];
                end else begin
                    res_j <= res_j + (pair_res ? 8'd2 : 8'd1); res_addr <= res_addr + (pair_res ? TWO : ONE);
                end
            end
            default: ;
        endcase
    end

    // ---- slot pipeline: A (memory address), B (memory word), C (window write)
    wire outside = ix < 0 || ix >= $signed({1'b0, f_in_w}) || iy < 0 || iy >= $signed({1'b0, f_in_h});
    wire is_res = state == S_RES;
    assign a_re = slot;
    assign a_addr = is_res ? res_addr : addr;

    reg b_valid, b_pair, b_pool, b_pad, b_tile_last, b_last_row, b_res, b_pfirst, b_plast;
    reg [ROWS-1:0] b_rows;
    reg c_valid, c_pair, c_pool, c_tile_last, c_last_row, c_res, c_pfirst, c_plast;
    reg [ROWS-1:0] c_rows;
    reg [FETCH*LANES*8-1:0] c_data;
    wire [ROWS-1:0] a_rows = is_res ? res_row : act;
    always @(posedge clk) begin
        b_valid <= rst_n && slot && !f_pool; b_pool <= rst_n && slot && f_pool;
        b_pair <= pair; c_pair <= b_pair;
        b_pad <= outside && !is_res;
        b_rows <= a_rows; b_last_row <= |(a_rows & last_row);
        b_tile_last <= is_res ? res_end : walk_last;
        b_res <= is_res;
        b_pfirst <= pool_first; b_plast <= seg_end;
        c_valid <= rst_n && b_valid; c_pool <= rst_n && b_pool;
        c_rows <= b_rows; c_last_row <= b_last_row; c_tile_last <= b_tile_last; c_res <= b_res;
        c_pfirst <= b_pfirst; c_plast <= b_plast;
        c_data <= b_pad ? {FETCH*LANES{f_pad}} : a_rdata;
    end

    localparam [WW-1:0] W_ONE = 1, W_TWO = 2;
    reg [WW-1:0] wa [0:ROWS-1];
    reg          wbuf, res_seen;
    assign w_en = c_valid ? c_rows : {ROWS{1'b0}};
    assign w_buf = wbuf;
    assign w_data = c_data;
    assign w_pair = c_pair;
    assign p_valid = c_pool;
    assign p_first = c_pfirst;
    assign p_last = c_plast;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_waddr
        assign w_addr[r*WW +: WW] = wa[r];
        always @(posedge clk) begin
            if (go || (c_valid && c_tile_last)) wa[r] <= {WW{1'b0}};
            else if (c_valid && c_rows[r]) wa[r] <= wa[r] + (c_pair ? W_TWO : W_ONE);
        end
    end endgenerate
    always @(posedge clk) begin
        if (go) begin
            wbuf <= 1'b0; fill <= {(WW+1){1'b0}}; fills_done <= 2'd0; res_seen <= 1'b0;
        end else if (c_valid) begin
            if (c_tile_last) begin
                wbuf <= ~wbuf; fill <= {(WW+1){1'b0}}; fills_done <= fills_done + 1'b1;
            end else if (c_last_row) fill <= fill + {1'b0, c_pair ? W_TWO : W_ONE};
            if (c_res && !res_seen) begin
                res_base <= wa[0]; res_seen <= 1'b1;
            end
        end
    end

    assign cnt_word = slot;
    assign cnt_pair = pair;
    assign cnt_wait = state == S_TILE && !begin_tile && !end_of_layer;
    assign cnt_stall = (state == S_WALK || state == S_RES) && stall;
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
