// The array at PUMP times the clock of everything around it: datapath.v with LANES/PUMP lanes at clk_fast takes a step of LANES lanes, one a cycle of
// clk, in PUMP cycles of clk_fast. Same results and the same streams as datapath.v; only the latency differs.
//
// `take` marks the cycle of clk_fast that ends in the middle of clk's: there, and only there, registers of one clock are sampled by the other, as far
// from the edges of clk as can be. So clk may lag behind clk_fast by nearly a cycle of clk_fast, which a divided clock does.
//
//   clk       |---------------|---------------|---
//   clk_fast  |---|---|---|---|---|---|---|---|---        PUMP 4
//   take          '---'           '---'
//   step      x: held in a register of clk    x' of clk_fast: parts 0 1 2 3
//
// Latency: the first column of a tile is on `drain` LATA = 1 + N cycles of clk after its last step's issue, where N is PUMP + 5 + LOG + COMB + HOPS
// cycles of clk_fast, rounded up to cycles of clk (LOG = log2(LANES/PUMP/2)). `row_sum` holds from then until the next tile's.
// Stall rule: none.
// Parameters: as datapath.v; LANES and WW are those of a step, of PUMP window elements; SW, CHUNK: a stream entry is PUMP weight elements of LANES/PUMP lanes.
// SLOT above 1: the window is written at clk in pieces of 16 bits, and the registers behind the memories are left out. KEEP 1: row_sum comes earlier, and goes with the next tile's first column.
// The rows of a column leave one after the other, each for DRAIN cycles of clk.
// Requires: PUMP 2 or 4, LANES/PUMP of 4 or more, ROWS*DRAIN of 4 or more.
`default_nettype none
module datapath_pumped #(
    parameter PUMP     = 4,
    parameter ROWS     = 2,
    parameter COLS     = 8,
    parameter LANES    = 32,
    parameter PLANES   = 2,
    parameter HOP      = 8,
    parameter ACC_BITS = 18,
    parameter DRAIN    = 8,
    parameter WW       = 5,
    parameter SW       = 6,
    parameter CHUNK    = 2,      // bits that choose a 32-bit word of a weight element
    parameter PART     = LANES / PUMP,
    parameter PB       = $clog2(PUMP),
    parameter SLOT     = 1,
    parameter SB       = SLOT < 2 ? 1 : $clog2(SLOT),
    parameter DATA     = SLOT > 1 ? 16 : PART * 8,
    parameter KEEP     = 0,
    parameter SUMS     = 1
) (
    input  wire                     clk,
    input  wire                     clk_fast,
    input  wire                     take,
    // window writes: addresses are registers of clk; the parts of the word follow one a cycle of clk_fast, the first in the cycle after `take`
    input  wire [ROWS-1:0]          w_en,
    input  wire                     w_buf,
    input  wire [ROWS*WW-1:0]       w_addr,
    input  wire [SB-1:0]            w_piece,     // SLOT above 1: at clk, w_data is this piece of 16 bits
    input  wire [DATA-1:0]          w_data,
    // weight writes by the host
    input  wire                     h_we,
    input  wire [SW+PB+CHUNK-1:0]   h_addr,
    input  wire [31:0]              h_wdata,
    // steps
    input  wire                     r_buf,
    input  wire [WW-1:0]            r_addr,
    input  wire                     s_valid,
    input  wire                     s_first,
    input  wire                     s_last,
    input  wire [SW-1:0]            s_pc,
    // results
    output wire [ACC_BITS-1:0]      drain,
    output wire [ROWS*ACC_BITS-1:0] row_sum
);
    localparam LOG = $clog2(PART / 2), COMB = PLANES == 1 ? 0 : PLANES == 2 ? 1 : 2, HOPS = (COLS + HOP - 1) / HOP - 1;
    // From the middle of a clk cycle to the shift of the drain: a whole number of clk cycles, so that the drain too changes in the middle.
    localparam DEPTH = PUMP + 5 + LOG + COMB + HOPS, PAD = (PUMP - DEPTH % PUMP) % PUMP;
    // The sum may come early (datapath.v), but not at an edge of clk.
    // Where post keeps it, it comes as early as it is there.
    localparam SOON = 2 + COMB + HOPS, EARLY = KEEP == 0 ? (PUMP == 2 ? 1 : 2) : PUMP == 2 ? SOON - (SOON + 1) % 2 : SOON % 4 == 3 ? SOON - 1 : SOON;

    // ---- clk: the step, and clk_fast: its parts
    localparam STEP = 4 + WW + SW;
    reg  [STEP-1:0] step, held;
    reg  [PB-1:0]   part;
    localparam [PB-1:0] LAST = {PB{1'b1}};
    always @(posedge clk) step <= {s_valid, s_first, s_last, r_buf, r_addr, s_pc};
    always @(posedge clk_fast) begin
        part <= take ? {PB{1'b0}} : part + 1'b1;
        if (take) held <= step;
    end
    wire f_valid, f_first, f_last, f_buf;
    wire [WW+PB-1:0] f_addr;
    wire [SW+PB-1:0] f_pc;
    wire h_valid = held[STEP-1], h_first = held[STEP-2], h_last = held[STEP-3], h_buf = held[STEP-4];
    delay #(.WIDTH(STEP + 2*PB), .N(PAD)) u_pad (.clk(clk_fast),
        .x({h_valid, h_first && part == {PB{1'b0}}, h_last && part == LAST, h_buf, held[SW +: WW], part, held[0 +: SW], part}),
        .y({f_valid, f_first, f_last, f_buf, f_addr, f_pc}));

    // ---- window writes
    wire [ROWS-1:0]    en;
    wire               buffer, w_clk;
    wire [ROWS*(WW+PB)-1:0] write_at;
    wire [$clog2(PART/2)-1:0] piece;
    genvar r;
    generate if (SLOT > 1) begin : g_pieces
        assign en = w_en;
        assign buffer = w_buf;
        assign w_clk = clk;
        assign piece = w_piece[SB-PB-1:0];
        for (r = 0; r < ROWS; r = r + 1) begin : g_at
            assign write_at[r*(WW+PB) +: WW+PB] = {w_addr[r*WW +: WW], w_piece[SB-1 -: PB]};
        end
    end else begin : g_words
        reg  [ROWS-1:0]    en_n;        // as the masks of iCE40's block RAM take it: no cell on the way to them
        reg                buffer_q;
        reg  [ROWS*WW-1:0] at;
        always @(posedge clk_fast) if (take) begin
            en_n <= ~w_en; buffer_q <= w_buf; at <= w_addr;
        end
        assign en = ~en_n;
        assign buffer = buffer_q;
        assign w_clk = clk_fast;
        assign piece = {$clog2(PART/2){1'b0}};
        wire unused = &{1'b0, w_piece};
        for (r = 0; r < ROWS; r = r + 1) begin : g_at
            assign write_at[r*(WW+PB) +: WW+PB] = {at[r*WW +: WW], part};
        end
    end endgenerate

    wire [ROWS*PART*8-1:0] word;
    datapath #(.ROWS(ROWS), .COLS(COLS), .LANES(PART), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .FETCH(1), .SLOT(SLOT), .DRAIN(DRAIN * PUMP), .SERIAL(1), .LEAN(SLOT > 1 ? 1 : 0),
               .EARLY(EARLY), .COPIES(1), .SUMS(SUMS), .WW(WW + PB), .SW(SW + PB), .CHUNK(CHUNK)) u_array (
        .clk(clk_fast), .w_clk(w_clk), .w_piece(piece), .w_en(en), .w_buf(buffer), .w_addr(write_at), .w_pair(1'b0), .w_data(w_data),
        .h_clk(clk), .h_we(h_we), .h_addr(h_addr), .h_wdata(h_wdata), .x_we(1'b0), .x_addr({(SW+PB){1'b0}}), .x_wdata(32'd0),
        .re(1'b1), .r_buf(f_buf), .r_addr(f_addr), .s_valid(f_valid), .s_first(f_first), .s_last(f_last), .s_pc(f_pc),
        .word(word), .drain(drain), .row_sum(row_sum));
    wire unused = &{1'b0, word};
endmodule
`default_nettype wire
