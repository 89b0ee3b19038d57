// hw/lib/mul_add.v in one multiplier of UP5K, whose adder takes the constant; its input registers keep both.
`default_nettype none
module mul_add (
    input  wire               clk,
    input  wire signed  [7:0] a,
    input  wire               load_m,
    input  wire        [15:0] m,
    input  wire               load_c,
    input  wire        [31:0] c,
    output wire signed [31:0] y
);
    SB_MAC16 #(
        .A_SIGNED(1'b1), .B_REG(1'b1), .C_REG(1'b1), .D_REG(1'b1), .TOPOUTPUT_SELECT(2'd1), .TOPADDSUB_LOWERINPUT(2'd2), .TOPADDSUB_UPPERINPUT(1'b1), .TOPADDSUB_CARRYSELECT(2'd2),
        .BOTOUTPUT_SELECT(2'd1), .BOTADDSUB_LOWERINPUT(2'd2), .BOTADDSUB_UPPERINPUT(1'b1)) u_mac (
        .CLK(clk), .CE(1'b1), .A({{8{a[7]}}, a}), .B(m), .C(c[31:16]), .D(c[15:0]), .AHOLD(1'b0), .BHOLD(!load_m), .CHOLD(!load_c), .DHOLD(!load_c),
        .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0), .OLOADTOP(1'b0), .OLOADBOT(1'b0), .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0),
        .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0), .O(y));
endmodule
`default_nettype wire
