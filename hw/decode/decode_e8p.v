// Lattice codes E8P: 16 bits -> eight odd integers up to 11 (compiler/compress/e8p.h). With the pattern's magnitude written (1 + 2 m) / 2, m 0..2, and a
// shift of plus or minus a quarter, a weight in offset binary, (u + 15) / 2, is {not minus, m xor minus, shift is plus}: no adder.
// The pattern memory holds m alone; whether an odd number of weights is negative follows from the sum of the m.
//
// Latency: x two cycles after `code`. Parameters: DEEP bits of a weight in x, 4 or 8, the upper four used.
`default_nettype none
module decode_e8p #(
    parameter DEEP = 4
) (
    input  wire              clk,
    input  wire              own,     // the beat is for this unit
    input  wire [15:0]       code,
    output wire [8*DEEP-1:0] x
);
`include "heddle_e8p.vh"
    (* no_rw_check *) reg [15:0] rom [0:255];
    integer n;
    initial for (n = 0; n < 256; n = n + 1) rom[n] = HD_E8P_PATTERNS[16*n +: 16];

    reg [15:0] m;
    reg [7:0]  high;         // of the code: the signs, then the shift
    reg        own_q;
    always @(posedge clk) begin
        m <= rom[code[7:0]];
        high <= code[15:8];
        own_q <= own;
    end
    wire parity = ^{m[0], m[2], m[4], m[6], m[8], m[10], m[12], m[14], high[6:0]};
    wire [7:0] minus = {parity, high[6:0]};
    genvar i;
    generate for (i = 0; i < 8; i = i + 1) begin : g_weight
        reg [3:0] u;
        always @(posedge clk) u <= own_q ? {~minus[i], m[2*i +: 2] ^ {2{minus[i]}}, ~high[7]} : 4'd0;
        if (DEEP == 4) begin : g_4
            assign x[4*i +: 4] = u;
        end else begin : g_8
            assign x[8*i +: 8] = {u, 4'd0};
        end
    end endgenerate
endmodule
`default_nettype wire
