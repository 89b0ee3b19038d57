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
    reg  signed [31:0] shifted;
    reg  by_16;
    mul_high #(.LOW(15)) u_fine (.clk(clk), .a(x), .m(16'h8000 >> s[3:0]), .y(fine));
    wire sign = shifted[31];
    wire fits = shifted[31:HB-1] == {(33-HB){sign}};
    always @(posedge clk) begin
        by_16 <= s[4];
        shifted <= by_16 ? fine >>> 16 : fine;
        y <= fits ? shifted[HB-1:0] : {sign, {(HB-1){~sign}}};
    end
endmodule
`default_nettype wire
