// The window memory: for each row two buffers of activation words, written by fetch, read by the array.
// One memory bank a row; all rows read the same address, each row is written at its own.
//
// Latency: `q` one cycle after `re`.
// Parameters: ROWS; LANES bytes of a word; WW address bits of one buffer.
`default_nettype none
module window #(
    parameter ROWS  = 4,
    parameter LANES = 8,
    parameter WW    = 8
) (
    input  wire                    clk,
    input  wire [ROWS-1:0]         w_en,
    input  wire                    w_buf,
    input  wire [ROWS*WW-1:0]      w_addr,
    input  wire [LANES*8-1:0]      w_data,
    input  wire                    re,
    input  wire                    r_buf,
    input  wire [WW-1:0]           r_addr,
    output wire [ROWS*LANES*8-1:0] q
);
    genvar r;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_row
        ram_sdp #(.WIDTH(LANES * 8), .DEPTH(2 << WW)) u_ram (
            .clk(clk), .we(w_en[r]), .waddr({w_buf, w_addr[r*WW +: WW]}), .wdata(w_data),
            .re(re), .raddr({r_buf, r_addr}), .rdata(q[r*LANES*8 +: LANES*8]));
    end endgenerate
endmodule
`default_nettype wire
