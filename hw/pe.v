// A processing element: LANES products a cycle on PLANES bit-planes, one accumulator, one shadow register.
//
// For each lane pair the row gives s = a0 + a1 and d = a0 - a1; a weight pair code {neg, sel} picks (sel ? d : s) ^ neg, one
// LUT4 a bit for two products. Negation is one's complement: the compiler puts the missing ones into the bias.
// Every adder level is registered (the flip-flop sits in the adder's cell).
//
// Latency: acc includes a step 1 + LOG + COMB + 1 cycles after its s, d and w (LOG = log2(LANES/2); COMB = 0, 1, 2 for PLANES 1, 2, 4).
// `en`, `first` come with the combined sum: 1 + LOG + COMB cycles after s, d, w. `capture` copies acc to the shadow register, else
// the shadow register shifts (`drain_in` from the column before), both in cycles with `shift`.
// Parameters: LANES, a power of two, 4 or more; PLANES 1, 2 or 4; ACC_BITS. CLEAR 1: there is no `en`; `clear`, a cycle earlier, makes the combined sum 0
// instead. On iCE40 eight accumulator bits with a choice and an enable have one input more than a tile, which cuts the carry chain.
// Requires: CLEAR 0, or PLANES above 1.
`default_nettype none
module pe #(
    parameter LANES    = 8,
    parameter PLANES   = 2,
    parameter ACC_BITS = 24,
    parameter CLEAR    = 0
) (
    input  wire                      clk,
    input  wire [LANES/2*9-1:0]      s,
    input  wire [LANES/2*9-1:0]      d,
    input  wire [LANES*PLANES-1:0]   w,
    input  wire                      en,
    input  wire                      clear,
    input  wire                      first,
    input  wire                      capture,
    input  wire                      shift,
    input  wire [ACC_BITS-1:0]       drain_in,
    output reg  [ACC_BITS-1:0]       drain
);
    localparam NP = LANES / 2, LOG = $clog2(NP), TREE = 9 + LOG;
    localparam SUM = TREE + (PLANES == 1 ? 0 : PLANES == 2 ? 2 : 4);

    wire [PLANES*TREE-1:0] plane;
    genvar p, i;
    generate for (p = 0; p < PLANES; p = p + 1) begin : g_plane
        reg [NP*9-1:0] leaf;
        for (i = 0; i < NP; i = i + 1) begin : g_leaf
            wire sel = w[p*LANES + 2*i];
            wire neg = w[p*LANES + 2*i + 1];
            always @(posedge clk) leaf[i*9 +: 9] <= (sel ? d[i*9 +: 9] : s[i*9 +: 9]) ^ {9{neg}};
        end
        add_tree #(.N(NP), .WIDTH(9)) u_tree (.clk(clk), .x(leaf), .y(plane[p*TREE +: TREE]));
    end endgenerate

    wire signed [SUM-1:0] sum;
    generate
        if (PLANES == 1) begin : g_p1
            assign sum = plane;
        end else if (PLANES == 2) begin : g_p2
            wire [TREE-1:0] p0 = plane[0 +: TREE];
            wire [TREE:0]   p1 = {plane[TREE +: TREE], 1'b0};
            reg signed [SUM-1:0] c;
            always @(posedge clk)
                if (CLEAR != 0 && clear) c <= {SUM{1'b0}};
                else c <= {{2{p0[TREE-1]}}, p0} + {p1[TREE], p1};
            assign sum = c;
        end else begin : g_p4
            wire [TREE-1:0] p0 = plane[0 +: TREE], p2 = plane[2*TREE +: TREE];
            wire [TREE:0]   p1 = {plane[TREE +: TREE], 1'b0}, p3 = {plane[3*TREE +: TREE], 1'b0};
            reg [TREE+1:0] lo, hi;
            reg signed [SUM-1:0] c;
            always @(posedge clk) begin
                lo <= {{2{p0[TREE-1]}}, p0} + {p1[TREE], p1};
                hi <= {{2{p2[TREE-1]}}, p2} + {p3[TREE], p3};
                if (CLEAR != 0 && clear) c <= {SUM{1'b0}};
                else c <= {{2{lo[TREE+1]}}, lo} + {hi, 2'b00};
            end
            assign sum = c;
        end
    endgenerate

    wire unused = &{1'b0, en, clear};
    reg  signed [ACC_BITS-1:0] acc;
    wire signed [ACC_BITS-1:0] wide = {{(ACC_BITS-SUM){sum[SUM-1]}}, sum};
    always @(posedge clk) begin
        // The choice after the adder is free on iCE40 (same LUT as the sum bit); before it, it is not.
        if (en || CLEAR != 0) acc <= first ? wide : acc + wide;
        if (shift) drain <= capture ? acc : drain_in;
    end
endmodule
`default_nettype wire
