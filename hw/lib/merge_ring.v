// The sums of ROWS rows whose columns arrive in turn: each new column of a row doubles the row's sum PLANES times and adds itself; `first` starts
// anew. A board with multipliers has its own module of this name (boards/icebreaker/merge_ring.v).
//
// Latency: z is the sum with x one cycle after `take`, and holds until the next. With EARLY 1 x comes a cycle before its `take` and `first`.
// Parameters: ROWS; PLANES, the planes of a column; EARLY.
`default_nettype none
module merge_ring #(
    parameter ROWS   = 4,
    parameter PLANES = 2,
    parameter EARLY  = 0
) (
    input  wire               clk,
    input  wire               take,
    input  wire               first,
    input  wire signed [31:0] x,
    output wire signed [31:0] z
);
    reg  [ROWS*32-1:0] ring;                // the newest row lowest
    wire signed [31:0] earlier = ring[ROWS*32-1 -: 32];
    wire signed [31:0] now;
    delay #(.WIDTH(32), .N(EARLY)) u_early (.clk(clk), .x(x), .y(now));
    wire signed [31:0] merged = first ? now : (earlier <<< PLANES) + now;
    assign z = ring[31:0];
    generate if (ROWS == 1) begin : g_one
        always @(posedge clk) if (take) ring <= merged;
    end else begin : g_many
        always @(posedge clk) if (take) ring <= {ring[(ROWS-1)*32-1:0], merged};
    end endgenerate
endmodule
`default_nettype wire
