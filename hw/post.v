// From drained columns to activation words: ROWS lanes of requantisation, the table, word assembly, and the store.
//
// Columns arrive one a cycle; all rows alike. A channel is CPC columns; bytes are collected into a word a row, lane by lane; when a word's
// last channel is there, the ROWS words are copied to the store chain and written one a cycle, row 0 first.
// The compiler keeps words ROWS columns apart (docs/formats.md, pacing channels), so the chain is always empty in time.
//
// Latency: the last column of a word in cycle x; row r's word is written in cycle x + PL + r, PL = 10. Stall rule: none.
// Parameters: ROWS, LANES, PLANES, ACC_BITS; PW parameter address bits; TABLES, AW activation address bits; RESIDUAL 1 builds the adder.
// Requires: ROWS <= LANES.
`default_nettype none
module post #(
    parameter ROWS     = 4,
    parameter LANES    = 8,
    parameter PLANES   = 2,
    parameter ACC_BITS = 24,
    parameter PW       = 8,
    parameter TABLES   = 4,
    parameter AW       = 12,
    parameter RESIDUAL = 1
) (
    // verilator lint_off UNUSEDSIGNAL
    // Descriptor fields, parameters and addresses are as wide as the contract; small memories use fewer bits.
    input  wire                     clk,
    input  wire                     rst_n,
    input  wire                     go,
    input  wire [767:0]             desc,
    // host side of parameters and tables
    input  wire                     h_param_we,
    input  wire [PW:0]              h_param_addr,
    input  wire                     h_table_we,
    input  wire [9:0]               h_table_addr,
    input  wire [31:0]              h_wdata,
    // columns
    input  wire                     c_start,     // first column of a tile is on `drain`
    input  wire                     c_final,     // with c_start: final tile of the pass
    input  wire [ROWS*ACC_BITS-1:0] drain,
    input  wire [ROWS*ACC_BITS-1:0] row_sum,
    // residual words, LATA + 2 cycles after the LAST entry they belong to; r_next a cycle earlier
    input  wire                     r_next,
    input  wire [ROWS*LANES*8-1:0]  r_word,
    // store
    output wire                     st_we,
    output wire [AW-1:0]            st_addr,
    output wire [LANES*8-1:0]       st_data,
    output reg                      layer_done
);
`include "heddle_contract.vh"
    localparam LB = $clog2(LANES);
    localparam [23:0] ROWS24 = ROWS[23:0];
    wire        f_even = desc[HD_F_EVEN], f_table = desc[HD_F_TABLE], f_residual = desc[HD_F_RESIDUAL];
    wire [3:0]  f_table_id = desc[HD_F_TABLE_ID +: 4];
    wire [15:0] f_param = desc[HD_F_PARAM_FIRST +: 16];
    wire [7:0]  f_cpc = desc[HD_F_CPC +: 8], f_tile_cols = desc[HD_F_TILE_COLS +: 8], f_last_cols = desc[HD_F_LAST_COLS +: 8];
    wire [15:0] f_cout = desc[HD_F_COUT +: 16], f_nch = desc[HD_F_NCH +: 16];
    wire [7:0]  f_fill = desc[HD_F_FILL +: 8], f_zero = desc[HD_F_OUT_ZERO +: 8];
    wire [7:0]  f_lo = desc[HD_F_CLAMP_LO +: 8], f_hi = desc[HD_F_CLAMP_HI +: 8];
    wire [23:0] f_positions = desc[HD_F_POSITIONS +: 24];
    wire [23:0] f_out_start = desc[HD_F_OUT_START +: 24], f_pass_step = desc[HD_F_PASS_STEP +: 24];
    wire [23:0] out_stride = {8'd0, desc[HD_F_OUT_STRIDE +: 16]};

    // ---- columns and channels (cycle x)
    reg  [7:0]  left;           // columns of the tile after this one
    reg         final_q;
    reg  [7:0]  k;              // column within the channel
    reg  [15:0] ch;
    wire        column = c_start || left != 8'd0;
    wire        is_final = c_start ? c_final : final_q;
    wire [7:0]  left_now = c_start ? (c_final ? f_last_cols : f_tile_cols) - 8'd1 : left - 8'd1;
    wire        k_first = k == 8'd0, k_last = k + 8'd1 == f_cpc;
    wire        channel = column && k_last;
    wire        pass_end = column && is_final && left_now == 8'd0;
    always @(posedge clk) begin
        if (!rst_n || go) begin
            left <= 8'd0; k <= 8'd0; ch <= 16'd0;
        end else if (column) begin
            left <= left_now;
            k <= k_last ? 8'd0 : k + 8'd1;
            if (pass_end) ch <= 16'd0;
            else if (k_last) ch <= ch + 16'd1;
        end
        if (c_start) final_q <= c_final;
    end

    // ---- parameters: address in x, word in x+1, bias used in x+2
    wire [63:0] param;
    wire [15:0] param_addr = f_param + ch;
    ram_sdp #(.WIDTH(32), .DEPTH(1 << PW)) u_bias (
        .clk(clk), .we(h_param_we && !h_param_addr[0]), .waddr(h_param_addr[PW:1]), .wdata(h_wdata),
        .re(channel), .raddr(param_addr[PW-1:0]), .rdata(param[31:0]));
    ram_sdp #(.WIDTH(22), .DEPTH(1 << PW)) u_scale (
        .clk(clk), .we(h_param_we && h_param_addr[0]), .waddr(h_param_addr[PW:1]), .wdata(h_wdata[21:0]),
        .re(channel), .raddr(param_addr[PW-1:0]), .rdata(param[53:32]));
    assign param[63:54] = 10'd0;
    reg [31:0] bias_2;
    reg [21:0] scale_2, scale_3;
    always @(posedge clk) begin
        bias_2 <= param[31:0]; scale_2 <= param[53:32];
        scale_3 <= scale_2;
    end

    // ---- residual words and the byte of the channel: used in x+4
    reg [ROWS*LANES*8-1:0] res_hold;
    wire [LB-1:0] lane = ch[LB-1:0];
    wire [LB-1:0] lane_3;
    wire [ROWS*8-1:0] res_byte;
    delay #(.WIDTH(LB), .N(3)) u_lane3 (.clk(clk), .x(lane), .y(lane_3));
    genvar r, l;
    generate if (RESIDUAL != 0) begin : g_residual
        reg [ROWS*8-1:0] pick;
        integer b;
        for (r = 0; r < ROWS; r = r + 1) begin : g_hold
            wire take;
            copy u_take (.clk(clk), .x(r_next), .y(take));
            always @(posedge clk) if (take) res_hold[r*LANES*8 +: LANES*8] <= r_word[r*LANES*8 +: LANES*8];
        end
        always @(posedge clk) begin
            for (b = 0; b < ROWS; b = b + 1)
                pick[b*8 +: 8] <= res_hold[(b*LANES + {{(32-LB){1'b0}}, lane_3})*8 +: 8];
        end
        assign res_byte = pick;
    end else begin : g_none
        assign res_byte = {ROWS*8{1'b0}};
        wire unused = &{1'b0, lane_3, r_next, r_word};
    end endgenerate

    // ---- lanes: byte in x+8
    wire [ROWS*8-1:0] byte_8, byte_next;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_lane
        post_lane #(.PLANES(PLANES), .ACC_BITS(ACC_BITS), .RESIDUAL(RESIDUAL)) u_lane (
            .clk(clk), .acc(drain[r*ACC_BITS +: ACC_BITS]), .first(k_first), .column(column),
            .row_sum(row_sum[r*ACC_BITS +: ACC_BITS]), .even(f_even),
            .bias(bias_2), .mult(scale_3[15:0]), .shift(scale_3[21:16]), .residual(res_byte[r*8 +: 8]), .add_residual(f_residual),
            .res_mult(desc[HD_F_RES_MULT +: 16]), .res_add(desc[HD_F_RES_ADD +: 32]), .res_shift(desc[HD_F_RES_SHIFT +: 5]),
            .zero(f_zero), .lo(f_lo), .hi(f_hi), .y(byte_8[r*8 +: 8]), .y_next(byte_next[r*8 +: 8]));
    end endgenerate

    // ---- table: read with the byte before its register, so that the memory's late output is chosen from and registered in a cycle of its own; byte in x+9
    wire beyond_8;
    reg [ROWS*8-1:0] byte_9;
    generate if (TABLES > 0) begin : g_table
        localparam TB = 6 + $clog2(TABLES < 2 ? 2 : TABLES);
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [31:0] four;
            wire [9:0]  at = {f_table_id, byte_next[r*8 + 2 +: 6]};
            wire [7:0]  plain = byte_8[r*8 +: 8];
            ram_sdp #(.WIDTH(32), .DEPTH(1 << TB)) u_ram (
                .clk(clk), .we(h_table_we), .waddr(h_table_addr[TB-1:0]), .wdata(h_wdata),
                .re(1'b1), .raddr(at[TB-1:0]), .rdata(four));
            wire [7:0] looked_up = plain[1:0] == 2'd0 ? four[7:0] : plain[1:0] == 2'd1 ? four[15:8] : plain[1:0] == 2'd2 ? four[23:16] : four[31:24];
            always @(posedge clk) byte_9[r*8 +: 8] <= beyond_8 ? f_fill : f_table ? looked_up : plain;
        end
    end else begin : g_no_table
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            always @(posedge clk) byte_9[r*8 +: 8] <= beyond_8 ? f_fill : byte_8[r*8 +: 8];
        end
        wire unused = &{1'b0, f_table, f_table_id, h_table_we, h_table_addr, byte_next};
    end endgenerate

    // ---- word assembly (x+9) and store chain (from x+10)
    wire word_end = channel && (lane == {LB{1'b1}} || ch + 16'd1 == f_nch);
    wire beyond = ch >= f_cout;
    wire channel_8, word_end_8, pass_end_8;
    reg  word_end_9, pass_end_9;
    wire [LB-1:0] lane_8;
    delay #(.WIDTH(LB + 3), .N(8)) u_flags (.clk(clk),
        .x({lane, channel && rst_n, word_end && rst_n, pass_end && rst_n}), .y({lane_8, channel_8, word_end_8, pass_end_8}));
    // What ROWS*LANES bytes ask of the lane's number is decided a cycle earlier, and for each row apart: else two nets of a thousand loads.
    reg [LANES-1:0] here_9, put_9;
    wire [ROWS-1:0] zero_9, end_9;
    integer n;
    always @(posedge clk) begin
        word_end_9 <= word_end_8; pass_end_9 <= pass_end_8;
        for (n = 0; n < LANES; n = n + 1) begin
            here_9[n] <= lane_8 == n[LB-1:0];
            // The word's first byte clears the rest, so that lanes past the last channel hold FILL.
            put_9[n] <= channel_8 && (lane_8 == n[LB-1:0] || lane_8 == {LB{1'b0}});
        end
    end
    delay #(.WIDTH(1), .N(8)) u_beyond (.clk(clk), .x(beyond), .y(beyond_8));

    reg  [ROWS*LANES*8-1:0] chain;
    wire [ROWS*LANES*8-1:0] assembled;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_assemble
        wire [7:0] value = byte_9[r*8 +: 8];
        copy u_zero (.clk(clk), .x(lane_8 == {LB{1'b0}}), .y(zero_9[r]));
        copy u_end (.clk(clk), .x(word_end_8), .y(end_9[r]));
        for (l = 0; l < LANES; l = l + 1) begin : g_byte
            reg [7:0] q;
            always @(posedge clk) if (put_9[l]) q <= here_9[l] ? value : f_fill;
            // At the word's end, lanes not yet seen are FILL also when it ends with lane 0.
            assign assembled[(r*LANES + l)*8 +: 8] = here_9[l] ? value : zero_9[r] ? f_fill : q;
        end
        always @(posedge clk)
            if (end_9[r]) chain[r*LANES*8 +: LANES*8] <= assembled[r*LANES*8 +: LANES*8];
            else if (r < ROWS - 1) chain[r*LANES*8 +: LANES*8] <= chain[(r < ROWS - 1 ? r + 1 : r)*LANES*8 +: LANES*8];
    end endgenerate

    reg [4:0]  slots;           // store slots left
    reg [4:0]  rows_left;       // of them, valid positions
    reg        last_word;
    reg [AW-1:0] addr, pass_addr;
    reg [AW-1:0] cb;
    reg [23:0] m_left;
    always @(posedge clk) begin
        if (!rst_n || go) begin
            slots <= 5'd0; rows_left <= 5'd0; last_word <= 1'b0; layer_done <= 1'b0;
            m_left <= f_positions; pass_addr <= f_out_start[AW-1:0]; cb <= {AW{1'b0}};
        end else begin
            layer_done <= slots == 5'd1 && last_word;
            if (word_end_9) begin
                slots <= ROWS[4:0];
                rows_left <= m_left >= ROWS24 ? ROWS[4:0] : m_left[4:0];
                last_word <= pass_end_9 && m_left <= ROWS24;
                addr <= pass_addr + cb;
                cb <= pass_end_9 ? {AW{1'b0}} : cb + 1'b1;
                if (pass_end_9) begin
                    pass_addr <= pass_addr + f_pass_step[AW-1:0];
                    m_left <= m_left >= ROWS24 ? m_left - ROWS24 : 24'd0;
                end
            end else if (slots != 5'd0) begin
                slots <= slots - 5'd1;
                if (rows_left != 5'd0) rows_left <= rows_left - 5'd1;
                addr <= addr + out_stride[AW-1:0];
            end
        end
    end
    assign st_we = slots != 5'd0 && rows_left != 5'd0;
    assign st_addr = addr;
    assign st_data = chain[LANES*8-1:0];
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
