// HX8K-B-EVN: 12 MHz oscillator, FT2232H channel B as UART (its flow control is not used). LED 0 is on during a run, LED 1 after it.
// `heddle synth` sets all parameters from boards/boards.def; the clock is 12 MHz * (DIVF + 1) / 2^DIVQ.
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
    parameter CLOCKS_PER_BIT = 4,
    parameter [6:0] DIVF     = 7'd63,
    parameter [2:0] DIVQ     = 3'd4
) (
    input  wire CLK,
    input  wire RX,
    output wire TX,
    output wire LED0,
    output wire LED1
);
    wire clk, locked, busy, done;
    SB_PLL40_CORE #(.FEEDBACK_PATH("SIMPLE"), .DIVR(4'd0), .DIVF(DIVF), .DIVQ(DIVQ), .FILTER_RANGE(3'd1)) u_pll (
        .REFERENCECLK(CLK), .PLLOUTGLOBAL(clk), .LOCK(locked), .RESETB(1'b1), .BYPASS(1'b0));
    // verilator lint_off PINMISSING
    // This board has no external memory.
    heddle_board #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .CLOCKS_PER_BIT(CLOCKS_PER_BIT)) u_board (
        .clk(clk), .locked(locked), .rx(RX), .tx(TX), .busy(busy), .done(done));
    // verilator lint_on PINMISSING
    assign LED0 = busy;
    assign LED1 = done;
endmodule
`default_nettype wire
