// A shift register: y is x of N cycles ago (N = 0: a wire). No reset.
`default_nettype none
module delay #(
    parameter WIDTH = 1,
    parameter N     = 1
) (
    input  wire             clk,
    input  wire [WIDTH-1:0] x,
    output wire [WIDTH-1:0] y
);
    generate
        if (N == 0) begin : g_wire
            assign y = x;
            wire unused_clk = clk;
        end else begin : g_shift
            reg [N*WIDTH-1:0] q;
            if (N == 1) begin : g_one
                always @(posedge clk) q <= x;
            end else begin : g_many
                always @(posedge clk) q <= {q[(N-1)*WIDTH-1:0], x};
            end
            assign y = q[N*WIDTH-1 -: WIDTH];
        end
    endgenerate
endmodule
`default_nettype wire
