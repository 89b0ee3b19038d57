// Simulation models of cells that stand beside a netlist: the PLL passes its clock, the single-port RAM and the multiplier (the modes that
// boards/icebreaker uses) as their data sheets tell. The others are yosys' own (cells_sim.v).
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
`ifdef NETLIST // a bitstream read back names these as well
    , output wire PLLOUTCORE, input wire EXTFEEDBACK, input wire [7:0] DYNAMICDELAY, input wire LATCHINPUTVALUE, output wire SDO, input wire SDI, input wire SCLK
`endif
);
    assign PLLOUTGLOBAL = REFERENCECLK;
    assign LOCK = RESETB;
endmodule

module SB_GB (input wire USER_SIGNAL_TO_GLOBAL_BUFFER, output wire GLOBAL_BUFFER_OUTPUT);
    assign GLOBAL_BUFFER_OUTPUT = USER_SIGNAL_TO_GLOBAL_BUFFER;
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

`ifndef NETLIST // there yosys' model, which has every parameter
// 16 x 16 bits without inner registers, or A:B, plus C:D; the sum or the product, the sum registered.
module SB_MAC16 #(
    parameter A_REG = 0, parameter B_REG = 0, parameter C_REG = 0, parameter D_REG = 0, parameter A_SIGNED = 0, parameter B_SIGNED = 0,
    parameter [1:0] TOPOUTPUT_SELECT = 0, parameter [1:0] TOPADDSUB_LOWERINPUT = 0, parameter TOPADDSUB_UPPERINPUT = 0, parameter [1:0] TOPADDSUB_CARRYSELECT = 0,
    parameter [1:0] BOTOUTPUT_SELECT = 0, parameter [1:0] BOTADDSUB_LOWERINPUT = 0, parameter BOTADDSUB_UPPERINPUT = 0
) (
    input wire CLK, input wire CE, input wire [15:0] A, input wire [15:0] B, input wire [15:0] C, input wire [15:0] D,
    input wire AHOLD, input wire BHOLD, input wire CHOLD, input wire DHOLD, input wire IRSTTOP, input wire IRSTBOT, input wire ORSTTOP, input wire ORSTBOT,
    input wire OLOADTOP, input wire OLOADBOT, input wire ADDSUBTOP, input wire ADDSUBBOT, input wire OHOLDTOP, input wire OHOLDBOT,
    input wire CI, input wire ACCUMCI, input wire SIGNEXTIN, output wire [31:0] O
);
    reg  [31:0] ab, cd, sum;
    wire [15:0] a = A_REG != 0 ? ab[31:16] : A, b = B_REG != 0 ? ab[15:0] : B;
    wire [31:0] added = {C_REG != 0 ? cd[31:16] : C, D_REG != 0 ? cd[15:0] : D};
    wire signed [33:0] product = $signed({A_SIGNED != 0 && a[15], a}) * $signed({B_SIGNED != 0 && b[15], b});
    always @(posedge CLK)
        if (CE) begin
            if (!AHOLD) ab[31:16] <= A;
            if (!BHOLD) ab[15:0] <= B;
            if (!CHOLD) cd[31:16] <= C;
            if (!DHOLD) cd[15:0] <= D;
            if (!OHOLDTOP) sum <= OLOADTOP ? added : (TOPADDSUB_LOWERINPUT == 2'd0 ? {a, b} : product[31:0]) + added;
        end
    assign O = TOPOUTPUT_SELECT == 2'd1 ? sum : product[31:0];
endmodule
`endif

// ECP5: the PLL and the register that puts a clock on a pin.
module EHXPLLL #(
    parameter CLKI_DIV = 1, parameter CLKFB_DIV = 1, parameter CLKOP_DIV = 8, parameter CLKOP_ENABLE = "ENABLED", parameter CLKOP_CPHASE = 0, parameter CLKOP_FPHASE = 0,
    parameter FEEDBK_PATH = "CLKOP", parameter OUTDIVIDER_MUXA = "DIVA", parameter PLLRST_ENA = "DISABLED", parameter INTFB_WAKE = "DISABLED",
    parameter STDBY_ENABLE = "DISABLED", parameter DPHASE_SOURCE = "DISABLED",
    parameter CLKOS_DIV = 8, parameter CLKOS_ENABLE = "DISABLED", parameter CLKOS_CPHASE = 0, parameter CLKOS_FPHASE = 0, parameter OUTDIVIDER_MUXB = "DIVB"
) (
    input wire CLKI, input wire CLKFB, input wire RST, input wire STDBY, input wire PHASESEL0, input wire PHASESEL1, input wire PHASEDIR, input wire PHASESTEP,
    input wire PHASELOADREG, input wire PLLWAKESYNC, input wire ENCLKOP, input wire ENCLKOS, output wire CLKOP, output wire CLKOS,
    output wire LOCK
);
    assign CLKOP = CLKI;
    assign CLKOS = CLKI;
    assign LOCK = !RST;
endmodule

module ODDRX1F (input wire SCLK, input wire RST, input wire D0, input wire D1, output wire Q);
    assign Q = !RST && (SCLK ? D0 : D1);
endmodule
`default_nettype wire
