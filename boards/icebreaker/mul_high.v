// hw/lib/mul_high.v in two multipliers of UP5K: the low half's product, then the high half's with the low one's upper bits added. Its products are
// written out because yosys 0.23 joins such chains wrongly when it infers them.
// Parameter: LOW, 15 or 16.
`default_nettype none
module mul_high #(
    parameter LOW = 16
) (
    input  wire               clk,
    input  wire signed [31:0] a,
    input  wire        [15:0] m,
    output wire signed [31:0] y
);
    wire [31:0] low, high;
    SB_MAC16 #(.TOPOUTPUT_SELECT(2'd3), .BOTOUTPUT_SELECT(2'd3)) u_low (
        .CLK(clk), .CE(1'b1), .A(a[15:0]), .B(m), .C(16'd0), .D(16'd0), .AHOLD(1'b0), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0),
        .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0), .OLOADTOP(1'b0), .OLOADBOT(1'b0), .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0),
        .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0), .O(low));
    SB_MAC16 #(
        .A_SIGNED(1'b1), .TOPOUTPUT_SELECT(2'd1), .TOPADDSUB_LOWERINPUT(2'd2), .TOPADDSUB_UPPERINPUT(1'b1), .TOPADDSUB_CARRYSELECT(2'd2),
        .BOTOUTPUT_SELECT(2'd1), .BOTADDSUB_LOWERINPUT(2'd2), .BOTADDSUB_UPPERINPUT(1'b1)) u_high (
        .CLK(clk), .CE(1'b1), .A(a[31:16]), .B(m), .C(16'd0), .D(low[31:16]), .AHOLD(1'b0), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0),
        .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0), .OLOADTOP(1'b0), .OLOADBOT(1'b0), .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0),
        .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0), .O(high));
    generate if (LOW == 16) begin : g_16
        assign y = high;
        wire unused = &{1'b0, low[15:0]};
    end else begin : g_15
        reg bit_15;
        always @(posedge clk) bit_15 <= low[15];
        assign y = {high[30:0], bit_15};
        wire unused = &{1'b0, high[31], low[14:0]};
    end endgenerate
endmodule
`default_nettype wire
