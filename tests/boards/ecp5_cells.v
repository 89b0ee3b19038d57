// Memories of several shapes and products, driven by random numbers: ecp5_cells.sh compares what they answer as written here with what the cells do
// that synth_ecp5 puts in their place. WIDTH.hex has the first words. No word is read in the cycle in which it is written: that is undefined on the FPGA.
`default_nettype none
`timescale 1ns / 1ps
// One write and one read port, words with an initial value; of memories as wide as a byte or wider each half can be written alone.
module memory #(parameter WIDTH = 9, parameter DEPTH = 2048, parameter HALVES = 0, parameter FILE = "9.hex", parameter ADDR = $clog2(DEPTH)) (
    input wire clk, input wire [1:0] we, input wire [ADDR-1:0] waddr, input wire [WIDTH-1:0] wdata, input wire re, input wire [ADDR-1:0] raddr, output reg [WIDTH-1:0] rdata
);
    localparam H = WIDTH > 1 ? WIDTH / 2 : 1;
    (* no_rw_check, ram_style = "block" *) reg [WIDTH-1:0] mem [0:DEPTH-1];
    initial $readmemh(FILE, mem);
    generate if (HALVES != 0) begin : g_halves
        always @(posedge clk) begin
            if (we[0]) mem[waddr][H-1:0] <= wdata[H-1:0];
            if (we[1]) mem[waddr][WIDTH-1:H] <= wdata[WIDTH-1:H];
            if (re) rdata <= mem[raddr];
        end
    end else begin : g_word
        always @(posedge clk) begin
            if (we[0]) mem[waddr] <= wdata;
            if (re) rdata <= mem[raddr];
        end
    end endgenerate
endmodule

// Both ports read and write, each at one address.
module both #(parameter WIDTH = 18, parameter DEPTH = 1024, parameter MODE = 0, parameter FILE = "18.hex", parameter ADDR = $clog2(DEPTH)) (
    input wire clk, input wire [1:0] we, input wire [ADDR-1:0] a_addr, input wire [WIDTH-1:0] a_data, input wire [ADDR-1:0] b_addr, input wire [WIDTH-1:0] b_data,
    output reg [WIDTH-1:0] a_read, output reg [WIDTH-1:0] b_read
);
    (* no_rw_check, ram_style = "block" *) reg [WIDTH-1:0] mem [0:DEPTH-1];
    initial $readmemh(FILE, mem);
    generate if (MODE == 0) begin : g_before        // reads what was there
        always @(posedge clk) begin
            if (we[0]) mem[a_addr] <= a_data;
            a_read <= mem[a_addr];
        end
        always @(posedge clk) begin
            if (we[1]) mem[b_addr] <= b_data;
            b_read <= mem[b_addr];
        end
    end else begin : g_normal                       // keeps its value while it writes
        always @(posedge clk) if (we[0]) mem[a_addr] <= a_data; else a_read <= mem[a_addr];
        always @(posedge clk) if (we[1]) mem[b_addr] <= b_data; else b_read <= mem[b_addr];
    end endgenerate
endmodule

module dut (input wire clk, input wire [1:0] we, input wire re, input wire [13:0] waddr, input wire [13:0] raddr, input wire [63:0] wdata, output wire [287:0] y);
    memory #(.WIDTH(1), .FILE("1.hex"), .DEPTH(16384)) m1 (.clk(clk), .we(we), .waddr(waddr), .wdata(wdata[0]), .re(re), .raddr(raddr), .rdata(y[0]));
    memory #(.WIDTH(2), .FILE("2.hex"), .DEPTH(8192)) m2 (.clk(clk), .we(we), .waddr(waddr[12:0]), .wdata(wdata[1:0]), .re(re), .raddr(raddr[12:0]), .rdata(y[2:1]));
    memory #(.WIDTH(4), .FILE("4.hex"), .DEPTH(4096)) m4 (.clk(clk), .we(we), .waddr(waddr[11:0]), .wdata(wdata[3:0]), .re(re), .raddr(raddr[11:0]), .rdata(y[6:3]));
    memory #(.WIDTH(9), .FILE("9.hex"), .DEPTH(2048)) m9 (.clk(clk), .we(we), .waddr(waddr[10:0]), .wdata(wdata[8:0]), .re(re), .raddr(raddr[10:0]), .rdata(y[15:7]));
    memory #(.WIDTH(18), .FILE("18.hex"), .DEPTH(1024), .HALVES(1)) m18 (.clk(clk), .we(we), .waddr(waddr[9:0]), .wdata(wdata[17:0]), .re(re), .raddr(raddr[9:0]), .rdata(y[33:16]));
    memory #(.WIDTH(36), .FILE("36.hex"), .DEPTH(512), .HALVES(1)) m36 (.clk(clk), .we(we), .waddr(waddr[8:0]), .wdata(wdata[35:0]), .re(re), .raddr(raddr[8:0]), .rdata(y[69:34]));
    memory #(.WIDTH(64), .FILE("64.hex"), .DEPTH(256)) m64 (.clk(clk), .we(we), .waddr(waddr[7:0]), .wdata(wdata), .re(re), .raddr(raddr[7:0]), .rdata(y[133:70]));
    both #(.WIDTH(18), .FILE("18.hex"), .DEPTH(1024), .MODE(0)) b0 (.clk(clk), .we(we), .a_addr(waddr[9:0]), .a_data(wdata[17:0]), .b_addr(raddr[9:0]), .b_data(wdata[35:18]), .a_read(y[151:134]), .b_read(y[169:152]));
    both #(.WIDTH(9), .FILE("9.hex"), .DEPTH(2048), .MODE(1)) b1 (.clk(clk), .we(we), .a_addr(waddr[10:0]), .a_data(wdata[8:0]), .b_addr(raddr[10:0]), .b_data(wdata[17:9]), .a_read(y[178:170]), .b_read(y[187:179]));
    assign y[223:188] = wdata[17:0] * wdata[35:18];
    assign y[259:224] = $signed(wdata[17:0]) * $signed(wdata[35:18]);
    assign y[287:260] = $signed(wdata[35:24]) * $signed({1'b0, wdata[15:0]});
endmodule

`ifndef DUT_ONLY
module bench;
    reg          clk = 0, re;
    reg  [1:0]   we;
    reg  [13:0]  waddr, raddr;
    reg  [63:0]  wdata;
    wire [287:0] y;
    integer      n, seed = 1;
    dut u_dut (.clk(clk), .we(we), .re(re), .waddr(waddr), .raddr(raddr), .wdata(wdata), .y(y));
    initial begin
        for (n = 0; n < 600; n = n + 1) begin
            #10 clk = 0;
            we = n < 60 ? 2'd0 : $random(seed);
            re = n % 4 != 3;
            // Few words, so that most of them are read after they were written; the lowest eight bits tell them apart in every memory.
            waddr = $random(seed) & 14'h2527; raddr = $random(seed) & 14'h2527;
            if (waddr[7:0] == raddr[7:0]) raddr[7:0] = raddr[7:0] ^ 8'd1 << n % 7;
            wdata = {$random(seed), $random(seed)};
            #10 clk = 1;
            #5 if (n > 8) $display("%h", y);
        end
        $finish;
    end
endmodule
`endif
`default_nettype wire
