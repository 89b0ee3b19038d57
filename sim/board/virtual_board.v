// A board for simulation: boards/common/heddle_board.v with the external memory that its geometry asks for, at one clock.
`default_nettype none
module virtual_board #(
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
    parameter EXTERN         = 0,
    parameter EXTERN_MHZ     = 50,
    parameter DECODE         = 0,
    parameter CLOCKS_PER_BIT = 4
) (
    input  wire         clk,
    input  wire         locked,
    input  wire         rx,
    output wire         tx,
    output wire         busy,
    output wire         done,
    output wire [127:0] fault       // the first rule of the external memory that was broken, as text; 0: none
);
    wire [3:0]  sd_cmd;
    wire [1:0]  sd_bank;
    wire [12:0] sd_addr;
    wire        sd_dqm, sd_oe;
    wire [15:0] sd_out, sd_in;
    heddle_board #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .EXTERN(EXTERN), .EXTERN_MHZ(EXTERN_MHZ), .DECODE(DECODE), .PUMP(PUMP), .POOL(POOL), .SLOT(SLOT), .GATHER(GATHER), .CLOCKS_PER_BIT(CLOCKS_PER_BIT)) u_board (
        .clk(clk), .clk_fast(1'b0), .fast_take(1'b0), .locked(locked), .rx(rx), .tx(tx), .busy(busy), .done(done),
        .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in));
    generate if (EXTERN != 0) begin : g_memory
        wire [63:0] unused_at;
        sdram_model #(.MHZ(EXTERN_MHZ), .EW(EXTERN)) u_sdram (
            .clk(clk), .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in),
            .fault(fault), .fault_at(unused_at));
    end else begin : g_none
        assign sd_in = 16'd0;
        assign fault = 128'd0;
        wire unused = &{1'b0, sd_cmd, sd_bank, sd_addr, sd_dqm, sd_out, sd_oe};
    end endgenerate
endmodule
`default_nettype wire
