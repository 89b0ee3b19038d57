// ULX3S's top with its bidirectional pins taken apart, which Verilator does not do at a top's own ports. PARAMETERS are those of `top`, as a macro; a netlist has none.
`default_nettype none
module ulx3s_pins (
    input  wire        CLK,
    input  wire        RX,
    output wire        TX,
    output wire        sdram_clk,
    output wire        sdram_cke,
    output wire        sdram_csn,
    output wire        sdram_rasn,
    output wire        sdram_casn,
    output wire        sdram_wen,
    output wire [1:0]  sdram_ba,
    output wire [12:0] sdram_a,
    output wire [1:0]  sdram_dqm,
    input  wire        give,           // put `given` on the data pins
    input  wire [15:0] given,
    output wire [15:0] data,           // what is on the pins
    output wire [15:0] floating        // those that nobody drives
);
    wire [15:0] sdram_d;
    // verilator lint_off PINMISSING
    // verilator lint_off PINCONNECTEMPTY
    top
`ifndef NETLIST
        #(`PARAMETERS)
`endif
        u_top (
        .CLK(CLK), .RX(RX), .TX(TX), .BTN(1'b0), .sdram_clk(sdram_clk), .sdram_cke(sdram_cke), .sdram_csn(sdram_csn), .sdram_rasn(sdram_rasn), .sdram_casn(sdram_casn),
        .sdram_wen(sdram_wen), .sdram_ba(sdram_ba), .sdram_a(sdram_a), .sdram_dqm(sdram_dqm), .sdram_d(sdram_d));
    // verilator lint_on PINCONNECTEMPTY
    // verilator lint_on PINMISSING
    assign sdram_d = give ? given : 16'hzzzz;
    assign data = sdram_d;
    genvar i;
    generate for (i = 0; i < 16; i = i + 1) begin : g_pin
        assign floating[i] = sdram_d[i] === 1'bz;
    end endgenerate
endmodule
`default_nettype wire
