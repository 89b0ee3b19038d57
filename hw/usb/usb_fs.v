// A full-speed USB device on two pins: usb_device.v behind usb_fs_rx.v and usb_fs_tx.v.
//
// All at 48 MHz. The board's top puts dp_o, dn_o on the pins while oe is high, and pulls D+ up by 1.5 kOhm while `pull` is high. `bus_reset` while the host resets,
// `suspended` after 3 ms of idle.
// Parameters: SERIAL, FIFO_BITS as in usb_device.v.
`default_nettype none
module usb_fs #(
    parameter [63:0] SERIAL    = "heddle00",
    parameter        FIFO_BITS = 9
) (
    input  wire       clk,
    input  wire       rst_n,
    // lines
    input  wire       dp_i,
    input  wire       dn_i,
    output wire       dp_o,
    output wire       dn_o,
    output wire       oe,
    output wire       pull,
    // bytes from and to the host
    output wire       m_byte_valid,
    input  wire       m_byte_ready,
    output wire [7:0] m_byte_data,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data,
    // state
    output wire       configured,
    output wire       bus_reset,
    output reg        suspended
);
    // ---- lines
    wire r_start, r_valid, r_stop, r_sound, r_crc5, r_crc16, se0, idle, t_go, t_with_data, t_more, t_next, t_busy;
    wire [7:0] r_data, t_data;
    wire [3:0] t_pid;
    usb_fs_rx u_rx (.clk(clk), .rst_n(rst_n), .hold(t_busy || oe), .dp(dp_i), .dn(dn_i), .start(r_start), .byte_valid(r_valid), .byte_data(r_data),
                    .stop(r_stop), .sound(r_sound), .crc5_good(r_crc5), .crc16_good(r_crc16), .se0(se0), .idle(idle));
    usb_fs_tx u_tx (.clk(clk), .rst_n(!fresh), .go(t_go), .pid(t_pid), .with_data(t_with_data), .more(t_more), .data(t_data), .next(t_next), .busy(t_busy),
                    .dp(dp_o), .dn(dn_o), .oe(oe));
    assign pull = rst_n;

    // SE0 for 2.5 us is a reset, J for 3 ms a suspend.
    reg [6:0]  low;
    reg [17:0] quiet;
    assign bus_reset = &low;
    always @(posedge clk) begin
        if (!se0 || oe) low <= 7'd0;
        else if (!bus_reset) low <= low + 1'b1;
        if (!idle || oe || !rst_n) quiet <= 18'd0;
        else if (!suspended) quiet <= quiet + 1'b1;
        suspended <= rst_n && idle && (suspended || quiet >= 18'd144000);
    end
    wire fresh = !rst_n || bus_reset;
    // The answer goes out 4 bit times after the end of packet: USB asks for 2 to 6.5.
    usb_device #(.HIGH(0), .SERIAL(SERIAL), .FIFO_BITS(FIFO_BITS), .TURN(5'd17)) u_device (
        .clk(clk), .fresh(fresh), .high(1'b0), .r_start(r_start), .r_valid(r_valid), .r_data(r_data), .r_stop(r_stop), .r_sound(r_sound), .r_crc5(r_crc5),
        .r_crc16(r_crc16), .t_go(t_go), .t_pid(t_pid), .t_with_data(t_with_data), .t_more(t_more), .t_data(t_data), .t_next(t_next),
        .m_byte_valid(m_byte_valid), .m_byte_ready(m_byte_ready), .m_byte_data(m_byte_data), .s_byte_valid(s_byte_valid), .s_byte_ready(s_byte_ready),
        .s_byte_data(s_byte_data), .configured(configured));
endmodule
`default_nettype wire
