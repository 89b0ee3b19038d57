// A memory of 32-bit words with one write port that writes bytes, and one read port, each with
// its clock: block RAM on every FPGA family.
//
// Latency: read data one cycle of r_clk after `re`; it holds its value while `re` is low. Reading an address in the cycle in
// which it is written returns the old or the new bytes: no user may depend on which.
// Parameter: DEPTH words (2 or more).
`default_nettype none
module ram_bytes #(
    parameter DEPTH = 256,
    parameter ADDR  = $clog2(DEPTH)
) (
    input  wire            clk,         // writes
    input  wire            r_clk,       // reads
    input  wire [3:0]      we,
    input  wire [ADDR-1:0] waddr,
    input  wire [31:0]     wdata,
    input  wire            re,
    input  wire [ADDR-1:0] raddr,
    output reg  [31:0]     rdata
);
    (* no_rw_check *) reg [31:0] mem [0:DEPTH-1];

    always @(posedge clk) begin
        if (we[0]) mem[waddr][7:0]   <= wdata[7:0];
        if (we[1]) mem[waddr][15:8]  <= wdata[15:8];
        if (we[2]) mem[waddr][23:16] <= wdata[23:16];
        if (we[3]) mem[waddr][31:24] <= wdata[31:24];
    end
    always @(posedge r_clk) if (re) rdata <= mem[raddr];
endmodule
`default_nettype wire
