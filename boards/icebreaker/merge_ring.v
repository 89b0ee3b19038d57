// hw/lib/merge_ring.v in one multiplier block of UP5K: its adder, the newest sum in its output register, the oldest in its input registers.
// Parameters: ROWS; PLANES, the planes of a column; EARLY 1: x waits in the block's other input registers.
`default_nettype none
module merge_ring #(
    parameter ROWS   = 4,
    parameter PLANES = 2,
    parameter EARLY  = 0
) (
    input  wire               clk,
    input  wire               take,
    input  wire               first,
    input  wire signed [31:0] x,
    output wire signed [31:0] z
);
    localparam BETWEEN = ROWS < 3 ? 0 : ROWS - 2;
    wire [31:0] last;
    generate if (BETWEEN == 0) begin : g_none
        assign last = z;
    end else begin : g_between
        reg [BETWEEN*32-1:0] ring;
        if (BETWEEN == 1) begin : g_one
            always @(posedge clk) if (take) ring <= z;
        end else begin : g_many
            always @(posedge clk) if (take) ring <= {ring[(BETWEEN-1)*32-1:0], z};
        end
        assign last = ring[BETWEEN*32-1 -: 32];
    end endgenerate
    wire [31:0] raised = last << PLANES;
    // Loading instead of adding takes x alone.
    SB_MAC16 #(
        .A_REG(ROWS > 1 ? 1'b1 : 1'b0), .B_REG(ROWS > 1 ? 1'b1 : 1'b0), .C_REG(EARLY != 0 ? 1'b1 : 1'b0), .D_REG(EARLY != 0 ? 1'b1 : 1'b0), .TOPOUTPUT_SELECT(2'd1), .TOPADDSUB_LOWERINPUT(2'd0), .TOPADDSUB_UPPERINPUT(1'b1),
        .TOPADDSUB_CARRYSELECT(2'd2), .BOTOUTPUT_SELECT(2'd1), .BOTADDSUB_LOWERINPUT(2'd0), .BOTADDSUB_UPPERINPUT(1'b1)) u_mac (
        .CLK(clk), .CE(1'b1), .A(raised[31:16]), .B(raised[15:0]), .C(x[31:16]), .D(x[15:0]), .AHOLD(!take), .BHOLD(!take), .CHOLD(1'b0), .DHOLD(1'b0),
        .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0), .OLOADTOP(first), .OLOADBOT(first), .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0),
        .OHOLDTOP(!take), .OHOLDBOT(!take), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0), .O(z));
endmodule
`default_nettype wire
