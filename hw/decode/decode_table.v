// Tables of 4 entries (2-bit codes, 4 planes) or 16 (4-bit codes, 8 planes), for eight weights at a time: four memories, one a pair of weights, hold the
// entries of all pairs of codes, {second, first}, so that one block RAM serves two weights. An entry of a table of 4 stands in the upper half of its byte.
//
// Latency: x two cycles after `code`. Loading: with `we` the pair in code[15:0] goes to `waddr` of all four.
`default_nettype none
module decode_table (
    input  wire        clk,
    input  wire        we,
    input  wire [7:0]  waddr,
    input  wire        deep,     // 16 entries: codes of 4 bits
    input  wire        own,      // the beat is for this unit
    input  wire [31:0] code,
    output reg  [63:0] x
);
    reg own_q;
    wire [63:0] pair;
    always @(posedge clk) begin
        own_q <= own;
        x <= own_q ? pair : 64'd0;
    end
    genvar i;
    generate for (i = 0; i < 4; i = i + 1) begin : g_pair
        wire [7:0] address = deep ? code[8*i +: 8] : {4'd0, code[4*i +: 4]};
        ram_sdp #(.WIDTH(16), .DEPTH(256)) u_ram (
            .clk(clk), .we(we), .waddr(waddr), .wdata(code[15:0]), .re(1'b1), .raddr(address), .rdata(pair[16*i +: 16]));
    end endgenerate
endmodule
`default_nettype wire
