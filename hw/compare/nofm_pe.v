// For comparison only, in no design: a processing element that skips single weights, N of M along the inputs. Each of its LANES weights chooses its own
// activation among M neighbours; every column chooses others, so that the choice and the sums and differences of pairs, which hw/pe.v gets once for a
// row, are here once for each element.
//
// Weight l belongs to group l / N of M activations: LANES / N groups, `a` has LANES / N * M bytes, `at` the place of each kept weight in its group.
//
// Latency: two cycles more than hw/pe.v (choice, sums). en, first, capture, shift as there, against the combined sum.
// Parameters: LANES kept weights a step; PLANES, ACC_BITS as in hw/pe.v; N, M. Requires: M a power of two; LANES a multiple of N and of two.
`default_nettype none
module nofm_pe #(
    parameter LANES    = 8,
    parameter PLANES   = 2,
    parameter ACC_BITS = 24,
    parameter N        = 2,
    parameter M        = 4,
    parameter MB       = $clog2(M)
) (
    input  wire                       clk,
    input  wire [LANES/N*M*8-1:0]     a,
    input  wire [LANES*MB-1:0]        at,
    input  wire [LANES*PLANES-1:0]    w,
    input  wire                       en,
    input  wire                       first,
    input  wire                       capture,
    input  wire                       shift,
    input  wire [ACC_BITS-1:0]        drain_in,
    output wire [ACC_BITS-1:0]        drain
);
    reg [LANES*8-1:0]        chosen;
    reg [LANES/2*9-1:0]      s, d;
    wire [LANES*PLANES-1:0]  w_late;
    delay #(.WIDTH(LANES * PLANES), .N(2)) u_w (.clk(clk), .x(w), .y(w_late));
    genvar l;
    generate
        for (l = 0; l < LANES; l = l + 1) begin : g_lane
            wire [M*8-1:0] group = a[l/N*M*8 +: M*8];
            always @(posedge clk) chosen[l*8 +: 8] <= group[at[l*MB +: MB]*8 +: 8];
        end
        for (l = 0; l < LANES / 2; l = l + 1) begin : g_pair
            wire signed [7:0] a0 = chosen[2*l*8 +: 8], a1 = chosen[(2*l + 1)*8 +: 8];
            always @(posedge clk) begin
                s[l*9 +: 9] <= a0 + a1;
                d[l*9 +: 9] <= a0 - a1;
            end
        end
    endgenerate
    pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS)) u_pe (
        .clk(clk), .s(s), .d(d), .w(w_late), .en(en), .clear(1'b0), .first(first), .capture(capture), .shift(shift), .drain_in(drain_in), .drain(drain));
endmodule
`default_nettype wire
