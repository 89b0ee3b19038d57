// MAXPOOL: the largest code of each lane over a window, one word a position, slice after slice.
//
// `go` comes two cycles after the layer's start, when OUT_START and OUT_STRIDE are loaded. Takes the words fetch walks; the last word of a window in cycle t (on `data`) is followed by the write in cycle t + 1.
// Parameters: LANES bytes of a word; AW address bits.
`default_nettype none
module pool #(
    parameter LANES = 8,
    parameter AW    = 12
) (
    // verilator lint_off UNUSEDSIGNAL
    // desc is the whole descriptor; its fields are as wide as the contract, small memories use fewer bits.
    input  wire               clk,
    input  wire               rst_n,
    input  wire               go,
    input  wire [767:0]       desc,
    input  wire               valid,
    input  wire               first,
    input  wire               last,
    input  wire [LANES*8-1:0] data,
    output reg                st_we,
    output reg  [AW-1:0]      st_addr,
    output wire [LANES*8-1:0] st_data,
    output reg                layer_done
);
`include "heddle_contract.vh"
    wire [23:0] f_positions = desc[HD_F_POSITIONS +: 24], f_out_start = desc[HD_F_OUT_START +: 24];
    wire [23:0] f_out_stride = {8'd0, desc[HD_F_OUT_STRIDE +: 16]};
    wire [15:0] f_slices = desc[HD_F_SLICES +: 16];

    genvar l;
    generate for (l = 0; l < LANES; l = l + 1) begin : g_lane
        reg signed [7:0] best;
        wire signed [7:0] x = data[l*8 +: 8];
        always @(posedge clk) if (valid && (first || x > best)) best <= x;
        assign st_data[l*8 +: 8] = best;
    end endgenerate

    reg [23:0] m_left;
    reg [15:0] slices_left;
    reg [AW-1:0] next, slice_start;
    wire take = valid && last;
    always @(posedge clk) begin
        if (!rst_n || go) begin
            st_we <= 1'b0; layer_done <= 1'b0;
            m_left <= f_positions; slices_left <= f_slices;
            next <= f_out_start[AW-1:0]; slice_start <= f_out_start[AW-1:0];
        end else begin
            st_we <= take;
            layer_done <= take && m_left == 24'd1 && slices_left == 16'd1;
            if (take) begin
                st_addr <= next;
                if (m_left == 24'd1) begin
                    m_left <= f_positions; slices_left <= slices_left - 1'b1;
                    next <= slice_start + 1'b1; slice_start <= slice_start + 1'b1;
                end else begin
                    m_left <= m_left - 1'b1; next <= next + f_out_stride[AW-1:0];
                end
            end
        end
    end
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
