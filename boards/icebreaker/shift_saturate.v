// hw/lib/shift_saturate.v with multipliers: the low four bits of the shift become a power of two to multiply by, the fifth chooses halves.
// Parameter: HB, 9 to 24.
`default_nettype none
module shift_saturate #(
    parameter HB = 18
) (
    input  wire                 clk,
    input  wire signed [31:0]   x,
    input  wire        [4:0]    s,
    output reg  signed [HB-1:0] y
);
    wire signed [31:0] fine;
    wire sign = fine[31];
    reg  by_16, sign_1, fits;
    reg  [HB-1:0] window;
    mul_high #(.LOW(15)) u_fine (.clk(clk), .a(x), .m(16'h8000 >> s[3:0]), .y(fine));
    wire [HB+15:0] halved = {{HB{sign}}, fine[31:16]};
    wire wide = fine[31:HB-1] != {(33-HB){sign}}, wide_16 = halved[HB+15:HB-1] != {17{sign}};
    always @(posedge clk) begin
        by_16 <= s[4];
        sign_1 <= sign;
        window <= by_16 ? halved[HB-1:0] : fine[HB-1:0];
        fits <= !(by_16 ? wide_16 : wide);
        y <= fits ? window : {sign_1, {(HB-1){~sign_1}}};
    end
endmodule
`default_nettype wire
