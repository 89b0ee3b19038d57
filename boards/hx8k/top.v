// HX8K-B-EVN: 12 MHz oscillator, FT2232H channel B as UART (its flow control is not used). LED 0 is on during a run, LED 1 after it.
// `heddle synth` sets all parameters from boards/boards.def; the clock is 12 MHz * (DIVF + 1) / 2^DIVQ; with
// PUMP above 1 that is clk_fast, and clk is divided from it (pump_clock.v).
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
    parameter CLOCKS_PER_64_BITS = 256,
    parameter [6:0] DIVF     = 7'd63,
    parameter [2:0] DIVQ     = 3'd4
) (
    input  wire CLK,
    input  wire RX,
    output wire TX,
    output wire LED0,
    output wire LED1
);
    wire clk, clk_fast, fast_take, pll, locked, busy, done;
    SB_PLL40_CORE #(.FEEDBACK_PATH("SIMPLE"), .DIVR(4'd0), .DIVF(DIVF), .DIVQ(DIVQ), .FILTER_RANGE(3'd1)) u_pll (
        .REFERENCECLK(CLK), .PLLOUTGLOBAL(pll), .LOCK(locked), .RESETB(1'b1), .BYPASS(1'b0));
    generate if (PUMP == 1) begin : g_one_clock
        assign clk = pll;
        assign clk_fast = 1'b0;
        assign fast_take = 1'b0;
    end else begin : g_two_clocks
        assign clk_fast = pll;
        pump_clock #(.PUMP(PUMP)) u_clock (.clk_fast(pll), .clk(clk), .fast_take(fast_take));
    end endgenerate
    // verilator lint_off PINMISSING
    // This board has no external memory.
    heddle_board #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .PUMP(PUMP), .POOL(POOL), .SLOT(SLOT), .GATHER(GATHER), .SUMS(SUMS), .PERF(PERF), .CLOCKS_PER_64_BITS(CLOCKS_PER_64_BITS)) u_board (
        .clk(clk), .clk_fast(clk_fast), .fast_take(fast_take), .locked(locked), .rx(RX), .tx(TX), .busy(busy), .done(done));
    // verilator lint_on PINMISSING
    assign LED0 = busy;
    assign LED1 = done;
endmodule
`default_nettype wire
