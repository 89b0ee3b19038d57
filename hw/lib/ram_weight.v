// A bank of the weight memory: 32-bit words, written by the host while nothing runs, read in every cycle. A board with large single-port RAM has
// its own module of this name (boards/icebreaker/ram_weight.v).
//
// Latency: read data two cycles of clk after `raddr`; in a cycle with `we` what is read is undefined. The host writes at h_clk: clk itself, or slower
// and in step with it.
// Parameter: DEPTH words (2 or more).
`default_nettype none
module ram_weight #(
    parameter DEPTH = 256,
    parameter ADDR  = $clog2(DEPTH)
) (
    input  wire            clk,
    input  wire            h_clk,
    input  wire            we,
    input  wire [ADDR-1:0] waddr,
    input  wire [31:0]     wdata,
    input  wire [ADDR-1:0] raddr,
    output reg  [31:0]     rdata
);
    (* no_rw_check *) reg [31:0] mem [0:DEPTH-1];

    always @(posedge h_clk) if (we) mem[waddr] <= wdata;
    reg [ADDR-1:0] at;
    always @(posedge clk) begin
        at <= raddr;
        rdata <= mem[at];
    end
endmodule
`default_nettype wire
