// From drained columns to activation bytes with one lane for all rows: small, and slower to drain than post.v.
//
// A column stays on the drain for T = ROWS * POST cycles; in that time the lane takes its rows one after the other, POST cycles each. A row's
// columns are merged in a ring of ROWS sums; a finished channel goes through post_shared_lane.v. Its byte is written to the activation memory
// at once: lane 0 of a word fills the other lanes with FILL, the other lanes write themselves alone, so no word is ever assembled.
//
// Latency: the last row of the last column is sampled in cycle x; its byte is written in cycle x + POST + 11, with SUMS 0 x + POST + 10. Stall rule: none.
// Parameters: POST, cycles a value takes in the lane; ROWS, COLS, LANES, PLANES, ACC_BITS; PW parameter address bits; TABLES; AW activation address
// bits; RESIDUAL 1 builds the residual adder and the memory of residual words, RN words a row, FETCH a write or with SLOT above 1
// 16 bits; KEEP 1 keeps the activation sums here; SUMS 0: there are none, and no EVEN. Requires: POST 1, 2, 4, 8 or 16, and ROWS * POST of 2 or more.
`default_nettype none
module post_shared #(
    parameter POST     = 4,
    parameter ROWS     = 4,
    parameter COLS     = 8,
    parameter LANES    = 8,
    parameter PLANES   = 2,
    parameter ACC_BITS = 24,
    parameter PW       = 8,
    parameter TABLES   = 4,
    parameter AW       = 12,
    parameter RESIDUAL = 1,
    parameter FETCH    = 1,
    parameter RN       = 1,
    parameter RB       = ROWS < 2 ? 1 : $clog2(ROWS),
    parameter NW       = RN < 2 ? 1 : $clog2(RN),
    parameter LB       = $clog2(LANES),
    parameter SLOT     = 1,
    parameter SB       = SLOT < 2 ? 1 : $clog2(SLOT),
    parameter DATA     = SLOT > 1 ? 16 : FETCH * LANES * 8,
    parameter KEEP     = 0,
    parameter SUMS     = 1
) (
    // verilator lint_off UNUSEDSIGNAL
    // Descriptor fields, parameters and addresses are as wide as the contract; small memories use fewer bits.
    input  wire                     clk,
    input  wire                     rst_n,
    input  wire                     go,
    input  wire [767:0]             desc,
    input  wire [31:0]              word,        // of the descriptor, as it loads (control.v)
    input  wire [23:0]              load,
    // host side of parameters and tables
    input  wire                     h_param_we,
    input  wire [PW:0]              h_param_addr,
    input  wire                     h_table_we,
    input  wire [9:0]               h_table_addr,
    input  wire [31:0]              h_wdata,
    // columns
    input  wire                     c_next,      // the first column of a tile is on `drain` from the next cycle on
    input  wire                     c_final,     // with c_next: final tile of the pass
    input  wire [ACC_BITS-1:0]      drain,       // row after row
    input  wire [ROWS*ACC_BITS-1:0] row_sum,     // of the tile, from one cycle after its first column to the one after its last; with POST
                                                 // of 4 and more it may come and go up to POST - 1 cycles earlier, with KEEP 1 come any time before
                                                 // and go after the first column's first cycle
    // residual words from fetch; pass_over: those of a pass were all read
    input  wire                     res_we,
    input  wire                     res_buf,
    input  wire [RB-1:0]            res_w_row,
    input  wire [NW-1:0]            res_word,
    input  wire                     res_pair,
    input  wire [SB-1:0]            res_piece,
    input  wire [DATA-1:0]          res_data,
    output wire                     pass_over,
    // store
    output wire                     st_we,
    output wire                     st_word,     // the first byte of a word
    output wire [AW-1:0]            st_addr,
    output wire [LANES-1:0]         st_lanes,
    output wire [LANES*8-1:0]       st_data,
    output wire [LB-1:0]            st_lane,     // the byte alone, and its lane
    output wire [7:0]               st_value,
    output reg                      layer_done
);
`include "heddle_contract.vh"
    localparam HB = LB + NW, CB = POST < 2 ? 1 : $clog2(POST);
    localparam [RB-1:0] ROW_LAST = ROWS[RB-1:0] - 1'b1;
    localparam [23:0] ROWS24 = ROWS[23:0];
    wire        f_even = desc[HD_F_EVEN], f_table = desc[HD_F_TABLE], f_residual = desc[HD_F_RESIDUAL];
    wire [3:0]  f_table_id = desc[HD_F_TABLE_ID +: 4];
    wire [PW-1:0] f_param = desc[HD_F_PARAM_FIRST +: PW];
    localparam TCB = $clog2(COLS + 1), KB = 5;               // columns of a tile; of a channel, 16 at most
    wire [KB-1:0] f_cpc = desc[HD_F_CPC +: KB];
    wire [TCB-1:0] f_tile_cols = desc[HD_F_TILE_COLS +: TCB], f_last_cols = desc[HD_F_LAST_COLS +: TCB];
    wire [PW:0] f_cout = desc[HD_F_COUT +: PW+1], f_nch = desc[HD_F_NCH +: PW+1];      // no more than there are parameters
    wire [7:0]  f_fill = desc[HD_F_FILL +: 8], f_zero = desc[HD_F_OUT_ZERO +: 8];
    wire [7:0]  f_lo = desc[HD_F_CLAMP_LO +: 8], f_hi = desc[HD_F_CLAMP_HI +: 8];
    wire [23:0] out_stride = {8'd0, desc[HD_F_OUT_STRIDE +: 16]};

    // ---- slots: one row of one column, POST cycles; `tick` is the last of them, cycle x of the slot
    reg           busy, final_q;
    reg  [TCB-1:0] left;          // columns of the tile after this one
    reg  [KB-1:0] k;              // column within the channel
    reg  [RB-1:0] row;
    reg  [PW-1:0] param_at;
    reg  [HB-1:0] channel;        // of the pass; only the residual asks
    wire          slot_end;
    wire          take_sum;       // POST below 4: the row before
    generate if (POST == 1) begin : g_every
        assign slot_end = 1'b1;
        assign take_sum = 1'b1;
    end else begin : g_phase
        localparam [CB-1:0] PHASE_LAST = POST[CB-1:0] - 1'b1, PHASE_ONE = 1;
        reg [CB-1:0] phase;
        always @(posedge clk) phase <= c_next ? {CB{1'b0}} : phase + 1'b1;
        assign slot_end = phase == PHASE_LAST;
        assign take_sum = POST < 4 || phase == PHASE_ONE;
    end endgenerate
    wire tick = busy && slot_end;
    wire column_end = tick && row == ROW_LAST;
    wire k_first = k == {KB{1'b0}}, k_last = k + 1'b1 == f_cpc;
    wire tile_end = left == {TCB{1'b0}};
    always @(posedge clk) begin
        if (!rst_n || go) begin
            busy <= 1'b0; k <= {KB{1'b0}}; param_at <= f_param; channel <= {HB{1'b0}};
        end else begin
            if (column_end) begin
                k <= k_last ? {KB{1'b0}} : k + 1'b1;
                if (tile_end && final_q) begin
                    param_at <= f_param; channel <= {HB{1'b0}};
                end else if (k_last) begin
                    param_at <= param_at + 1'b1; channel <= channel + 1'b1;
                end
            end
            if (c_next) busy <= 1'b1;
            else if (column_end && tile_end) busy <= 1'b0;
        end
        if (c_next) begin
            left <= (c_final ? f_last_cols : f_tile_cols) - 1'b1; final_q <= c_final;
        end else if (column_end) left <= left - 1'b1;
        if (c_next || column_end) row <= {RB{1'b0}};
        else if (tick) row <= row + 1'b1;
    end

    // ---- parameters: read in x+2 of row 0 (SUMS 0: a cycle earlier, as all that follows); the memories then hold them for the other rows
    reg           tick_1, first_1, value_1, value_2, value_3, head_1, head_2;
    wire          read = SUMS != 0 ? head_2 : head_1, value = SUMS != 0 ? value_3 : value_2;
    reg  [RB-1:0] row_1;
    reg  [PW-1:0] param_1;
    wire [31:0]   bias;
    wire [21:0]   scale;
    ram_sdp #(.WIDTH(32), .DEPTH(1 << PW)) u_bias (
        .clk(clk), .we(h_param_we && !h_param_addr[0]), .waddr(h_param_addr[PW:1]), .wdata(h_wdata), .re(read), .raddr(param_1), .rdata(bias));
    ram_sdp #(.WIDTH(22), .DEPTH(1 << PW)) u_scale (
        .clk(clk), .we(h_param_we && h_param_addr[0]), .waddr(h_param_addr[PW:1]), .wdata(h_wdata[21:0]), .re(read), .raddr(param_1), .rdata(scale));
    always @(posedge clk) begin
        tick_1 <= tick && rst_n; first_1 <= k_first; row_1 <= row;
        value_1 <= tick && k_last && rst_n; value_2 <= value_1; value_3 <= value_2;
        head_1 <= tick && k_last && row == {RB{1'b0}}; head_2 <= head_1;
        if (tick) param_1 <= param_at;
    end

    // ---- merge of a row's columns
    wire signed [31:0] drain32 = {{(32-ACC_BITS){drain[ACC_BITS-1]}}, drain};
    wire signed [31:0] z;
    generate if (SUMS == 0) begin : g_no_sums
        merge_ring #(.ROWS(ROWS), .PLANES(PLANES), .EARLY(1)) u_merge (.clk(clk), .take(tick_1), .first(first_1), .x(drain32), .z(z));
        wire unused = &{1'b0, row_sum, f_even, take_sum, head_2, value_3};
    end else begin : g_sums
        reg  [31:0] acc32;
        wire [ROWS*ACC_BITS-1:0] sums;
        wire [ACC_BITS-1:0] picked_sum;
        reg  [ACC_BITS-1:0] sum;
        if (KEEP != 0) begin : g_keep
            reg  [ROWS*ACC_BITS-1:0] kept;
            reg  c_now;
            always @(posedge clk) begin
                c_now <= c_next;
                // The row's sum is the lowest when its turn comes.
                if (c_now) kept <= row_sum;
                else if (tick_1) kept <= {kept[0 +: ACC_BITS], kept[ROWS*ACC_BITS-1 -: (ROWS-1)*ACC_BITS]};
            end
            assign sums = kept;
        end else begin : g_no_keep
            assign sums = row_sum;
        end
        if (ROWS == 1) begin : g_one_row
            assign picked_sum = sums;
        end else begin : g_rows
            wire [(ACC_BITS << RB)-1:0] all_sums = {{((ACC_BITS << RB) - ROWS*ACC_BITS){1'b0}}, sums};
            wire [31:0] at_1 = {{(32-RB){1'b0}}, POST < 4 ? row_1 : row};
            assign picked_sum = all_sums[(KEEP != 0 ? 32'd0 : at_1)*ACC_BITS +: ACC_BITS];
        end
        wire signed [31:0] sum32 = {{(32-ACC_BITS){sum[ACC_BITS-1]}}, sum};
        wire signed [31:0] merged;
        reg  signed [31:0] z_sum;
        merge_ring #(.ROWS(ROWS), .PLANES(PLANES)) u_merge (.clk(clk), .take(tick_1), .first(first_1), .x(acc32), .z(merged));
        always @(posedge clk) begin
            acc32 <= drain32;
            if (take_sum) sum <= picked_sum;
            z_sum <= f_even ? merged - sum32 : merged;
        end
        assign z = z_sum;
    end endgenerate

    // ---- the byte of the residual word, with the value it belongs to
    wire [7:0] res_3;
    generate if (RESIDUAL != 0) begin : g_residual
        wire pass_end_now = column_end && tile_end && final_q && rst_n;
        reg buf_now, over;
        reg [HB-1:0] channel_1;
        always @(posedge clk) begin
            over <= pass_end_now;
            if (!rst_n || go) buf_now <= 1'b0;
            else if (SUMS != 0 ? over : pass_end_now) buf_now <= !buf_now;
            channel_1 <= channel;
        end
        assign pass_over = over;
        residual #(.ROWS(ROWS), .LANES(LANES), .FETCH(FETCH), .SLOT(SLOT), .WORDS(RN)) u_residual (
            .clk(clk), .we(res_we), .w_buf(res_buf), .w_row(res_w_row), .w_word(res_word), .w_pair(res_pair), .w_piece(res_piece), .w_data(res_data),
            .r_buf(buf_now), .r_row(SUMS != 0 ? row_1 : row), .r_channel(SUMS != 0 ? channel_1 : channel), .q(res_3));
    end else begin : g_no_residual
        assign res_3 = 8'd0;
        assign pass_over = 1'b0;
        wire unused = &{1'b0, channel, res_we, res_buf, res_w_row, res_word, res_pair, res_piece, res_data};
    end endgenerate

    // ---- requantisation: in x+3, to a byte in x+3+POST+7
    wire       byte_valid;
    wire [7:0] byte_out;
    post_shared_lane #(.POST(POST), .RESIDUAL(RESIDUAL)) u_lane (
        .clk(clk), .rst_n(rst_n), .take(value), .z(z), .bias(bias), .mult(scale[15:0]), .shift(scale[21:16]),
        .residual(res_3), .add_residual(f_residual),
        .load_mult(load[HD_F_RES_MULT / 32]), .res_mult(word[HD_F_RES_MULT % 32 +: 16]), .load_add(load[HD_F_RES_ADD / 32]), .res_add(word), .res_shift(desc[HD_F_RES_SHIFT +: 5]),
        .zero(f_zero), .lo(f_lo), .hi(f_hi), .valid(byte_valid), .y(byte_out));

    // ---- table, one cycle
    reg       done_valid;
    reg [7:0] plain;
    wire [7:0] mapped;
    always @(posedge clk) begin
        done_valid <= byte_valid && rst_n; plain <= byte_out;
    end
    generate if (TABLES > 0) begin : g_table
        localparam TB = 6 + $clog2(TABLES < 2 ? 2 : TABLES);
        wire [31:0] four;
        wire [9:0]  at = {f_table_id, byte_out[7:2]};
        ram_sdp #(.WIDTH(32), .DEPTH(1 << TB)) u_ram (
            .clk(clk), .we(h_table_we), .waddr(h_table_addr[TB-1:0]), .wdata(h_wdata), .re(1'b1), .raddr(at[TB-1:0]), .rdata(four));
        assign mapped = !f_table ? plain : plain[1:0] == 2'd0 ? four[7:0] : plain[1:0] == 2'd1 ? four[15:8]
                                         : plain[1:0] == 2'd2 ? four[23:16] : four[31:24];
    end else begin : g_no_table
        assign mapped = plain;
        wire unused = &{1'b0, f_table, f_table_id, h_table_we, h_table_addr};
    end endgenerate

    // ---- store: bytes come row after row, channel after channel
    reg [RB-1:0] s_row;
    reg [LB-1:0] s_lane;
    reg [PW:0]   s_left;            // channels of the pass left
    reg [AW:0]   m_left;            // positions not yet finished, this pass included
    reg [AW-1:0] pass_addr, word_addr, addr;
    wire rows_end = s_row == ROW_LAST;
    wire pass_end = s_left == {{PW{1'b0}}, 1'b1};
    wire last_pass = {{(23-AW){1'b0}}, m_left} <= ROWS24;
    // Of the row that s_row says: a position of the layer. Decided as the row before ends, for the same reason as `beyond` below.
    wire [RB:0] row_after = {1'b0, s_row} + 1'b1;
    reg real_row;
    always @(posedge clk)
        if (!rst_n || go) real_row <= 1'b1;
        else if (done_valid) real_row <= rows_end || {{(23-RB){1'b0}}, row_after} < {{(23-AW){1'b0}}, m_left};
    // PASS_STEP of the descriptor is the same product.
    wire [23:0] pass_step = ROWS24 * out_stride;
    wire [AW-1:0] next_pass = pass_addr + pass_step[AW-1:0];
    wire [AW-1:0] next_word = word_addr + 1'b1;
    wire word_end = s_lane == {LB{1'b1}};
    always @(posedge clk) begin
        layer_done <= done_valid && rows_end && pass_end && last_pass && rst_n;
        if (load[HD_F_POSITIONS / 32]) m_left <= word[HD_F_POSITIONS % 32 +: AW+1];         // no more than the memory has words for
        if (load[HD_F_OUT_START / 32]) begin
            pass_addr <= word[HD_F_OUT_START % 32 +: AW]; word_addr <= word[HD_F_OUT_START % 32 +: AW]; addr <= word[HD_F_OUT_START % 32 +: AW];
        end
        if (!rst_n || go) begin
            s_row <= {RB{1'b0}}; s_lane <= {LB{1'b0}}; s_left <= f_nch;
        end else if (done_valid) begin
            if (!rows_end) begin
                s_row <= s_row + 1'b1; addr <= addr + out_stride[AW-1:0];
            end else begin
                s_row <= {RB{1'b0}};
                if (pass_end) begin
                    s_lane <= {LB{1'b0}}; s_left <= f_nch;
                    m_left <= m_left - ROWS24[AW:0]; pass_addr <= next_pass; word_addr <= next_pass; addr <= next_pass;
                end else begin
                    s_lane <= s_lane + 1'b1; s_left <= s_left - 1'b1;
                    word_addr <= word_end ? next_word : word_addr;
                    addr <= word_end ? next_word : word_addr;
                end
            end
        end
    end
    // Fewer than LANES channels of a pass are not real, its last ones.
    localparam UB = LB < PW + 1 ? LB : PW + 1;
    wire [UB-1:0] unreal = f_nch[UB-1:0] - f_cout[UB-1:0];
    // Decided as the channel before ends: the byte's way to an activation memory at clk_fast is half a cycle.
    reg beyond;
    always @(posedge clk)
        if (!rst_n || go) beyond <= 1'b0;
        else if (done_valid && rows_end) beyond <= !pass_end && {1'b0, s_left} <= {{(PW+2-UB){1'b0}}, unreal} + 1'b1;
    wire [7:0] stored = beyond ? f_fill : mapped;
    assign st_word = s_lane == {LB{1'b0}};
    assign st_we = done_valid && real_row;
    assign st_addr = addr;
    assign st_lane = s_lane;
    assign st_value = stored;
    genvar l;
    generate for (l = 0; l < LANES; l = l + 1) begin : g_byte
        assign st_lanes[l] = s_lane == l || st_word;
        assign st_data[l*8 +: 8] = s_lane == l ? stored : f_fill;
    end endgenerate
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
