// ULX3S with LFE5U-85F: 25 MHz oscillator, FT231X as UART (its flow control is not used), 32 MB of SDRAM as weight memory with EXTERN 23. The SDRAM's clock is
// the array's, inverted, so that what changes at the one's rising edge is stable at the other's.
// LINK 1: US2, the socket at the FPGA's own pins, a full-speed USB device, in place of the UART (`heddle synth --link usb`); else its lines stay open.
// Button FIRE1 (BTN) resets. LED 0 is on during a run, LED 1 after it, LED 7 while the PLL has locked. GPIO 0 of the ESP32 is held high: low, it would keep it in its boot loader.
// `heddle synth` sets all parameters from boards/boards.def; the clock is 25 MHz * CLKFB_DIV / CLKI_DIV, made by dividing the PLL's oscillator by CLKOP_DIV.
`default_nettype none
module top #(
    parameter ROWS           = 2,
    parameter COLS           = 4,
    parameter LANES          = 8,
    parameter PLANES         = 2,
    parameter HOP            = 4,
    parameter ACC_BITS       = 20,
    parameter ACT_WORDS      = 256,
    parameter WINDOW_WORDS   = 128,
    parameter STREAM_WORDS   = 256,
    parameter PARAM_WORDS    = 128,
    parameter DESCRIPTORS    = 8,
    parameter TABLES         = 1,
    parameter RESIDUAL       = 0,
    parameter FETCH          = 1,
    parameter POST           = 4,
    parameter PUMP           = 1,
    parameter POOL           = 1,
    parameter SLOT           = 1,
    parameter GATHER         = 0,
    parameter SUMS           = 1,
    parameter PERF           = 1,
    parameter EXTERN         = 0,
    parameter EXTERN_MHZ     = 75,
    parameter DECODE         = 0,
    parameter LINK           = 0,
    parameter CLOCKS_PER_64_BITS = 256,
    parameter CLKI_DIV       = 1,
    parameter CLKFB_DIV      = 3,
    parameter CLKOP_DIV      = 8
) (
    input  wire        CLK,
    input  wire        RX,
    output wire        TX,
    input  wire        BTN,
    output wire [7:0]  led,
    output wire        wifi_gpio0,
    output wire        sdram_clk,
    output wire        sdram_cke,
    output wire        sdram_csn,
    output wire        sdram_rasn,
    output wire        sdram_casn,
    output wire        sdram_wen,
    output wire [1:0]  sdram_ba,
    output wire [12:0] sdram_a,
    output wire [1:0]  sdram_dqm,
    inout  wire [15:0] sdram_d,
    // verilator lint_off UNUSEDSIGNAL
    inout  wire        usb_dp,
    inout  wire        usb_dn,
    inout  wire        usb_pull_dp,
    inout  wire        usb_pull_dn
    // verilator lint_on UNUSEDSIGNAL
);
    generate if (PUMP != 1) begin : g_rule_pump PUMP_must_be_1_on_this_board bad(); end endgenerate
    wire clk, locked, busy, done, sd_dqm, sd_oe;
    wire [15:0] sd_out;
    wire rst_n, s_byte_valid, s_byte_ready, m_byte_valid, m_byte_ready;
    wire [7:0] s_byte_data, m_byte_data;
    // verilator lint_off PINMISSING
    (* FREQUENCY_PIN_CLKI = "25" *)
    EHXPLLL #(
        .CLKI_DIV(CLKI_DIV), .CLKFB_DIV(CLKFB_DIV), .CLKOP_DIV(CLKOP_DIV), .CLKOP_ENABLE("ENABLED"), .CLKOP_CPHASE(CLKOP_DIV / 2 - 1), .CLKOP_FPHASE(0),
        .FEEDBK_PATH("CLKOP"), .OUTDIVIDER_MUXA("DIVA"), .PLLRST_ENA("DISABLED"), .INTFB_WAKE("DISABLED"), .STDBY_ENABLE("DISABLED"), .DPHASE_SOURCE("DISABLED")) u_pll (
        .CLKI(CLK), .CLKFB(clk), .CLKOP(clk), .LOCK(locked), .RST(1'b0), .STDBY(1'b0), .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1),
        .PHASESTEP(1'b1), .PHASELOADREG(1'b1), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0));
    // verilator lint_on PINMISSING
    heddle_board #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .EXTERN(EXTERN), .EXTERN_MHZ(EXTERN_MHZ), .DECODE(DECODE), .PUMP(PUMP), .POOL(POOL), .SLOT(SLOT), .GATHER(GATHER), .SUMS(SUMS), .PERF(PERF), .LINK(LINK), .CLOCKS_PER_64_BITS(CLOCKS_PER_64_BITS)) u_board (
        .clk(clk), .clk_fast(1'b0), .fast_take(1'b0), .locked(locked && !BTN), .rx(RX), .tx(TX), .busy(busy), .done(done), .rst_n(rst_n),
        .s_byte_valid(s_byte_valid), .s_byte_ready(s_byte_ready), .s_byte_data(s_byte_data), .m_byte_valid(m_byte_valid), .m_byte_ready(m_byte_ready), .m_byte_data(m_byte_data),
        .sd_cmd({sdram_csn, sdram_rasn, sdram_casn, sdram_wen}), .sd_bank(sdram_ba), .sd_addr(sdram_a), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sdram_d));
    generate if (LINK != 0) begin : g_usb
        wire dp_o, dn_o, oe, pull;
        usb_port u_usb (
            .CLK(CLK), .reset(BTN), .dp_i(usb_dp), .dn_i(usb_dn), .dp_o(dp_o), .dn_o(dn_o), .oe(oe), .pull(pull), .clk(clk), .rst_n(rst_n),
            .m_byte_valid(s_byte_valid), .m_byte_ready(s_byte_ready), .m_byte_data(s_byte_data), .s_byte_valid(m_byte_valid), .s_byte_ready(m_byte_ready), .s_byte_data(m_byte_data));
        assign usb_dp = oe ? dp_o : 1'bz;
        assign usb_dn = oe ? dn_o : 1'bz;
        // 1.5 kOhm to D+: full speed. That of D- stays open.
        assign usb_pull_dp = pull ? 1'b1 : 1'bz;
    end else begin : g_uart
        assign s_byte_valid = 1'b0;
        assign s_byte_data = 8'd0;
        assign m_byte_ready = 1'b0;
        wire unused = &{1'b0, rst_n, s_byte_ready, m_byte_valid, m_byte_data};
    end endgenerate
    assign sdram_d = sd_oe ? sd_out : 16'hzzzz;
    assign sdram_dqm = {2{sd_dqm}};
    assign sdram_cke = 1'b1;
    ODDRX1F u_clock (.SCLK(clk), .RST(1'b0), .D0(1'b0), .D1(1'b1), .Q(sdram_clk));
    assign led = {locked, 5'd0, done, busy};
    assign wifi_gpio0 = 1'b1;
endmodule
`default_nettype wire
