// The link behind a UART: what boards with a serial bridge put between two pins and the accelerator.
// Parameters: CLOCKS_PER_64_BITS, clocks a bit times 64, 128 or more (docs/link.md, "UART"); TIMEOUT_BITS as in link.v.
`default_nettype none
module uart_link #(
    parameter CLOCKS_PER_64_BITS = 256,
    parameter TIMEOUT_BITS       = 20
) (
    input  wire        clk,
    input  wire        rst_n,
    input  wire        rx,
    output wire        tx,
    output wire        core_rst_n,
    output wire        h_we,
    output wire        h_re,
    output wire [2:0]  h_space,
    output wire [23:0] h_addr,
    output wire [31:0] h_wdata,
    input  wire [31:0] h_rdata,
    input  wire        busy,
    input  wire        h_wait
);
    wire r_valid, r_ready, t_valid, t_ready;
    wire [7:0] r_data, t_data;
    uart_rx #(.CLOCKS_PER_64_BITS(CLOCKS_PER_64_BITS)) u_rx (
        .clk(clk), .rst_n(rst_n), .rx(rx), .m_byte_valid(r_valid), .m_byte_ready(r_ready), .m_byte_data(r_data));
    uart_tx #(.CLOCKS_PER_64_BITS(CLOCKS_PER_64_BITS)) u_tx (
        .clk(clk), .rst_n(rst_n), .s_byte_valid(t_valid), .s_byte_ready(t_ready), .s_byte_data(t_data), .tx(tx));
    link #(.TIMEOUT_BITS(TIMEOUT_BITS)) u_link (
        .clk(clk), .rst_n(rst_n), .s_byte_valid(r_valid), .s_byte_ready(r_ready), .s_byte_data(r_data),
        .m_byte_valid(t_valid), .m_byte_ready(t_ready), .m_byte_data(t_data),
        .core_rst_n(core_rst_n), .h_we(h_we), .h_re(h_re), .h_space(h_space), .h_addr(h_addr), .h_wdata(h_wdata), .h_rdata(h_rdata), .busy(busy), .h_wait(h_wait));
endmodule
`default_nettype wire
