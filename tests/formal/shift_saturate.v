// hw/lib/shift_saturate.v is x >> s, clamped to HB bits, as docs/formats.md defines it with the sign carried down: for every x and s, at several HB.
//@ files hw/lib/shift_saturate.v
//@ case wide18 induct:4 HB=18
//@ case wide9 induct:4 HB=9
//@ case wide24 induct:4 HB=24
//@ mutant wide18 hw/lib/shift_saturate.v s/fine_1 >>> 4/fine_1 >>> 3/
//@ mutant wide18 hw/lib/shift_saturate.v s/long\[39:HB\+7\]/long[38:HB+6]/
//@ mutant wide9 hw/lib/shift_saturate.v s/\{sign, \{\(HB-1\)\{~sign\}\}\}/{sign, {(HB-1){sign}}}/
//@ mutant wide24 hw/lib/shift_saturate.v s/long\[16 \+: HB\]/long[15 +: HB]/
`default_nettype none
module proof #(
    parameter HB = 18
) (
    input wire               clk,
    input wire signed [31:0] x,
    input wire        [4:0]  s
);
    wire signed [HB-1:0] y;
    shift_saturate #(.HB(HB)) u_shift (.clk(clk), .x(x), .s(s), .y(y));
    localparam signed [31:0] MOST = (1 << (HB - 1)) - 1, LEAST = -(1 << (HB - 1));
    wire signed [31:0] shifted = x >>> s;
    wire signed [31:0] clamped = shifted > MOST ? MOST : shifted < LEAST ? LEAST : shifted;
    reg signed [31:0] c1, c2, c3;
    reg [1:0] age = 0;
    always @(posedge clk) begin
        c1 <= clamped; c2 <= c1; c3 <= c2;
        if (age != 3) age <= age + 1;
        if (age == 3) assert (y == c3);
    end
endmodule
`default_nettype wire
