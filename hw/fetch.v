// Walks the activation memory: brings the windows of ROWS output positions into the window memory, one slot of one or two activation
// words a cycle, each word to every row that needs it; one pass ahead of the array. For MAXPOOL the same walk feeds the pool unit.
//
//   TILE  wait for a free window buffer          (one cycle if there is one)
//   SEG   set up a run of positions on one line  (one cycle)
//   WALK  one slot a cycle, or in SLOT cycles: (ky, column, channel words)
//   RES   the same: residual words of each position
// With FETCH 2 a slot brings two neighbouring channel words when NCB is even (residual words: when NCB and RES_N are).
//
// Latency: a slot's word is written to the window in the second cycle after it, and may be read from the third on.
// Stall rule: `stall` or a full pair of buffers hold the walk; the write side never waits.
// With SLOT above 1 a slot takes so many cycles and brings a word in as many pieces of 16 bits; everything else moves with the last piece.
// Padding: slots outside the input write PAD instead of memory.
//
// Parameters: ROWS positions; LANES bytes of a word; FETCH words of a slot, 1 or 2; AW address bits of the activation memory; WW address bits of one window buffer;
// RESIDUAL 1 builds the walk over residual words, which go behind the window, or with OWN 1 out on the res_ port (RN words a row).
// POOL 1 builds the walk for MAXPOOL; WORDS 0 leaves the words out: they go past this unit (act_memory_pumped.v).
// Widths of counters follow AW: a tensor has no more pixels, and a coordinate no larger size, than
// the memory has words (docs/hardware.md, Parameters).
`default_nettype none
module fetch #(
    parameter ROWS  = 4,
    parameter LANES = 8,
    parameter FETCH = 1,
    parameter AW    = 12,
    parameter WW    = 8,
    parameter RESIDUAL = 1,
    parameter OWN   = 0,
    parameter RN    = 1,
    parameter SLOT     = 1,
    parameter SB    = SLOT < 2 ? 1 : $clog2(SLOT),
    parameter DATA  = SLOT > 1 ? 16 : FETCH * LANES * 8,
    parameter RB    = ROWS < 2 ? 1 : $clog2(ROWS),
    parameter NW    = RN < 2 ? 1 : $clog2(RN),
    parameter POOL     = 1,
    parameter WORDS    = 1
) (
    input  wire               clk,
    input  wire               rst_n,
    input  wire               go,
    input  wire [767:0]       desc,
    input  wire [31:0]        word,          // of the descriptor, as it loads (control.v)
    input  wire [23:0]        load,
    input  wire               stall,
    input  wire               released,      // the array has finished with a buffer
    // activation memory
    output wire               a_re,
    output wire [AW-1:0]      a_addr,
    output wire [SB-1:0]      a_piece,       // SLOT above 1: which 16 bits of the word
    input  wire [DATA-1:0]    a_rdata,       // the word at a_addr, and the one after it; or a piece
    // window memory
    output wire [ROWS-1:0]    w_en,
    output wire               w_buf,
    output wire [ROWS*WW-1:0] w_addr,
    output wire               w_pair,        // two words: w_addr (even) and the next
    output wire [SB-1:0]      w_piece,       // SLOT above 1: which 16 bits w_data is
    output wire [DATA-1:0]    w_data,
    output wire               a_pad,         // the cycle after a_addr: the word is padding
    output reg  [WW:0]        fill,          // words in the last valid row of the buffer being filled
    output reg  [1:0]         fills_done,    // buffers filled so far, modulo 4
    output reg  [WW-1:0]      res_base,      // window word of the first residual word
    // residual words (w_buf, w_pair, w_data with them)
    output wire               res_we,
    output wire [RB-1:0]      res_w_row,
    output wire [NW-1:0]      res_word,
    // pool unit (shares w_data)
    output wire               p_valid,
    output wire               p_first,
    output wire               p_last,
    output wire               p_slice,       // with p_last: last position of the slice
    output wire               p_over,        // with p_last: last position of the layer
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
    localparam NB = AW + 1;                         // counts of positions
    localparam HB = AW + 1 > 16 ? 16 : AW + 1;      // of lines, columns, slices
    localparam XB = AW + 2 > 17 ? 17 : AW + 2;      // signed coordinates
    localparam KB = WW + 1;                         // channel words
    localparam QB = $clog2(ROWS + 1);               // rows
    wire        f_pool   = POOL != 0 && desc[HD_F_OPCODE +: HD_W_OPCODE] == HD_OP_MAXPOOL;
    wire        f_single = desc[HD_F_SINGLE];
    wire [XB-1:0] f_in_h = {{(XB-HB){1'b0}}, desc[HD_F_IN_H +: HB]}, f_in_w = {{(XB-HB){1'b0}}, desc[HD_F_IN_W +: HB]};
    wire [16:0]   iy0_17 = {desc[HD_F_IY0 + 15], desc[HD_F_IY0 +: 16]}, ix0_17 = {desc[HD_F_IX0 + 15], desc[HD_F_IX0 +: 16]};
    wire [16:0]   first_iy = {word[HD_F_IY0 % 32 + 15], word[HD_F_IY0 % 32 +: 16]};
    wire [XB-1:0] f_iy0 = iy0_17[XB-1:0], f_ix0 = ix0_17[XB-1:0];
    wire [KB-1:0] f_ncb = desc[HD_F_NCB +: KB];
    wire [7:0]  f_pad = desc[HD_F_PAD +: 8];
    wire [AW-1:0] f_col_step = desc[HD_F_COL_STEP +: AW];
    wire [AW-1:0] f_ky_step = desc[HD_F_KY_STEP +: AW], f_pos_step = desc[HD_F_POS_STEP +: AW];
    wire [AW-1:0] f_line_step = desc[HD_F_LINE_STEP +: AW];
    wire [7:0]  f_dx = desc[HD_F_DX +: 8], f_dy = desc[HD_F_DY +: 8], f_sx = desc[HD_F_SX +: 8], f_sy = desc[HD_F_SY +: 8];
    wire [16:0] dx_17 = {9'd0, f_dx}, dy_17 = {9'd0, f_dy}, sx_17 = {9'd0, f_sx}, sy_17 = {9'd0, f_sy};
    wire [7:0]  f_kh = desc[HD_F_KH +: 8], f_kw = desc[HD_F_KW +: 8];
    wire [HB-1:0] f_out_w = desc[HD_F_OUT_W +: HB], f_slices = desc[HD_F_SLICES +: HB];
    wire [NB-1:0] f_positions = desc[HD_F_POSITIONS +: NB];

    // ---- walk state. Counters run down and their last value is a flip-flop (`*_last`), so that no comparison precedes another.
    localparam [ROWS-1:0] ROW0 = 1;
    localparam [AW-1:0] ONE = 1, TWO = 2;
    localparam [NB-1:0] ROWS_N = ROWS[NB-1:0];
    localparam [QB-1:0] ROWS_Q = ROWS[QB-1:0], Q_ONE = 1;
    localparam [KB-1:0] K_ONE = 1, K_TWO = 2;
    reg in_tile, in_seg, in_walk, in_res;
    reg [1:0]    held;                        // buffers begun and not yet released
    reg [NB-1:0] m_left;                      // positions not yet in a pass (MAXPOOL: in a segment)
    reg          final_pass;                  // the pass (MAXPOOL: position) is the last one
    reg [HB-1:0] ox_left, slices_left;        // positions on this line, slices
    reg          fresh;                       // the first line is still to be set up
    reg [QB-1:0] rows_left;                   // valid rows of the pass not yet in a segment
    reg [QB-1:0] n_seg, start_ord, fin_ord;   // rows of the segment; ordinals of the newest started and of the oldest unfinished row
    reg          line_end, tile_end;          // after this segment
    reg [KB-1:0] cb_left;
    reg [7:0]    fin_left, start_left, ky_left;
    reg          cb_last, fin_last, start_last, ky_last, one_cb, one_kw, one_sx, one_kh, first_sweep;
    reg [AW-1:0] addr, next_col, next_sweep, nxt_addr, line_next, slice_next;
    reg [XB-1:0] ix, iy, seg_x, nxt_x, iy_line;
    reg [ROWS-1:0] seg_row, next_row, fin_row, act, last_row;
    reg          pool_first;

    wire in_res_now, has_res, res_end, pair_res;
    wire [ROWS-1:0] res_row;
    wire [AW-1:0] res_addr;
    wire piece_last;
    wire hold = stall || !piece_last;
    wire read = (in_walk || in_res_now) && !stall;
    wire walk = in_walk && !hold;
    wire slot = read && piece_last;
    wire pair_walk = FETCH == 2 && !f_pool && !f_ncb[0];
    wire pair      = in_res_now ? pair_res : pair_walk;
    wire sweep_end = cb_last && fin_last && fin_ord == n_seg;
    wire seg_end   = sweep_end && ky_last;
    wire end_seg   = walk && seg_end;
    wire column    = walk && cb_last && !sweep_end;         // to the next column of the sweep
    wire restart   = in_seg || (walk && sweep_end);         // to the first column of a sweep
    wire starts    = column && start_last && start_ord != n_seg;
    wire next_line = (in_tile && fresh) || (end_seg && line_end);
    wire slice_end = end_seg && f_pool && final_pass;
    wire walk_last = seg_end && !f_pool && tile_end && !has_res;
    wire has_buffer = !held[1];
    wire end_of_layer = f_pool ? slices_left == {HB{1'b0}} : final_pass;        // valid in TILE
    wire begin_tile = in_tile && !end_of_layer && (f_pool || has_buffer);

    always @(posedge clk) begin
        if (!rst_n) begin
            in_tile <= 1'b0; in_seg <= 1'b0; in_walk <= 1'b0; in_res <= 1'b0; held <= 2'd0;
        end else begin
            if (go) held <= 2'd0;
            else held <= held + {1'b0, begin_tile && !f_pool} - {1'b0, released};
            if (go) in_tile <= 1'b1;
            else if (in_tile) in_tile <= !(end_of_layer || begin_tile);
            else in_tile <= slice_end || (end_seg && !f_pool && tile_end && !has_res) || (in_res_now && !hold && res_end);
            in_seg <= begin_tile || (end_seg && (f_pool ? !final_pass : !tile_end));
            if (in_seg) in_walk <= 1'b1;
            else if (end_seg) in_walk <= 1'b0;
            if (end_seg && !f_pool && tile_end && has_res) in_res <= 1'b1;
            else if (!hold && res_end) in_res <= 1'b0;
        end
    end

    // ---- passes, segments, slices
    wire [NB-1:0] taken = f_pool ? {{(NB-1){1'b0}}, 1'b1} : ROWS_N;
    wire few = m_left < ROWS_N;
    wire [NB-1:0] rows_n = {{(NB-QB){1'b0}}, rows_left}, ox_n = {{(NB-HB){1'b0}}, ox_left};
    always @(posedge clk) begin
        one_cb <= f_pool || f_ncb == (pair_walk ? K_TWO : K_ONE);
        one_kw <= f_kw == 8'd1; one_sx <= f_sx == 8'd1; one_kh <= f_kh == 8'd1;
        // Without MAXPOOL a layer has one walk, and starts from what control loaded.
        if (POOL == 0 ? load[HD_F_POSITIONS / 32] : go || slice_end) m_left <= POOL == 0 ? word[HD_F_POSITIONS % 32 +: NB] : f_positions;
        else if (f_pool ? in_seg : begin_tile) m_left <= m_left - taken;
        if (go || slice_end) final_pass <= 1'b0;
        else if (f_pool ? in_seg : begin_tile) final_pass <= m_left <= taken;
        if (begin_tile) last_row <= few ? ROW0 << (m_left[QB-1:0] - Q_ONE) : ROW0 << (ROWS - 1);
        if (begin_tile) rows_left <= few ? m_left[QB-1:0] : ROWS_Q;
        else if (end_seg) rows_left <= rows_left - n_seg;
        if (go) slices_left <= f_slices;
        else if (slice_end) slices_left <= slices_left - 1'b1;
        if (go) fresh <= 1'b1;
        else if (slice_end) fresh <= 1'b1;
        else if (in_tile) fresh <= 1'b0;
        if (in_seg) begin
            n_seg <= f_single ? Q_ONE : ox_n < rows_n ? ox_left[QB-1:0] : rows_left;
            line_end <= f_single ? ox_n == {{(NB-1){1'b0}}, 1'b1} : ox_n <= rows_n;
            tile_end <= f_single ? rows_left == Q_ONE : rows_n <= ox_n;
        end
        if (next_line) ox_left <= f_out_w;
        else if (end_seg) ox_left <= ox_left - {{(HB-QB){1'b0}}, n_seg};
    end

    // ---- channel words, columns, window rows
    always @(posedge clk) begin
        if (restart || column) begin
            cb_left <= f_ncb; cb_last <= one_cb;
        end else if (walk) begin
            cb_left <= cb_left - (pair_walk ? K_TWO : K_ONE);
            cb_last <= cb_left == (pair_walk ? K_TWO << 1 : K_TWO);
        end
        if (restart) begin
            fin_left <= f_kw; fin_last <= one_kw; fin_ord <= Q_ONE; fin_row <= seg_row;
            start_left <= f_sx; start_last <= one_sx; start_ord <= Q_ONE; next_row <= seg_row << 1;
            act <= seg_row;
        end else if (column) begin
            fin_left <= fin_last ? f_sx : fin_left - 1'b1;
            fin_last <= fin_last ? one_sx : fin_left == 8'd2;
            start_left <= start_last ? f_sx : start_left - 1'b1;
            start_last <= start_last ? one_sx : start_left == 8'd2;
            if (fin_last) begin
                fin_ord <= fin_ord + 1'b1; fin_row <= fin_row << 1;
            end
            if (starts) begin
                start_ord <= start_ord + 1'b1; next_row <= next_row << 1;
            end
            act <= (act & ~(fin_last ? fin_row : {ROWS{1'b0}})) | (starts ? next_row : {ROWS{1'b0}});
        end
        if (in_seg) begin
            ky_left <= f_kh; ky_last <= one_kh; first_sweep <= 1'b1;
        end else if (walk && sweep_end) begin
            ky_left <= ky_left - 1'b1; ky_last <= ky_left == 8'd2; first_sweep <= 1'b0;
        end
        if (in_tile || f_pool) seg_row <= ROW0;
        else if (end_seg) seg_row <= next_row;
        if (in_seg) pool_first <= 1'b1;
        else if (walk) pool_first <= 1'b0;
    end

    // ---- addresses and coordinates, each one step ahead
    always @(posedge clk) begin
        if (restart) addr <= next_sweep;
        else if (column) addr <= next_col;
        else if (walk) addr <= addr + (pair_walk ? TWO : ONE);
        if (restart || column) next_col <= (restart ? next_sweep : next_col) + f_col_step;
        if (next_line) next_sweep <= line_next;
        else if (end_seg) next_sweep <= nxt_addr;
        else if (restart) next_sweep <= next_sweep + f_ky_step;
        if (next_line) nxt_addr <= line_next;
        else if (in_seg || (starts && first_sweep)) nxt_addr <= nxt_addr + f_pos_step;
        if (load[HD_F_IN_START / 32]) line_next <= word[HD_F_IN_START % 32 +: AW];
        else if (slice_end) line_next <= slice_next;
        else if (next_line) line_next <= line_next + f_line_step;
        if (load[HD_F_IN_START / 32]) slice_next <= word[HD_F_IN_START % 32 +: AW] + 1'b1;
        else if (slice_end) slice_next <= slice_next + 1'b1;

        if (restart) ix <= seg_x;
        else if (column) ix <= ix + dx_17[XB-1:0];
        if (next_line) seg_x <= f_ix0;
        else if (end_seg) seg_x <= nxt_x;
        if (next_line) nxt_x <= f_ix0;
        else if (in_seg || (starts && first_sweep)) nxt_x <= nxt_x + sx_17[XB-1:0];
        if (in_seg) iy <= iy_line;
        else if (walk && sweep_end) iy <= iy + dy_17[XB-1:0];
        if (POOL == 0 ? load[HD_F_IY0 / 32] : in_tile && fresh) iy_line <= POOL == 0 ? first_iy[XB-1:0] : f_iy0;
        else if (POOL == 0 ? end_seg && line_end : next_line) iy_line <= iy_line + sy_17[XB-1:0];
    end

    // ---- residual words of each valid position
    genvar r;
    generate if (RESIDUAL != 0) begin : g_residual
        // With OWN there are at most RN words a position.
        localparam JB = OWN != 0 && NW < 7 ? NW + 1 : 8;
        localparam [JB-1:0] J_ONE = 1, J_TWO = 2;
        wire [JB-1:0] f_res_n = desc[HD_F_RES_N +: JB];
        wire [23:0] res_stride = {8'd0, desc[HD_F_RES_STRIDE +: 16]};
        reg [JB-1:0] res_j;
        reg [RB-1:0] ordinal;               // of the row
        reg [AW-1:0] pos, at;
        reg [ROWS-1:0] row;
        assign in_res_now = in_res;
        assign has_res = f_res_n != {JB{1'b0}};
        assign pair_res = pair_walk && !f_res_n[0];
        wire row_end = res_j + (pair_res ? J_TWO : J_ONE) == f_res_n;
        assign res_end = in_res && row == last_row && row_end;
        assign res_row = row;
        assign res_addr = at;
        always @(posedge clk) begin
            if (load[HD_F_RES_START / 32]) pos <= word[HD_F_RES_START % 32 +: AW];
            else if (in_res && !hold && row_end) pos <= pos + res_stride[AW-1:0];
            if (!in_res) begin
                row <= ROW0; ordinal <= {RB{1'b0}}; res_j <= {JB{1'b0}}; at <= pos;
            end else if (!hold) begin
                res_j <= row_end ? {JB{1'b0}} : res_j + (pair_res ? J_TWO : J_ONE);
                at <= row_end ? pos + res_stride[AW-1:0] : at + (pair_res ? TWO : ONE);
                if (row_end) begin
                    row <= row << 1; ordinal <= ordinal + 1'b1;
                end
            end
        end
        if (OWN != 0) begin : g_own
            delay #(.WIDTH(RB + NW), .N(2)) u_at (.clk(clk), .x({ordinal, res_j[NW-1:0]}), .y({res_w_row, res_word}));
        end else begin : g_behind
            assign res_w_row = {RB{1'b0}};
            assign res_word = {NW{1'b0}};
        end
    end else begin : g_no_residual
        assign in_res_now = 1'b0;
        assign has_res = 1'b0;
        assign pair_res = 1'b0;
        assign res_end = 1'b1;
        assign res_row = ROW0;
        assign res_addr = {AW{1'b0}};
        assign res_w_row = {RB{1'b0}};
        assign res_word = {NW{1'b0}};
    end endgenerate

    // ---- slot pipeline: A (memory address), B (memory word), C (window write)
    wire outside = ix >= f_in_w || iy >= f_in_h;        // unsigned: negative coordinates are large
    assign a_re = read;
    assign a_addr = in_res_now ? res_addr : addr;

    wire [SB-1:0] piece, b_piece;
    wire b_last, c_last;
    generate if (SLOT > 1) begin : g_pieces
        reg [SB-1:0] count;
        always @(posedge clk)
            if (!in_walk && !in_res_now) count <= {SB{1'b0}};
            else if (!stall) count <= count + 1'b1;
        assign piece = count;
        assign piece_last = &count;
        delay #(.WIDTH(SB + 1), .N(1)) u_b (.clk(clk), .x({piece_last, piece}), .y({b_last, b_piece}));
        delay #(.WIDTH(SB + 1), .N(1)) u_c (.clk(clk), .x({b_last, b_piece}), .y({c_last, w_piece}));
    end else begin : g_whole
        assign piece = {SB{1'b0}};
        assign b_piece = piece;
        assign w_piece = piece;
        assign {piece_last, b_last, c_last} = 3'b111;
    end endgenerate
    assign a_piece = piece;

    reg b_valid, b_pair, b_pool, b_pad, b_tile_last, b_last_row, b_res, b_pfirst, b_plast, b_pslice, b_pover;
    reg [ROWS-1:0] b_rows;
    reg c_valid, c_pair, c_pool, c_tile_last, c_last_row, c_res, c_pfirst, c_plast, c_pslice, c_pover;
    reg [ROWS-1:0] c_rows;
    wire [ROWS-1:0] a_rows = in_res_now ? res_row : act;
    always @(posedge clk) begin
        b_valid <= rst_n && read && !f_pool; b_pool <= rst_n && slot && f_pool;
        b_pair <= pair; c_pair <= b_pair;
        b_pad <= outside && !in_res_now;
        b_rows <= a_rows; b_last_row <= |(a_rows & last_row);
        b_tile_last <= in_res_now ? res_end : walk_last;
        b_res <= in_res_now;
        b_pfirst <= pool_first; b_plast <= seg_end; b_pslice <= final_pass; b_pover <= slices_left == {{(HB-1){1'b0}}, 1'b1};
        c_valid <= rst_n && b_valid; c_pool <= rst_n && b_pool;
        c_rows <= b_rows; c_last_row <= b_last_row; c_tile_last <= b_tile_last; c_res <= b_res;
        c_pfirst <= b_pfirst; c_plast <= b_plast; c_pslice <= b_pslice; c_pover <= b_pslice && b_pover;
    end
    assign a_pad = b_pad;
    generate if (WORDS != 0) begin : g_words
        reg [DATA-1:0] c_data;
        always @(posedge clk) c_data <= b_pad ? {DATA/8{f_pad}} : a_rdata;
        assign w_data = c_data;
    end else begin : g_no_words
        assign w_data = {DATA{1'b0}};
        wire unused = &{1'b0, a_rdata};
    end endgenerate

    localparam [WW-1:0] W_ONE = 1, W_TWO = 2;
    reg [WW-1:0] wa [0:ROWS-1];
    reg          wbuf, res_seen;
    wire c_slot = c_valid && c_last;        // the word is whole
    wire c_window = c_valid && !(OWN != 0 && c_res);
    assign w_en = c_window ? c_rows : {ROWS{1'b0}};
    assign res_we = OWN != 0 && c_valid && c_res;
    assign w_buf = wbuf;
    assign w_pair = c_pair;
    assign p_valid = c_pool;
    assign p_first = c_pfirst;
    assign p_last = c_plast;
    assign p_slice = c_pslice;
    assign p_over = c_pover;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_waddr
        assign w_addr[r*WW +: WW] = wa[r];
        always @(posedge clk) begin
            if (go || (c_slot && c_tile_last)) wa[r] <= {WW{1'b0}};
            else if (c_window && c_last && c_rows[r]) wa[r] <= wa[r] + (c_pair ? W_TWO : W_ONE);
        end
    end endgenerate
    always @(posedge clk) begin
        if (go) begin
            wbuf <= 1'b0; fill <= {(WW+1){1'b0}}; fills_done <= 2'd0; res_seen <= 1'b0;
        end else if (c_slot) begin
            if (c_tile_last) begin
                wbuf <= ~wbuf; fill <= {(WW+1){1'b0}}; fills_done <= fills_done + 1'b1;
            end else if (c_last_row && c_window) fill <= fill + {1'b0, c_pair ? W_TWO : W_ONE};
            if (c_res && !res_seen) begin
                res_base <= wa[0]; res_seen <= 1'b1;
            end
        end
    end

    assign cnt_word = slot;
    assign cnt_pair = pair;
    assign cnt_wait = in_tile && !begin_tile && !end_of_layer;
    assign cnt_stall = (in_walk || in_res_now) && stall;
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
