// a * m + c: a signed 8-bit and an unsigned 16-bit number, and a 32-bit constant. A board with multipliers has its own module of this name
// (boards/icebreaker/mul_add.v).
//
// Latency: 1 cycle; a result each cycle.
`default_nettype none
module mul_add (
    input  wire               clk,
    input  wire signed  [7:0] a,
    input  wire        [15:0] m,
    input  wire        [31:0] c,
    output reg  signed [31:0] y
);
    wire signed [24:0] product = a * $signed({1'b0, m});
    always @(posedge clk) y <= {{7{product[24]}}, product} + c;       // 32 bits of either sign
endmodule
`default_nettype wire
