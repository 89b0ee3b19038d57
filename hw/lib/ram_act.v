// The activation memory of a fetch of 16 bits a cycle (SLOT above 1): read 16 bits, written a byte by post or 32 bits by the host. A board with
// single-port RAM has its own module of this name (boards/icebreaker/ram_act.v), which uses the second clock.
//
// Latency: read data one cycle after `raddr`. What is read from an address in the cycle in which it is written, or in the next, is undefined.
// Parameter: ADDR address bits of a half of a 32-bit word.
`default_nettype none
module ram_act #(
    parameter ADDR = 12
) (
    input  wire            clk,
    input  wire            clk_fast,        // twice clk
    input  wire            take,            // high in the cycle of clk_fast that ends in the middle of clk's
    input  wire [ADDR-1:0] raddr,
    output wire [15:0]     rdata,
    input  wire            h_we,            // two halves, the low one at waddr (even), the other at raddr
    input  wire [1:0]      we,              // bytes of the half at waddr, data in the low half; not with h_we
    input  wire [ADDR-1:0] waddr,
    input  wire [31:0]     wdata
);
    wire        unused = &{1'b0, clk_fast, take};
    wire [31:0] word;
    reg         high;
    ram_bytes #(.DEPTH(1 << (ADDR - 1))) u_ram (
        .clk(clk), .r_clk(clk), .we(h_we ? 4'b1111 : waddr[0] ? {we, 2'b00} : {2'b00, we}), .waddr(waddr[ADDR-1:1]), .wdata(h_we ? wdata : {2{wdata[15:0]}}),
        .re(1'b1), .raddr(raddr[ADDR-1:1]), .rdata(word));
    always @(posedge clk) high <= raddr[0];
    assign rdata = high ? word[31:16] : word[15:0];
endmodule
`default_nettype wire
