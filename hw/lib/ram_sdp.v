// A memory with one write and one read port, both synchronous: block RAM on every FPGA family.
//
// Latency: read data one cycle after `re`; it holds its value while `re` is low. Reading an address in the cycle in
// which it is written returns the old or the new word: no user may depend on which.
// Parameters: WIDTH bits of a word, DEPTH words (2 or more).
`default_nettype none
module ram_sdp #(
    parameter WIDTH = 16,
    parameter DEPTH = 256,
    parameter ADDR  = $clog2(DEPTH)
) (
    input  wire             clk,
    input  wire             we,
    input  wire [ADDR-1:0]  waddr,
    input  wire [WIDTH-1:0] wdata,
    input  wire             re,
    input  wire [ADDR-1:0]  raddr,
    output reg  [WIDTH-1:0] rdata
);
    (* no_rw_check *) reg [WIDTH-1:0] mem [0:DEPTH-1];

    always @(posedge clk) begin
        if (we) mem[waddr] <= wdata;
        if (re) rdata <= mem[raddr];
    end
endmodule
`default_nettype wire
