// A board for simulation: boards/common/heddle_board.v with the external memory that its geometry asks for, and LINK: 0 a UART, 1 a full-speed USB device at two pins,
// 2 one behind a ULPI transceiver. USB has its own clock, usb_clk; the waits of the ULPI device (resets, chirps) last a tenth of their time,
// and with USB the link forgets a broken frame after 2^16 clocks: simulated time passes only while something happens.
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
    parameter SUMS           = 1,
    parameter PERF           = 1,
    parameter EXTERN         = 0,
    parameter EXTERN_MHZ     = 50,
    parameter DECODE         = 0,
    parameter LINK           = 0,
    parameter CLOCKS_PER_64_BITS = 236
) (
    input  wire         clk,
    input  wire         locked,
    input  wire         rx,
    output wire         tx,
    // verilator lint_off UNUSEDSIGNAL
    input  wire         usb_clk,
    input  wire         dp_i,
    input  wire         dn_i,
    input  wire [7:0]   ulpi_i,
    input  wire         ulpi_dir,
    input  wire         ulpi_nxt,
    // verilator lint_on UNUSEDSIGNAL
    output wire         dp_o,
    output wire         dn_o,
    output wire         usb_oe,
    output wire         usb_pull,
    output wire [7:0]   ulpi_o,
    output wire         ulpi_stp,
    output wire         busy,
    output wire         done,
    output wire [127:0] fault       // the first rule of the external memory that was broken, as text; 0: none
);
    wire [3:0]  sd_cmd;
    wire [1:0]  sd_bank;
    wire [12:0] sd_addr;
    wire        sd_dqm, sd_oe;
    wire [15:0] sd_out, sd_in;
    wire        rst_n, h_valid, h_ready, d_valid, d_ready;
    wire [7:0]  h_data, d_data;
    heddle_board #(
        .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .ACT_WORDS(ACT_WORDS),
        .WINDOW_WORDS(WINDOW_WORDS), .STREAM_WORDS(STREAM_WORDS), .PARAM_WORDS(PARAM_WORDS), .DESCRIPTORS(DESCRIPTORS), .TABLES(TABLES),
        .RESIDUAL(RESIDUAL), .FETCH(FETCH), .POST(POST), .EXTERN(EXTERN), .EXTERN_MHZ(EXTERN_MHZ), .DECODE(DECODE), .PUMP(PUMP), .POOL(POOL), .SLOT(SLOT), .GATHER(GATHER), .SUMS(SUMS), .PERF(PERF),
        .LINK(LINK == 0 ? 0 : 1), .TIMEOUT_BITS(LINK == 0 ? 20 : 16),
        .CLOCKS_PER_64_BITS(CLOCKS_PER_64_BITS)) u_board (
        .clk(clk), .clk_fast(1'b0), .fast_take(1'b0), .locked(locked), .rx(rx), .tx(tx), .busy(busy), .done(done), .rst_n(rst_n),
        .s_byte_valid(h_valid), .s_byte_ready(h_ready), .s_byte_data(h_data), .m_byte_valid(d_valid), .m_byte_ready(d_ready), .m_byte_data(d_data),
        .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in));
    generate if (LINK == 0) begin : g_uart
        assign h_valid = 1'b0;
        assign h_data = 8'd0;
        assign d_ready = 1'b0;
        assign {dp_o, dn_o, usb_oe, usb_pull, ulpi_o, ulpi_stp} = 13'd0;
        wire unused = &{1'b0, rst_n, h_ready, d_valid, d_data};
    end else begin : g_usb
        wire usb_rst_n, out_valid, out_ready, in_valid, in_ready;
        wire [7:0] out_data, in_data;
        usb_crossing u_crossing (
            .usb_clk(usb_clk), .usb_rst_n(usb_rst_n), .clk(clk), .rst_n(rst_n), .locked(locked), .u_out_valid(out_valid), .u_out_ready(out_ready), .u_out_data(out_data),
            .u_in_valid(in_valid), .u_in_ready(in_ready), .u_in_data(in_data), .m_byte_valid(h_valid), .m_byte_ready(h_ready), .m_byte_data(h_data),
            .s_byte_valid(d_valid), .s_byte_ready(d_ready), .s_byte_data(d_data));
        // verilator lint_off PINCONNECTEMPTY
        if (LINK == 1) begin : g_fs
            usb_fs #(.SERIAL("virtual0")) u_usb (
                .clk(usb_clk), .rst_n(usb_rst_n), .dp_i(dp_i), .dn_i(dn_i), .dp_o(dp_o), .dn_o(dn_o), .oe(usb_oe), .pull(usb_pull),
                .m_byte_valid(out_valid), .m_byte_ready(out_ready), .m_byte_data(out_data), .s_byte_valid(in_valid), .s_byte_ready(in_ready), .s_byte_data(in_data),
                .configured(), .bus_reset(), .suspended());
            assign {ulpi_o, ulpi_stp} = 9'd0;
        end else begin : g_ulpi
            usb_ulpi #(.SERIAL("virtual0"), .MS(6000), .US(6)) u_usb (
                .clk(usb_clk), .rst_n(usb_rst_n), .data_i(ulpi_i), .data_o(ulpi_o), .data_oe(usb_oe), .dir(ulpi_dir), .nxt(ulpi_nxt), .stp(ulpi_stp),
                .m_byte_valid(out_valid), .m_byte_ready(out_ready), .m_byte_data(out_data), .s_byte_valid(in_valid), .s_byte_ready(in_ready), .s_byte_data(in_data),
                .configured(), .high(), .bus_reset(), .suspended());
            assign {dp_o, dn_o, usb_pull} = 3'd0;
        end
        // verilator lint_on PINCONNECTEMPTY
    end endgenerate
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
