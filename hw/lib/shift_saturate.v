// x >> s, saturated to HB bits: first within a byte, then by bytes; flags say whether the bits above the window are all sign. A board with
// multipliers has its own module of this name (boards/icebreaker/shift_saturate.v).
//
// Latency: 3 cycles; a result each cycle.
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
    reg  signed [31:0] fine_1, fine_2;
    reg  [2:0] sel_1;
    reg  [1:0] sel_2;
    always @(posedge clk) begin
        fine_1 <= x >>> s[1:0]; sel_1 <= s[4:2];
        fine_2 <= sel_1[0] ? fine_1 >>> 4 : fine_1; sel_2 <= sel_1[2:1];
    end
    wire sign = fine_2[31];
    // verilator lint_off UNUSEDSIGNAL
    wire [55:0] long = {{24{sign}}, fine_2};
    // verilator lint_on UNUSEDSIGNAL
    reg  [HB-1:0] window;
    reg  fits;
    always @* begin
        case (sel_2)
            2'd0: begin window = long[0 +: HB];  fits = long[31:HB-1]  == {(33-HB){sign}}; end
            2'd1: begin window = long[8 +: HB];  fits = long[39:HB+7]  == {(33-HB){sign}}; end
            2'd2: begin window = long[16 +: HB]; fits = long[47:HB+15] == {(33-HB){sign}}; end
            default: begin window = long[24 +: HB]; fits = 1'b1; end
        endcase
    end
    always @(posedge clk) y <= fits ? window : {sign, {(HB-1){~sign}}};
endmodule
`default_nettype wire
