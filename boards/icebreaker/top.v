// iCEBreaker: 12 MHz oscillator, FT2232H channel B as UART without flow control, weights in the single-port RAM (ram_weight.v beside this file).
// The button resets. The red LED is on during a run, the green one after it.
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
    parameter PUMP           = 1,
    parameter POOL           = 1,
    parameter CLOCKS_PER_BIT = 4,
    parameter [6:0] DIVF     = 7'd63,
    parameter [2:0] DIVQ     = 3'd5
) (
    input  wire CLK,
    input  wire BTN_N,
    input  wire RX,
    output wire TX,
    output wire LEDR_N,
    output wire LEDG_N
);
    generate if (PUMP != 1) begin : g_rule_pump PUMP_must_be_1_on_this_board bad(); end endgenerate
    wire clk, locked, busy, done;
    SB_PLL40_PAD #(.FEEDBACK_PATH("SIMPLE"), .DIVR(4'd0), .DIVF(DIVF), .DIVQ(DIVQ), .FILTER_RANGE(3'd1)) u_pll (
        .PACKAGEPIN(CLK), .PLLOUTGLOBAL(clk), .LOCK(locked), .RESETB(1'b1), .BYPASS(1'b0));
    // verilator lint_off PINMISSING
    // This board has no external memory.
    heddle_board #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .PUMP(PUMP), .POOL(POOL), .CLOCKS_PER_BIT(CLOCKS_PER_BIT)) u_board (
        .clk(clk), .clk_fast(1'b0), .fast_take(1'b0), .locked(locked && BTN_N), .rx(RX), .tx(TX), .busy(busy), .done(done));
    // verilator lint_on PINMISSING
    assign LEDR_N = !busy;
    assign LEDG_N = !done;
endmodule
`default_nettype wire
