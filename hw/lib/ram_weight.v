// A bank of the weight memory: 32-bit words, written by the host while nothing runs, read in every cycle. A board with large single-port RAM has
// its own module of this name (boards/icebreaker/ram_weight.v).
//
// Latency: read data one cycle after `raddr`; in a cycle with `we` what is read is undefined.
// Parameter: DEPTH words (2 or more).
`default_nettype none
module ram_weight #(
    parameter DEPTH = 256,
    parameter ADDR  = $clog2(DEPTH)
) (
    input  wire            clk,
    input  wire            we,
    input  wire [ADDR-1:0] waddr,
    input  wire [31:0]     wdata,
    input  wire [ADDR-1:0] raddr,
    output wire [31:0]     rdata
);
    ram_sdp #(.WIDTH(32), .DEPTH(DEPTH)) u_ram (.clk(clk), .we(we), .waddr(waddr), .wdata(wdata), .re(1'b1), .raddr(raddr), .rdata(rdata));
endmodule
`default_nettype wire
