// Simulation models of ECP5's cells that yosys knows as black boxes: block RAM and multiplier, as Lattice's memory and DSP guides describe them (TN1264,
// TN1267), as far as synth_ecp5 uses them. What is not modelled stops the simulation: at elaboration by the name of a module, at run time by $stop.
`default_nettype none

// 18 kbit of block RAM. A lane is 9 bits; of narrower data 8 of them are used. Data of 18 bits have a byte enable for each lane in place of the
// lowest address bits; 36 bits (both ports 36) are written by port A (halves DIA, DIB) with four byte enables, and read by port B (halves DOA, DOB).
// A read of a lane that the other port writes in this cycle is undefined: here it gives the complement of what was there and of nothing that comes.
// Both ports are on one clock as far as that is concerned.
module DP16KD #(
    parameter DATA_WIDTH_A = 18, parameter DATA_WIDTH_B = 18, parameter REGMODE_A = "NOREG", parameter REGMODE_B = "NOREG",
    parameter RESETMODE = "SYNC", parameter ASYNC_RESET_RELEASE = "SYNC", parameter CSDECODE_A = "0b000", parameter CSDECODE_B = "0b000",
    parameter WRITEMODE_A = "NORMAL", parameter WRITEMODE_B = "NORMAL", parameter CLKAMUX = "CLKA", parameter CLKBMUX = "CLKB",
    parameter [319:0] INITVAL_00 = 320'd0, parameter [319:0] INITVAL_01 = 320'd0, parameter [319:0] INITVAL_02 = 320'd0, parameter [319:0] INITVAL_03 = 320'd0,
    parameter [319:0] INITVAL_04 = 320'd0, parameter [319:0] INITVAL_05 = 320'd0, parameter [319:0] INITVAL_06 = 320'd0, parameter [319:0] INITVAL_07 = 320'd0,
    parameter [319:0] INITVAL_08 = 320'd0, parameter [319:0] INITVAL_09 = 320'd0, parameter [319:0] INITVAL_0A = 320'd0, parameter [319:0] INITVAL_0B = 320'd0,
    parameter [319:0] INITVAL_0C = 320'd0, parameter [319:0] INITVAL_0D = 320'd0, parameter [319:0] INITVAL_0E = 320'd0, parameter [319:0] INITVAL_0F = 320'd0,
    parameter [319:0] INITVAL_10 = 320'd0, parameter [319:0] INITVAL_11 = 320'd0, parameter [319:0] INITVAL_12 = 320'd0, parameter [319:0] INITVAL_13 = 320'd0,
    parameter [319:0] INITVAL_14 = 320'd0, parameter [319:0] INITVAL_15 = 320'd0, parameter [319:0] INITVAL_16 = 320'd0, parameter [319:0] INITVAL_17 = 320'd0,
    parameter [319:0] INITVAL_18 = 320'd0, parameter [319:0] INITVAL_19 = 320'd0, parameter [319:0] INITVAL_1A = 320'd0, parameter [319:0] INITVAL_1B = 320'd0,
    parameter [319:0] INITVAL_1C = 320'd0, parameter [319:0] INITVAL_1D = 320'd0, parameter [319:0] INITVAL_1E = 320'd0, parameter [319:0] INITVAL_1F = 320'd0,
    parameter [319:0] INITVAL_20 = 320'd0, parameter [319:0] INITVAL_21 = 320'd0, parameter [319:0] INITVAL_22 = 320'd0, parameter [319:0] INITVAL_23 = 320'd0,
    parameter [319:0] INITVAL_24 = 320'd0, parameter [319:0] INITVAL_25 = 320'd0, parameter [319:0] INITVAL_26 = 320'd0, parameter [319:0] INITVAL_27 = 320'd0,
    parameter [319:0] INITVAL_28 = 320'd0, parameter [319:0] INITVAL_29 = 320'd0, parameter [319:0] INITVAL_2A = 320'd0, parameter [319:0] INITVAL_2B = 320'd0,
    parameter [319:0] INITVAL_2C = 320'd0, parameter [319:0] INITVAL_2D = 320'd0, parameter [319:0] INITVAL_2E = 320'd0, parameter [319:0] INITVAL_2F = 320'd0,
    parameter [319:0] INITVAL_30 = 320'd0, parameter [319:0] INITVAL_31 = 320'd0, parameter [319:0] INITVAL_32 = 320'd0, parameter [319:0] INITVAL_33 = 320'd0,
    parameter [319:0] INITVAL_34 = 320'd0, parameter [319:0] INITVAL_35 = 320'd0, parameter [319:0] INITVAL_36 = 320'd0, parameter [319:0] INITVAL_37 = 320'd0,
    parameter [319:0] INITVAL_38 = 320'd0, parameter [319:0] INITVAL_39 = 320'd0, parameter [319:0] INITVAL_3A = 320'd0, parameter [319:0] INITVAL_3B = 320'd0,
    parameter [319:0] INITVAL_3C = 320'd0, parameter [319:0] INITVAL_3D = 320'd0, parameter [319:0] INITVAL_3E = 320'd0, parameter [319:0] INITVAL_3F = 320'd0,
    parameter GSR = "ENABLED"
) (
    input wire DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13, DIA14, DIA15, DIA16, DIA17,
    input wire ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
    output wire DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13, DOA14, DOA15, DOA16, DOA17,
    input wire CLKA, input wire CEA, input wire OCEA, input wire WEA, input wire RSTA, input wire CSA0, input wire CSA1, input wire CSA2,
    input wire DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13, DIB14, DIB15, DIB16, DIB17,
    input wire ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
    output wire DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13, DOB14, DOB15, DOB16, DOB17,
    input wire CLKB, input wire CEB, input wire OCEB, input wire WEB, input wire RSTB, input wire CSB0, input wire CSB1, input wire CSB2
);
    localparam [20479:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00};
    wire [13:0] ad_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [17:0] di_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] do_a;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = do_a;
    wire [13:0] ad_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [17:0] di_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [17:0] do_b;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = do_b;

    // Lanes of a port, its first one, and where in the lane narrower data lie.
    localparam LANES_A = DATA_WIDTH_A == 36 ? 4 : DATA_WIDTH_A == 18 ? 2 : 1, LANES_B = DATA_WIDTH_B == 36 ? 4 : DATA_WIDTH_B == 18 ? 2 : 1;
    function [10:0] first(input integer width, input [13:0] ad);
        first = width == 36 ? {ad[13:5], 2'b00} : width == 18 ? {ad[13:4], 1'b0} : ad[13:3];
    endfunction
    function [3:0] offset(input integer width, input [13:0] ad);
        offset = width == 4 ? {1'b0, ad[2], 2'b00} : width == 2 ? {1'b0, ad[2:1], 1'b0} : width == 1 ? {1'b0, ad[2:0]} : 4'd0;
    endfunction
    function [8:0] part(input integer width);
        part = width == 4 ? 9'h00f : width == 2 ? 9'h003 : width == 1 ? 9'h001 : 9'h1ff;
    endfunction
    function [3:0] enables(input integer width, input [13:0] ad);
        enables = width == 36 ? ad[3:0] : width == 18 ? {2'b00, ad[1:0]} : 4'b0001;
    endfunction

    reg  [8:0]  mem [0:2047];
    reg  [35:0] q_a, q_b;
    genvar      g;
    generate for (g = 0; g < 64; g = g + 1) begin : g_init       // 16 times 18 bits, each in 20
        localparam [319:0] SLICE = INIT[320*g +: 320];
        integer i;
        initial for (i = 0; i < 32; i = i + 1) mem[32*g+i] = SLICE[(i / 2) * 20 + (i % 2) * 9 +: 9];
    end endgenerate
    wire        clk_a = CLKAMUX == "INV" ? ~CLKA : CLKA, clk_b = CLKBMUX == "INV" ? ~CLKB : CLKB;
    wire        on_a = CEA && !CSA0 && !CSA1 && !CSA2, on_b = CEB && !CSB0 && !CSB1 && !CSB2;
    reg  [10:0] at_a, at_b;
    reg  [3:0]  we_a, we_b;
    reg         overlap;
    wire [35:0] di_wide = {di_b, di_a};

    function writes(input [10:0] lane, input [10:0] at, input [3:0] we);
        writes = overlap && lane - at < 11'd4 && we[lane[1:0] - at[1:0]];
    endfunction
    // A lane with the port's data in it, and what the port reads of a lane. Data of 9 bits and more fill their lanes.
    function [8:0] put(input integer width, input [13:0] ad, input [8:0] old, input [8:0] data);
        put = (old & ~(part(width) << offset(width, ad))) | ((data & part(width)) << offset(width, ad));
    endfunction
    function [8:0] get(input integer width, input [13:0] ad, input [8:0] lane);
        get = (lane >> offset(width, ad)) & part(width);
    endfunction

    // What both ports are about to do, at an edge of either clock.
    task look;
        begin
            at_a = first(DATA_WIDTH_A, ad_a);
            at_b = first(DATA_WIDTH_B, ad_b);
            we_a = on_a && WEA ? enables(DATA_WIDTH_A, ad_a) : 4'd0;
            we_b = on_b && WEB ? enables(DATA_WIDTH_B, ad_b) : 4'd0;
            overlap = DATA_WIDTH_A >= 9 || ((part(DATA_WIDTH_A) << offset(DATA_WIDTH_A, ad_a)) & (part(DATA_WIDTH_B) << offset(DATA_WIDTH_B, ad_b))) != 9'd0;
        end
    endtask

    integer   k;
    reg [8:0] old_a, new_a, old_b, new_b;
    always @(posedge clk_a)
        if (on_a) begin
            look;
            for (k = 0; k < LANES_A; k = k + 1) begin
                old_a = mem[at_a + k[10:0]];
                new_a = put(DATA_WIDTH_A, ad_a, old_a, di_wide[9*k +: 9]);
                if (we_a[k]) mem[at_a + k[10:0]] <= new_a;
                if (writes(at_a + k[10:0], at_b, we_b)) q_a[9*k +: 9] <= ~old_a;
                else if (!we_a[k] || WRITEMODE_A == "READBEFOREWRITE") q_a[9*k +: 9] <= get(DATA_WIDTH_A, ad_a, old_a);
                else if (WRITEMODE_A == "WRITETHROUGH") q_a[9*k +: 9] <= get(DATA_WIDTH_A, ad_a, new_a);
            end
        end
    integer m;
    always @(posedge clk_b)
        if (on_b) begin
            look;
            for (m = 0; m < LANES_B; m = m + 1) begin
                old_b = mem[at_b + m[10:0]];
                new_b = put(DATA_WIDTH_B, ad_b, old_b, di_b[9*(m%2) +: 9]);
                if (we_b[m]) mem[at_b + m[10:0]] <= new_b;
                if (writes(at_b + m[10:0], at_a, we_a)) q_b[9*m +: 9] <= ~old_b;
                else if (!we_b[m] || WRITEMODE_B == "READBEFOREWRITE") q_b[9*m +: 9] <= get(DATA_WIDTH_B, ad_b, old_b);
                else if (WRITEMODE_B == "WRITETHROUGH") q_b[9*m +: 9] <= get(DATA_WIDTH_B, ad_b, new_b);
            end
        end
    assign do_a = DATA_WIDTH_B == 36 ? q_b[17:0] : q_a[17:0];
    assign do_b = DATA_WIDTH_B == 36 ? q_b[35:18] : q_b[17:0];

    always @(posedge clk_a)
        if (RSTA || RSTB || (DATA_WIDTH_B == 36 && WEB) || (on_a && on_b && WEA && WEB && ad_a == ad_b)) begin
            $display("FAIL: DP16KD %m: a reset, or two writes to one lane, which the model does not know");
            $stop;
        end
    generate
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG") begin : g_reg output_registers_of_DP16KD_are_not_modelled bad(); end
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") begin : g_cs CSDECODE_of_DP16KD_must_be_0b000 bad(); end
        if ((DATA_WIDTH_A == 36) != (DATA_WIDTH_B == 36)) begin : g_width both_ports_of_DP16KD_must_be_36_wide bad(); end
    endgenerate
endmodule

// 18 x 18 bits without registers.
module MULT18X18D #(
    parameter REG_INPUTA_CLK = "NONE", parameter REG_INPUTB_CLK = "NONE", parameter REG_PIPELINE_CLK = "NONE", parameter REG_OUTPUT_CLK = "NONE",
    parameter SOURCEB_MODE = "B_SHIFT", parameter GSR = "ENABLED"
) (
    input wire A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input wire B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input wire C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
    input wire SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    output wire P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17,
    output wire P18, P19, P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire signed [37:0] product = $signed({SIGNEDA && a[17], a}) * $signed({SIGNEDB && b[17], b});
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
            P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product[35:0];
    generate
        if (REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" || REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE") begin : g_reg
            registers_of_MULT18X18D_are_not_modelled bad();
        end
    endgenerate
endmodule

// A pin that is driven or not.
module \$_TBUF_ (input wire A, input wire E, output wire Y);
    assign Y = E ? A : 1'bz;
endmodule
`default_nettype wire
