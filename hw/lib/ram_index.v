// The index memory: 16-bit words, written by the host while nothing runs. A board with large single-port RAM has its own module of this name
// (boards/icebreaker/ram_index.v).
//
// Latency: read data one cycle after `re`; it holds its value while `re` and `we` are low.
// Parameter: DEPTH words (2 or more).
`default_nettype none
module ram_index #(
    parameter DEPTH = 256,
    parameter ADDR  = $clog2(DEPTH)
) (
    input  wire            clk,
    input  wire            we,
    input  wire [ADDR-1:0] waddr,
    input  wire [15:0]     wdata,
    input  wire            re,
    input  wire [ADDR-1:0] raddr,
    output wire [15:0]     rdata
);
    ram_sdp #(.WIDTH(16), .DEPTH(DEPTH)) u_ram (.clk(clk), .we(we), .waddr(waddr), .wdata(wdata), .re(re), .raddr(raddr), .rdata(rdata));
endmodule
`default_nettype wire
