// a * m + c: a signed 8-bit and an unsigned 16-bit number, and a 32-bit constant; m and c are kept from the cycle of their `load` on. A board with multipliers has its own module of this name
// (boards/icebreaker/mul_add.v).
//
// Latency: 1 cycle; a result each cycle. A new m or c counts from the cycle after its `load`.
`default_nettype none
module mul_add (
    input  wire               clk,
    input  wire signed  [7:0] a,
    input  wire               load_m,
    input  wire        [15:0] m,
    input  wire               load_c,
    input  wire        [31:0] c,
    output reg  signed [31:0] y
);
    reg  [15:0] m_kept;
    reg  [31:0] c_kept;
    wire signed [24:0] product = a * $signed({1'b0, m_kept});
    always @(posedge clk) begin
        if (load_m) m_kept <= m;
        if (load_c) c_kept <= c;
        y <= {{7{product[24]}}, product} + c_kept;       // 32 bits of either sign
    end
endmodule
`default_nettype wire
