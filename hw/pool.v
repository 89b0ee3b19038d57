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
    input  wire               slice,         // with last: last position of a slice
    input  wire               over,          // with last: last position of the layer
    input  wire [LANES*8-1:0] data,
    output reg                st_we,
    output reg  [AW-1:0]      st_addr,
    output wire [LANES*8-1:0] st_data,
    output reg                layer_done
);
`include "heddle_contract.vh"
    wire [23:0] f_out_start = desc[HD_F_OUT_START +: 24];
    wire [23:0] f_out_stride = {8'd0, desc[HD_F_OUT_STRIDE +: 16]};

    genvar l;
    generate for (l = 0; l < LANES; l = l + 1) begin : g_lane
        reg signed [7:0] best;
        wire signed [7:0] x = data[l*8 +: 8];
        always @(posedge clk) if (valid && (first || x > best)) best <= x;
        assign st_data[l*8 +: 8] = best;
    end endgenerate

    reg [AW-1:0] next, slice_start;
    wire take = valid && last;
    always @(posedge clk) begin
        st_we <= take && rst_n && !go;
        layer_done <= take && over && rst_n && !go;
        if (take) st_addr <= next;
        if (go) slice_start <= f_out_start[AW-1:0] + 1'b1;
        else if (take && slice) slice_start <= slice_start + 1'b1;
        if (go) next <= f_out_start[AW-1:0];
        else if (take) next <= slice ? slice_start : next + f_out_stride[AW-1:0];
    end
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
