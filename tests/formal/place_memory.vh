// Stands for the memories of post.v and post_shared.v in their proofs.
// Parameters answer their place; a table's word says byte by byte which codes it is for.
module ram_sdp #(
    parameter WIDTH = 32,
    parameter DEPTH = 64
) (
    input  wire                     clk,
    input  wire                     we,
    input  wire [$clog2(DEPTH)-1:0] waddr,
    input  wire [WIDTH-1:0]         wdata,
    input  wire                     re,
    input  wire [$clog2(DEPTH)-1:0] raddr,
    output reg  [WIDTH-1:0]         rdata
);
    generate if (DEPTH > 16) begin : g_table
        wire [5:0] a = raddr[5:0];
        always @(posedge clk) if (re) rdata <= {a ^ 6'd3, 2'd3, a ^ 6'd2, 2'd2, a ^ 6'd1, 2'd1, a, 2'd0};
    end else begin : g_place
        always @(posedge clk) if (re) rdata <= {{WIDTH-$clog2(DEPTH){1'b0}}, raddr};
    end endgenerate
endmodule
