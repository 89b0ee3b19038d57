// What every board carries: accelerator, link and reset. A board's top adds its clock, its pins and what makes bytes of them, when that is no UART.
//
// Reset lasts 256 clocks after `locked`: block RAM of the iCE40 answers only some microseconds after configuration.
// Parameters: those of heddle_core; LINK, where the link's bytes go: 0 rx and tx, a UART, 1 the streams s_byte and m_byte (a USB device's); CLOCKS_PER_64_BITS of the UART (uart_link.v);
// TIMEOUT_BITS as in hw/link/link.v.
`default_nettype none
module heddle_board #(
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
    parameter EXTERN         = 0,
    parameter EXTERN_MHZ     = 50,
    parameter DECODE         = 0,
    parameter PUMP           = 1,
    parameter POOL           = 1,
    parameter SLOT           = 1,
    parameter GATHER         = 0,
    parameter SUMS           = 1,
    parameter PERF           = 1,
    parameter LINK           = 0,
    parameter CLOCKS_PER_64_BITS = 256,
    parameter TIMEOUT_BITS   = 20
) (
    input  wire clk,
    input  wire clk_fast,       // with fast_take: heddle_core.v; 0 with PUMP 1
    input  wire fast_take,
    input  wire locked,         // the clock is good; 0 resets
    input  wire rx,
    output wire tx,
    output wire busy,
    output wire done,
    // bytes from and to the host, with LINK 1, and the reset of their other side
    output wire       rst_n,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data,
    output wire       m_byte_valid,
    input  wire       m_byte_ready,
    output wire [7:0] m_byte_data,
    // external memory, where the board has one
    output wire [3:0]  sd_cmd,
    output wire [1:0]  sd_bank,
    output wire [12:0] sd_addr,
    output wire        sd_dqm,
    output wire [15:0] sd_out,
    output wire        sd_oe,
    input  wire [15:0] sd_in       // the pins: taken here at the falling edge, which is the rising one of the memory's clock
);
    reg [1:0] good = 2'd0;
    reg [7:0] count = 8'd0;
    reg       rst_n_q = 1'b0;
    assign rst_n = rst_n_q;
    always @(posedge clk) begin
        good <= {good[0], locked};
        if (!good[1]) count <= 8'd0;
        else if (!rst_n_q) count <= count + 1'b1;
        rst_n_q <= good[1] && (rst_n_q || &count);
    end

    wire        core_rst_n, h_we, h_re, h_wait;
    wire [2:0]  h_space;
    wire [23:0] h_addr;
    wire [31:0] h_wdata, h_rdata;
    generate if (LINK == 0) begin : g_uart
        uart_link #(.CLOCKS_PER_64_BITS(CLOCKS_PER_64_BITS), .TIMEOUT_BITS(TIMEOUT_BITS)) u_link (
            .clk(clk), .rst_n(rst_n), .rx(rx), .tx(tx), .core_rst_n(core_rst_n),
            .h_we(h_we), .h_re(h_re), .h_space(h_space), .h_addr(h_addr), .h_wdata(h_wdata), .h_rdata(h_rdata), .busy(busy), .h_wait(h_wait));
        assign s_byte_ready = 1'b0;
        assign m_byte_valid = 1'b0;
        assign m_byte_data = 8'd0;
        wire unused = &{1'b0, s_byte_valid, s_byte_data, m_byte_ready};
    end else begin : g_bytes
        link #(.TIMEOUT_BITS(TIMEOUT_BITS)) u_link (
            .clk(clk), .rst_n(rst_n), .s_byte_valid(s_byte_valid), .s_byte_ready(s_byte_ready), .s_byte_data(s_byte_data),
            .m_byte_valid(m_byte_valid), .m_byte_ready(m_byte_ready), .m_byte_data(m_byte_data), .core_rst_n(core_rst_n),
            .h_we(h_we), .h_re(h_re), .h_space(h_space), .h_addr(h_addr), .h_wdata(h_wdata), .h_rdata(h_rdata), .busy(busy), .h_wait(h_wait));
        assign tx = 1'b1;
        wire unused = &{1'b0, rx};
    end endgenerate
    reg [15:0] sd_taken;
    generate if (EXTERN != 0) begin : g_extern
        always @(negedge clk) sd_taken <= sd_in;
    end else begin : g_none
        always @* sd_taken = sd_in;
    end endgenerate
    heddle_core #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .EXTERN(EXTERN), .EXTERN_MHZ(EXTERN_MHZ), .DECODE(DECODE), .PUMP(PUMP), .POOL(POOL), .SLOT(SLOT), .GATHER(GATHER), .SUMS(SUMS), .PERF(PERF)) u_core (
        .clk(clk), .clk_fast(clk_fast), .fast_take(fast_take), .rst_n(core_rst_n), .h_we(h_we), .h_re(h_re), .h_space(h_space), .h_addr(h_addr), .h_wdata(h_wdata), .h_rdata(h_rdata),
        .stall(3'd0), .busy(busy), .done(done), .h_wait(h_wait),
        .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_taken));
endmodule
`default_nettype wire
