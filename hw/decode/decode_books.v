// Additive codebooks: two of 256 entries, each eight weights of 4 bits; a 16-bit code names an entry of each, and a weight in offset binary is their
// sum modulo 16.
//
// Latency: x two cycles after `code`. Loading: with `we` the word in `code` goes to entry waddr[7:0] of book waddr[8].
// Parameters: DEEP bits of a weight in x, 4 or 8, the upper four used.
`default_nettype none
module decode_books #(
    parameter DEEP = 4
) (
    input  wire              clk,
    input  wire              we,
    input  wire [8:0]        waddr,
    input  wire              own,     // the beat is for this unit
    input  wire [31:0]       code,
    output wire [8*DEEP-1:0] x
);
    wire [31:0] a, b;
    reg own_q;
    ram_sdp #(.WIDTH(32), .DEPTH(256)) u_first (
        .clk(clk), .we(we && !waddr[8]), .waddr(waddr[7:0]), .wdata(code), .re(1'b1), .raddr(code[7:0]), .rdata(a));
    ram_sdp #(.WIDTH(32), .DEPTH(256)) u_second (
        .clk(clk), .we(we && waddr[8]), .waddr(waddr[7:0]), .wdata(code), .re(1'b1), .raddr(code[15:8]), .rdata(b));
    always @(posedge clk) own_q <= own;
    genvar i;
    generate for (i = 0; i < 8; i = i + 1) begin : g_weight
        reg [3:0] u;
        always @(posedge clk)
            if (!own_q) u <= 4'd0;
            else u <= a[4*i +: 4] + b[4*i +: 4];
        if (DEEP == 4) begin : g_4
            assign x[4*i +: 4] = u;
        end else begin : g_8
            assign x[8*i +: 8] = {u, 4'd0};
        end
    end endgenerate
endmodule
`default_nettype wire
