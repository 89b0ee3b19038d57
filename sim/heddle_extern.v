// The accelerator with its external memory, for simulation: hw/heddle_core.v and sim/sdram_model.v on the same clock.
`default_nettype none
module heddle_extern #(
    parameter ROWS         = 4,
    parameter COLS         = 8,
    parameter LANES        = 8,
    parameter PLANES       = 2,
    parameter HOP          = 8,
    parameter ACC_BITS     = 24,
    parameter ACT_WORDS    = 4096,
    parameter WINDOW_WORDS = 128,
    parameter STREAM_WORDS = 64,
    parameter PARAM_WORDS  = 256,
    parameter DESCRIPTORS  = 64,
    parameter TABLES       = 4,
    parameter RESIDUAL     = 1,
    parameter FETCH        = 1,
    parameter POST         = 0,
    parameter EXTERN       = 16,
    parameter EXTERN_MHZ   = 50,
    parameter DECODE       = 0,
    parameter PUMP         = 1,
    parameter POOL         = 1,
    parameter SLOT         = 1,
    parameter GATHER       = 0,
    parameter SUMS         = 1,
    parameter PERF         = 1
) (
    input  wire         clk,
    input  wire         rst_n,
    input  wire         h_we,
    input  wire         h_re,
    input  wire [2:0]   h_space,
    input  wire [23:0]  h_addr,
    input  wire [31:0]  h_wdata,
    output wire [31:0]  h_rdata,
    input  wire [2:0]   stall,
    output wire         busy,
    output wire         done,
    output wire         h_wait,
    output wire [127:0] fault,      // the first rule of the memory that was broken, as text; 0: none
    output wire [63:0]  fault_at
);
    wire [3:0]  sd_cmd;
    wire [1:0]  sd_bank;
    wire [12:0] sd_addr;
    wire        sd_dqm, sd_oe;
    wire [15:0] sd_out, sd_in;
    heddle_core #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .EXTERN(EXTERN), .EXTERN_MHZ(EXTERN_MHZ), .DECODE(DECODE), .PUMP(PUMP), .POOL(POOL), .SLOT(SLOT), .GATHER(GATHER), .SUMS(SUMS), .PERF(PERF)) u_core (
        .clk(clk), .clk_fast(1'b0), .fast_take(1'b0), .rst_n(rst_n), .h_we(h_we), .h_re(h_re), .h_space(h_space), .h_addr(h_addr), .h_wdata(h_wdata), .h_rdata(h_rdata),
        .stall(stall), .busy(busy), .done(done), .h_wait(h_wait),
        .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in));
    sdram_model #(.MHZ(EXTERN_MHZ), .EW(EXTERN)) u_sdram (
        .clk(clk), .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in),
        .fault(fault), .fault_at(fault_at));
endmodule
`default_nettype wire
