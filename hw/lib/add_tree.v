// Registered binary adder tree of N signed WIDTH-bit numbers, N a power of two. Latency log2(N) cycles, one sum a cycle.
`default_nettype none
module add_tree #(
    parameter N     = 4,
    parameter WIDTH = 9,
    parameter LOG   = $clog2(N)
) (
    input  wire                 clk,
    input  wire [N*WIDTH-1:0]   x,
    output wire [WIDTH+LOG-1:0] y
);
    genvar l, i;
    generate
        for (l = 0; l <= LOG; l = l + 1) begin : g_level
            wire [(N >> l)*(WIDTH+l)-1:0] v;
            if (l == 0) begin : g_in
                assign v = x;
            end else begin : g_sum
                for (i = 0; i < (N >> l); i = i + 1) begin : g_add
                    wire signed [WIDTH+l-2:0] a = g_level[l-1].v[(2*i)*(WIDTH+l-1) +: WIDTH+l-1];
                    wire signed [WIDTH+l-2:0] b = g_level[l-1].v[(2*i+1)*(WIDTH+l-1) +: WIDTH+l-1];
                    reg signed [WIDTH+l-1:0] sum;
                    always @(posedge clk) sum <= a + b;
                    assign v[i*(WIDTH+l) +: WIDTH+l] = sum;
                end
            end
        end
    endgenerate
    assign y = g_level[LOG].v;
endmodule
`default_nettype wire
