// Sends bytes of 8 data bits, no parity, 1 stop bit, low bit first, without a gap when the next byte is there at the end of the stop bit.
//
// A bit lasts any number of clocks, in sixty-fourths: edge i of a frame comes i bits after its start, rounded to the nearest clock, so the last bit is as near as the first.
// Parameter: CLOCKS_PER_64_BITS, 128 or more: clocks a bit times 64.
`default_nettype none
module uart_tx #(
    parameter CLOCKS_PER_64_BITS = 256
) (
    input  wire       clk,
    input  wire       rst_n,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data,
    output wire       tx
);
    generate if (CLOCKS_PER_64_BITS < 128) begin : g_rule CLOCKS_PER_64_BITS_must_be_128_or_more bad(); end endgenerate
    localparam WB = $clog2(CLOCKS_PER_64_BITS);
    localparam [31:0] STEP32 = CLOCKS_PER_64_BITS - 64, START32 = CLOCKS_PER_64_BITS % 64 == 0 ? STEP32 : STEP32 + 32;
    localparam [WB-1:0] STEP = STEP32[WB-1:0], START = START32[WB-1:0], CLOCK = 64;
    reg [WB-1:0] count;         // sixty-fourths of a clock until the next edge is due; a bit further on in the same addition
    reg [9:0]    shift;         // zeros follow the stop bit: a lone one in the lowest place is the stop bit, or an idle line
    wire over = count[WB-1:6] == {(WB-6){1'b0}};
    assign s_byte_ready = over && shift[9:1] == 9'd0;
    assign tx = shift[0];
    always @(posedge clk)
        if (!rst_n) begin
            count <= {WB{1'b0}}; shift <= 10'd1;
        end else if (s_byte_ready) begin
            if (s_byte_valid) begin
                shift <= {1'b1, s_byte_data, 1'b0}; count <= START;
            end
        end else begin
            count <= count + (over ? STEP : -CLOCK);
            if (over) shift <= {1'b0, shift[9:1]};
        end
endmodule
`default_nettype wire
