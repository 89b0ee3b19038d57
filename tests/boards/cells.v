// Simulation models of iCE40 cells that stand beside a netlist: the PLL passes its clock, the single-port RAM as its data sheet tells. The others
// are yosys' own (cells_sim.v).
`default_nettype none
module SB_PLL40_PAD #(
    parameter FEEDBACK_PATH = "SIMPLE", parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0, parameter [2:0] DIVQ = 0, parameter [2:0] FILTER_RANGE = 0,
    parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "FIXED", parameter DELAY_ADJUSTMENT_MODE_RELATIVE = "FIXED", parameter SHIFTREG_DIV_MODE = 0,
    parameter FDA_FEEDBACK = 0, parameter FDA_RELATIVE = 0, parameter PLLOUT_SELECT = "GENCLK", parameter ENABLE_ICEGATE = 0, parameter TEST_MODE = 0,
    parameter EXTERNAL_DIVIDE_FACTOR = 1
) (
    input wire PACKAGEPIN, input wire RESETB, input wire BYPASS, output wire PLLOUTGLOBAL, output wire LOCK
);
    assign PLLOUTGLOBAL = PACKAGEPIN;
    assign LOCK = RESETB;
endmodule

module SB_PLL40_CORE #(
    parameter FEEDBACK_PATH = "SIMPLE", parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0, parameter [2:0] DIVQ = 0, parameter [2:0] FILTER_RANGE = 0,
    parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "FIXED", parameter DELAY_ADJUSTMENT_MODE_RELATIVE = "FIXED", parameter SHIFTREG_DIV_MODE = 0,
    parameter FDA_FEEDBACK = 0, parameter FDA_RELATIVE = 0, parameter PLLOUT_SELECT = "GENCLK", parameter ENABLE_ICEGATE = 0, parameter TEST_MODE = 0,
    parameter EXTERNAL_DIVIDE_FACTOR = 1
) (
    input wire REFERENCECLK, input wire RESETB, input wire BYPASS, output wire PLLOUTGLOBAL, output wire LOCK
);
    assign PLLOUTGLOBAL = REFERENCECLK;
    assign LOCK = RESETB;
endmodule

module SB_SPRAM256KA (
    input wire [13:0] ADDRESS, input wire [15:0] DATAIN, input wire [3:0] MASKWREN, input wire WREN, input wire CHIPSELECT, input wire CLOCK,
    input wire STANDBY, input wire SLEEP, input wire POWEROFF, output reg [15:0] DATAOUT
);
    reg [15:0] mem [0:16383];
    wire on = CHIPSELECT && !STANDBY && !SLEEP && POWEROFF;     // POWEROFF is active low
    wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
    always @(posedge CLOCK)
        if (on && WREN) mem[ADDRESS] <= (mem[ADDRESS] & ~mask) | (DATAIN & mask);
        else if (on) DATAOUT <= mem[ADDRESS];
endmodule
`default_nettype wire
