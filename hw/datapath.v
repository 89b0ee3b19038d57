// The array as synthesised: window memory, weight memory, row edges (pair tables and activation sums), processing elements, drain.
// hw/datapath_fast.v is the same function and timing written for simulation speed; tests hold the two equal.
//
//   window word -> s, d of each pair -> [hop register every HOP columns] -> PEs -> shadow registers -> drain
//
// Position 0 of the drain is the last column: operands and drain flow the same way, so that each hop delays both alike.
// With SERIAL 1 the shadow registers are one chain, and the rows of a column leave one after the other.
// Latency: the first column of a tile is on `drain` LATA = 6 + LOG + COMB + HOPS cycles after its last step's issue, then each
// column (with SERIAL each row of each) for DRAIN cycles. `row_sum` (the row's activation sum over the tile) holds from one cycle after the first column to the cycle after the last.
// Stall rule: none; a step is taken whenever s_valid.
//
// Parameters: ROWS, COLS, LANES, PLANES, HOP, ACC_BITS, FETCH as in docs/hardware.md; DRAIN cycles of a column on the drain; WW, SW address
// bits of a window buffer and of the stream.
// LEAN 1 leaves out the registers behind window and weight memory (the addresses come a cycle later instead): fewer cells, a slower clock, and
// `word` two cycles after re. EARLY: row_sum comes so many cycles earlier, which saves its delay.
// GATHER 1: each pair of lanes reads the window word of its own address, from a memory beside the weights; window reads come a cycle later, as with LEAN.
// ONE 1: some reads have one address for all pairs, r_addr (re without s_valid). IC address bits of an index element's host words.
// COPIES 1 gives, with PLANES above 1, accumulators without an enable (pe.v): for clocks that a cut carry chain would hold back; the same cycles.
// SUMS 0 leaves the activation sums out: row_sum is 0.
// Requires: HOP >= COLS, or HOP*LANES*PLANES a multiple of 32 (a weight memory bank for each hop group).
`default_nettype none
module datapath #(
    parameter ROWS     = 4,
    parameter COLS     = 8,
    parameter LANES    = 8,
    parameter PLANES   = 2,
    parameter HOP      = 8,
    parameter ACC_BITS = 24,
    parameter FETCH    = 1,
    parameter SLOT     = 1,
    parameter DATA     = SLOT > 1 ? 16 : FETCH * LANES * 8,
    parameter DRAIN    = 1,
    parameter SERIAL   = 0,
    parameter OUT      = SERIAL != 0 ? ACC_BITS : ROWS * ACC_BITS,
    parameter LEAN     = 0,
    parameter EARLY    = 0,
    parameter COPIES   = 0,
    parameter SUMS     = 1,
    parameter WW       = 8,
    parameter SW       = 10,
    parameter CHUNK    = 2,      // bits that choose a 32-bit word of a weight word
    parameter GATHER   = 0,
    parameter ONE      = 0,
    parameter IC       = 0
) (
    input  wire                     clk,
    // window writes; with SLOT above 1 at w_clk
    input  wire                     w_clk,
    input  wire [$clog2(LANES/2)-1:0] w_piece,
    input  wire [ROWS-1:0]          w_en,
    input  wire                     w_buf,
    input  wire [ROWS*WW-1:0]       w_addr,
    input  wire                     w_pair,
    input  wire [DATA-1:0]          w_data,
    // weight writes by the host, at its clock
    input  wire                     h_clk,
    input  wire                     h_we,
    input  wire [SW+CHUNK-1:0]      h_addr,
    input  wire [31:0]              h_wdata,
    // index writes by the host: with GATHER the pairs' addresses are here
    input  wire                     x_we,
    input  wire [SW+IC-1:0]         x_addr,
    input  wire [31:0]              x_wdata,
    // steps
    input  wire                     re,
    input  wire                     r_buf,
    input  wire [WW-1:0]            r_addr,
    input  wire                     s_valid,
    input  wire                     s_first,
    input  wire                     s_last,
    input  wire [SW-1:0]            s_pc,
    // results
    output wire [ROWS*LANES*8-1:0]  word,      // the window words read, one cycle after re, with GATHER two
    output wire [OUT-1:0]           drain,
    output wire [ROWS*ACC_BITS-1:0] row_sum
);
    localparam NP = LANES / 2, LOG = $clog2(NP), COMB = PLANES == 1 ? 0 : PLANES == 2 ? 1 : 2;
    localparam GROUPS = (COLS + HOP - 1) / HOP, HOPS = GROUPS - 1;
    localparam CLEAR = COPIES != 0 && PLANES > 1 ? 1 : 0;
    localparam BITS = COLS * LANES * PLANES, WORDS = (BITS + 31) / 32;

    // ---- window
    wire w_re, w_rbuf;
    localparam PARTS = GATHER != 0 ? NP : 1, SOON = GATHER != 0 || LEAN != 0 ? 1 : 0;     // SOON: the word goes to the row edges without a register
    wire [PARTS*WW-1:0] w_raddr;
    wire [WW-1:0] r_addr_q;
    window #(.ROWS(ROWS), .LANES(LANES), .FETCH(FETCH), .SLOT(SLOT), .WW(WW), .GATHER(GATHER)) u_window (
        .clk(clk), .w_clk(w_clk), .w_piece(w_piece), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(w_pair), .w_data(w_data),
        .re(w_re), .r_buf(w_rbuf), .r_addr(w_raddr), .q(word));

    // ---- row edges
    wire [ROWS*LANES*8-1:0] word_q;
    delay #(.WIDTH(WW + 2), .N(SOON)) u_read (.clk(clk), .x({re, r_buf, r_addr}), .y({w_re, w_rbuf, r_addr_q}));
    delay #(.WIDTH(ROWS*LANES*8), .N(1 - SOON)) u_word (.clk(clk), .x(word), .y(word_q));
    wire [ROWS*NP*9-1:0] s0, d0;
    wire v_sum, f_sum, l_sum, no_sum;
    localparam LATE = 2 + COMB + HOPS - EARLY;      // cycles the row's sum waits
    delay #(.WIDTH(1), .N(2 + LOG + LATE)) u_no_sum (.clk(clk), .x(!s_valid), .y(no_sum));
    delay #(.WIDTH(1), .N(3 + LOG + LATE)) u_v_sum (.clk(clk), .x(s_valid), .y(v_sum));
    delay #(.WIDTH(1), .N(3 + LOG + LATE)) u_f_sum (.clk(clk), .x(s_first), .y(f_sum));
    delay #(.WIDTH(1), .N(4 + LOG + LATE)) u_l_sum (.clk(clk), .x(s_valid && s_last), .y(l_sum));
    wire unused_sum = &{1'b0, v_sum, f_sum, l_sum, no_sum};
    genvar r, g, c, i, k;
    generate if (GATHER != 0) begin : g_gather
        wire [NP*WW-1:0] own;       // read at the step's issue: the delay above
        for (i = 0; i < NP; i = i + 2) begin : g_pairs
            ram_sdp #(.WIDTH(2 * WW), .DEPTH(1 << SW)) u_pairs (
                .clk(clk), .we(x_we && {{(32-IC){1'b0}}, x_addr[IC-1:0]} == 1 + i / 2), .waddr(x_addr[IC +: SW]), .wdata({x_wdata[16 +: WW], x_wdata[0 +: WW]}),
                .re(1'b1), .raddr(s_pc), .rdata(own[i*WW +: 2*WW]));
        end
        if (ONE != 0) begin : g_one
            wire one;
            delay #(.WIDTH(1), .N(1)) u_one (.clk(clk), .x(!s_valid), .y(one));
            assign w_raddr = one ? {NP{r_addr_q}} : own;
        end else begin : g_own
            assign w_raddr = own;
            wire unused = &{1'b0, r_addr_q};
        end
        wire unused_host = &{1'b0, x_wdata};
    end else begin : g_no_gather
        assign w_raddr = r_addr_q;
        wire unused = &{1'b0, x_we, x_addr, x_wdata};
    end endgenerate
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_edge
        for (i = 0; i < NP; i = i + 1) begin : g_pair
            wire signed [7:0] a0 = word_q[(r*LANES + 2*i)*8 +: 8];
            wire signed [7:0] a1 = word_q[(r*LANES + 2*i + 1)*8 +: 8];
            reg signed [8:0] s, d;
            always @(posedge clk) begin
                s <= a0 + a1;
                d <= a0 - a1;
            end
            assign s0[(r*NP + i)*9 +: 9] = s;
            assign d0[(r*NP + i)*9 +: 9] = d;
        end
        if (SUMS == 0) begin : g_no_sum
            assign row_sum[r*ACC_BITS +: ACC_BITS] = {ACC_BITS{1'b0}};
        end else begin : g_sum
            wire [8+LOG:0] sum, sum_late;
            add_tree #(.N(NP), .WIDTH(9)) u_sum (.clk(clk), .x(s0[r*NP*9 +: NP*9]), .y(sum));
            if (CLEAR != 0 && LATE > 0) begin : g_cleared
                wire [8+LOG:0] earlier;
                reg  [8+LOG:0] cleared;
                delay #(.WIDTH(9 + LOG), .N(LATE - 1)) u_late (.clk(clk), .x(sum), .y(earlier));
                always @(posedge clk) cleared <= no_sum ? {(9+LOG){1'b0}} : earlier;
                assign sum_late = cleared;
            end else begin : g_waiting
                delay #(.WIDTH(9 + LOG), .N(LATE)) u_late (.clk(clk), .x(sum), .y(sum_late));
            end
            wire [ACC_BITS-1:0] wide = {{(ACC_BITS-9-LOG){sum_late[8+LOG]}}, sum_late};
            reg [ACC_BITS-1:0] acc, held;
            always @(posedge clk) begin
                if (v_sum || (CLEAR != 0 && LATE > 0)) acc <= f_sum ? wide : acc + wide;
                if (l_sum) held <= acc;
            end
            assign row_sum[r*ACC_BITS +: ACC_BITS] = held;
        end
    end endgenerate

    // ---- weights, one bank a hop group, its address one hop later
    // verilator lint_off UNUSEDSIGNAL
    wire [WORDS*32-1:0] weight;         // the last word may be wider than the columns need
    // verilator lint_on UNUSEDSIGNAL
    wire [SW-1:0] pc_q [0:GROUPS-1];
    generate
        for (g = 0; g < GROUPS; g = g + 1) begin : g_bank
            delay #(.WIDTH(SW), .N(LEAN + g)) u_pc (.clk(clk), .x(s_pc), .y(pc_q[g]));
        end
        for (k = 0; k < WORDS; k = k + 1) begin : g_word
            // Word k starts at drained position k*32/(LANES*PLANES); hop groups count from the drain's end.
            localparam G = HOPS - (k * 32) / (LANES * PLANES) / HOP;
            wire we;
            if (WORDS == 1) begin : g_one
                assign we = h_we;
            end else begin : g_many
                assign we = h_we && h_addr[CHUNK-1:0] == k;
            end
            wire [31:0] rdata;
            ram_weight #(.DEPTH(1 << SW)) u_ram (
                .clk(clk), .h_clk(h_clk), .we(we), .waddr(h_addr[CHUNK +: SW]), .wdata(h_wdata), .raddr(pc_q[G]), .rdata(rdata));
            delay #(.WIDTH(32), .N(1 - LEAN)) u_q (.clk(clk), .x(rdata), .y(weight[k*32 +: 32]));
        end
    endgenerate

    // ---- hop groups, then the columns
    wire [OUT-1:0] chain [0:COLS];      // chain[c]: into the shadow registers of column c, with SERIAL its last row's
    wire [ROWS*NP*9-1:0] s_hop [0:GROUPS-1], d_hop [0:GROUPS-1];
    wire [GROUPS-1:0] en, clear, first, capture, shift;
    wire unused_en = &{1'b0, en, clear};
    wire [3:0] control [0:GROUPS-1];
    generate for (g = 0; g < GROUPS; g = g + 1) begin : g_group
        if (g == 0) begin : g_first
            assign s_hop[0] = s0;
            assign d_hop[0] = d0;
        end else begin : g_next
            delay #(.WIDTH(ROWS*NP*9), .N(1)) u_s (.clk(clk), .x(s_hop[g-1]), .y(s_hop[g]));
            delay #(.WIDTH(ROWS*NP*9), .N(1)) u_d (.clk(clk), .x(d_hop[g-1]), .y(d_hop[g]));
        end
        // One cycle before the PEs see them: a column's registers follow.
        delay #(.WIDTH(1), .N(3 + LOG + COMB + g)) u_en (.clk(clk), .x(s_valid), .y(en[g]));
        delay #(.WIDTH(1), .N(2 + LOG + COMB + g)) u_clear (.clk(clk), .x(!s_valid), .y(clear[g]));
        delay #(.WIDTH(1), .N(3 + LOG + COMB + g)) u_first (.clk(clk), .x(s_first), .y(first[g]));
        delay #(.WIDTH(1), .N(4 + LOG + COMB + g)) u_capture (.clk(clk), .x(s_valid && s_last), .y(capture[g]));
        if (DRAIN == 1) begin : g_always
            assign shift[g] = 1'b1;
        end else if (g == 0) begin : g_paced
            // A shift at the capture and every DRAIN cycles after it; shifts after the tile's last column move nothing that counts.
            localparam DB = $clog2(DRAIN);
            localparam [31:0] NEAR32 = DRAIN - 2;
            localparam [DB-1:0] NEAR = NEAR32[DB-1:0];
            reg [DB-1:0] tick;
            reg near;
            always @(posedge clk) begin
                tick <= shift[0] ? {DB{1'b0}} : tick + 1'b1;
                near <= tick == NEAR && !shift[0];
            end
            assign shift[0] = capture[0] || near;
        end else begin : g_later
            delay #(.WIDTH(1), .N(1)) u_shift (.clk(clk), .x(shift[g-1]), .y(shift[g]));
        end
        if (COPIES == 0) begin : g_shared
            delay #(.WIDTH(4), .N(1)) u_control (.clk(clk), .x({en[g], first[g], capture[g], shift[g]}), .y(control[g]));
        end else begin : g_no_shared
            assign control[g] = 4'd0;
            wire unused = &{1'b0, control[g]};
        end
    end
    for (c = 0; c < COLS; c = c + 1) begin : g_col
        localparam D = COLS - 1 - c;                       // drained position
        localparam G = HOPS - D / HOP;                     // hop group
        localparam G_NEXT = c + 1 < COLS ? HOPS - (D - 1) / HOP : G;
        wire [ROWS*ACC_BITS-1:0] in, out;
        if (SERIAL == 0 || ROWS == 1) begin : g_abreast
            assign in = chain[c];
        end else begin : g_in_turn
            assign in = {chain[c], out[ROWS*ACC_BITS-1:ACC_BITS]};
        end
        wire c_en, c_clear, c_first, c_capture, c_shift;
        if (COPIES == 0) begin : g_common
            assign {c_en, c_first, c_capture, c_shift} = control[G];
            assign c_clear = 1'b0;
        end else begin : g_own
            reg [3:0] own;
            always @(posedge clk) own <= {CLEAR != 0 ? clear[G] : en[G], first[G], capture[G], shift[G]};
            assign {c_en, c_first, c_capture, c_shift} = own;
            assign c_clear = own[3];
        end
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            if (CLEAR != 0) begin : g_cleared
                pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS), .CLEAR(CLEAR)) u_pe (
                    .clk(clk), .s(s_hop[G][r*NP*9 +: NP*9]), .d(d_hop[G][r*NP*9 +: NP*9]),
                    .w(weight[D*LANES*PLANES +: LANES*PLANES]),
                    .en(1'b1), .clear(c_clear), .first(c_first), .capture(c_capture), .shift(c_shift),
                    .drain_in(in[r*ACC_BITS +: ACC_BITS]), .drain(out[r*ACC_BITS +: ACC_BITS]));
                wire unused = c_en;
            end else begin : g_enabled
                pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS)) u_pe (
                    .clk(clk), .s(s_hop[G][r*NP*9 +: NP*9]), .d(d_hop[G][r*NP*9 +: NP*9]),
                    .w(weight[D*LANES*PLANES +: LANES*PLANES]),
                    .en(c_en), .clear(1'b0), .first(c_first), .capture(c_capture), .shift(c_shift),
                    .drain_in(in[r*ACC_BITS +: ACC_BITS]), .drain(out[r*ACC_BITS +: ACC_BITS]));
                wire unused = c_clear;
            end
        end
        delay #(.WIDTH(OUT), .N(G_NEXT - G)) u_chain (.clk(clk), .x(out[OUT-1:0]), .y(chain[c+1]));
    end endgenerate
    assign chain[0] = {OUT{1'b0}};
    assign drain = chain[COLS];
endmodule
`default_nettype wire
