// ULX3S's second USB socket (US2), whose lines end at the FPGA: a full-speed device with a clock of its own.
//
// A second PLL makes 48 MHz of the 25 MHz oscillator: feedback from an output of 60 MHz (25 / 5 * 12), whose oscillator of 480 MHz divided by 10 gives them exactly.
`default_nettype none
module usb_port (
    input  wire       CLK,          // 25 MHz
    input  wire       reset,
    input  wire       dp_i,
    input  wire       dn_i,
    output wire       dp_o,
    output wire       dn_o,
    output wire       oe,
    output wire       pull,
    // bytes at the board's clock
    input  wire       clk,
    input  wire       rst_n,
    output wire       m_byte_valid,
    input  wire       m_byte_ready,
    output wire [7:0] m_byte_data,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data
);
    wire usb_clk, feedback, locked, usb_rst_n, out_valid, out_ready, in_valid, in_ready;
    wire [7:0] out_data, in_data;
    // verilator lint_off PINMISSING
    (* FREQUENCY_PIN_CLKI = "25" *)
    EHXPLLL #(
        .CLKI_DIV(5), .CLKFB_DIV(12), .CLKOP_DIV(8), .CLKOP_ENABLE("ENABLED"), .CLKOP_CPHASE(3), .CLKOP_FPHASE(0), .CLKOS_DIV(10), .CLKOS_ENABLE("ENABLED"),
        .CLKOS_CPHASE(4), .CLKOS_FPHASE(0), .FEEDBK_PATH("CLKOP"), .OUTDIVIDER_MUXA("DIVA"), .OUTDIVIDER_MUXB("DIVB"), .PLLRST_ENA("DISABLED"), .INTFB_WAKE("DISABLED"),
        .STDBY_ENABLE("DISABLED"), .DPHASE_SOURCE("DISABLED")) u_pll (
        .CLKI(CLK), .CLKFB(feedback), .CLKOP(feedback), .CLKOS(usb_clk), .LOCK(locked), .RST(1'b0), .STDBY(1'b0), .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1),
        .PHASESTEP(1'b1), .PHASELOADREG(1'b1), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0), .ENCLKOS(1'b0));
    // verilator lint_on PINMISSING
    usb_crossing u_crossing (
        .usb_clk(usb_clk), .usb_rst_n(usb_rst_n), .clk(clk), .rst_n(rst_n), .locked(locked && !reset), .u_out_valid(out_valid), .u_out_ready(out_ready), .u_out_data(out_data),
        .u_in_valid(in_valid), .u_in_ready(in_ready), .u_in_data(in_data), .m_byte_valid(m_byte_valid), .m_byte_ready(m_byte_ready), .m_byte_data(m_byte_data),
        .s_byte_valid(s_byte_valid), .s_byte_ready(s_byte_ready), .s_byte_data(s_byte_data));
    // verilator lint_off PINCONNECTEMPTY
    usb_fs u_usb (
        .clk(usb_clk), .rst_n(usb_rst_n), .dp_i(dp_i), .dn_i(dn_i), .dp_o(dp_o), .dn_o(dn_o), .oe(oe), .pull(pull),
        .m_byte_valid(out_valid), .m_byte_ready(out_ready), .m_byte_data(out_data), .s_byte_valid(in_valid), .s_byte_ready(in_ready), .s_byte_data(in_data),
        .configured(), .bus_reset(), .suspended());
    // verilator lint_on PINCONNECTEMPTY
endmodule
`default_nettype wire
