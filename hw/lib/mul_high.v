// Bits LOW to LOW + 31 of the product of a signed 32-bit and an unsigned 16-bit number. A board with multipliers has its own module of
// this name (boards/icebreaker/mul_high.v).
//
// Latency: 1 cycle; a product each cycle.
// Parameter: LOW, 15 or 16.
`default_nettype none
module mul_high #(
    parameter LOW = 16
) (
    input  wire               clk,
    input  wire signed [31:0] a,
    input  wire        [15:0] m,
    output reg  signed [31:0] y
);
    // verilator lint_off UNUSEDSIGNAL
    wire signed [48:0] product = a * $signed({1'b0, m});
    // verilator lint_on UNUSEDSIGNAL
    always @(posedge clk) y <= product[LOW +: 32];
endmodule
`default_nettype wire
