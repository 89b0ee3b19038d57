// Between a USB device and the board: bytes over two clocks each way, and the reset of the device's clock.
//
// The device is held in reset for 256 of its clocks after `locked`, as heddle_board.v holds the rest: its pull-up comes on only then.
`default_nettype none
module usb_crossing (
    input  wire       usb_clk,
    output reg        usb_rst_n,
    input  wire       clk,
    input  wire       rst_n,
    input  wire       locked,
    // the device's side
    input  wire       u_out_valid,
    output wire       u_out_ready,
    input  wire [7:0] u_out_data,
    output wire       u_in_valid,
    input  wire       u_in_ready,
    output wire [7:0] u_in_data,
    // the board's side
    output wire       m_byte_valid,
    input  wire       m_byte_ready,
    output wire [7:0] m_byte_data,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data
);
    reg [1:0] good = 2'd0;
    reg [7:0] count = 8'd0;
    initial usb_rst_n = 1'b0;
    always @(posedge usb_clk) begin
        good <= {good[0], locked};
        if (!good[1]) count <= 8'd0;
        else if (!usb_rst_n) count <= count + 1'b1;
        usb_rst_n <= good[1] && (usb_rst_n || &count);
    end
    fifo_async u_out (
        .s_clk(usb_clk), .s_rst_n(usb_rst_n), .s_byte_valid(u_out_valid), .s_byte_ready(u_out_ready), .s_byte_data(u_out_data),
        .m_clk(clk), .m_rst_n(rst_n), .m_byte_valid(m_byte_valid), .m_byte_ready(m_byte_ready), .m_byte_data(m_byte_data));
    fifo_async u_in (
        .s_clk(clk), .s_rst_n(rst_n), .s_byte_valid(s_byte_valid), .s_byte_ready(s_byte_ready), .s_byte_data(s_byte_data),
        .m_clk(usb_clk), .m_rst_n(usb_rst_n), .m_byte_valid(u_in_valid), .m_byte_ready(u_in_ready), .m_byte_data(u_in_data));
endmodule
`default_nettype wire
