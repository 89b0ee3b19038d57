// A sender and a receiver for each of eight bit times, side by side, for test_uarts.cpp.
`default_nettype none
module uarts (
    input  wire        clk,
    input  wire        rst_n,
    input  wire [7:0]  rx,
    output wire [7:0]  m_byte_valid,
    output wire [63:0] m_byte_data,
    input  wire [7:0]  s_byte_valid,
    output wire [7:0]  s_byte_ready,
    input  wire [63:0] s_byte_data,
    output wire [7:0]  tx
);
    // In sixty-fourths of a clock: 12 Mbit/s at iCEBreaker's 29.625 and HX8K's 44.25 MHz, 3 at ULX3S's 75; 2.5, 3 and 4 clocks, the fewest that are sampled once a clock, an odd one.
    localparam [8*32-1:0] BITS = {32'd160, 32'd192, 32'd255, 32'd190, 32'd1600, 32'd256, 32'd158, 32'd236};
    genvar i;
    generate for (i = 0; i < 8; i = i + 1) begin : g_uart
        uart_rx #(.CLOCKS_PER_64_BITS(BITS[32*i +: 32])) u_rx (
            .clk(clk), .rst_n(rst_n), .rx(rx[i]), .m_byte_valid(m_byte_valid[i]), .m_byte_ready(1'b1), .m_byte_data(m_byte_data[8*i +: 8]));
        uart_tx #(.CLOCKS_PER_64_BITS(BITS[32*i +: 32])) u_tx (
            .clk(clk), .rst_n(rst_n), .s_byte_valid(s_byte_valid[i]), .s_byte_ready(s_byte_ready[i]), .s_byte_data(s_byte_data[8*i +: 8]), .tx(tx[i]));
    end endgenerate
endmodule
`default_nettype wire
