// A board that exists in simulation only: heddle_board and the model of an SDRAM on the inverted clock, as boards/ulx3s wires them.
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
    parameter STREAM_WORDS   = 64,
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
    parameter EXTERN         = 14,
    parameter EXTERN_MHZ     = 50,
    parameter CLOCKS_PER_64_BITS = 256
) (
    input  wire CLK,
    input  wire RX,
    output wire TX,
    output wire LED0,
    output wire LED1
);
    wire [3:0]   sd_cmd;
    wire [1:0]   sd_bank;
    wire [12:0]  sd_addr;
    wire         sd_dqm, sd_oe, busy, tx;
    wire [15:0]  sd_out, sd_in;
    wire [127:0] fault;
    wire [63:0]  fault_at;
    // verilator lint_off PINMISSING
    // Its link is a UART.
    heddle_board #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .EXTERN(EXTERN), .EXTERN_MHZ(EXTERN_MHZ), .PUMP(PUMP), .POOL(POOL), .SLOT(SLOT), .GATHER(GATHER), .SUMS(SUMS), .PERF(PERF), .CLOCKS_PER_64_BITS(CLOCKS_PER_64_BITS)) u_board (
        .clk(CLK), .clk_fast(1'b0), .fast_take(1'b0), .locked(1'b1), .rx(RX), .tx(tx), .busy(busy), .done(LED1),
        .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in));
    // verilator lint_on PINMISSING
    wire sd_clk = !CLK;
    sdram_model #(.MHZ(EXTERN_MHZ), .EW(EXTERN)) u_memory (
        .clk(sd_clk), .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in),
        .fault(fault), .fault_at(fault_at));
    assign LED0 = busy;
    // After a broken rule the board is silent, and the host gives up.
    assign TX = tx || fault != 128'd0;
    reg told = 1'b0;
    always @(posedge CLK) begin
        told <= fault != 128'd0;
        if (fault != 128'd0 && !told) $display("FAIL: the memory's rule '%0s' was broken in clock %0d", fault, fault_at);
    end
endmodule
`default_nettype wire
