// Sends bytes of 8 data bits, no parity, 1 stop bit, low bit first, without a gap when the next byte is there at the end of the stop bit.
// Parameter: CLOCKS_PER_BIT, 2 or more.
`default_nettype none
module uart_tx #(
    parameter CLOCKS_PER_BIT = 4
) (
    input  wire       clk,
    input  wire       rst_n,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data,
    output wire       tx
);
    generate if (CLOCKS_PER_BIT < 2) begin : g_rule CLOCKS_PER_BIT_must_be_2_or_more bad(); end endgenerate
    localparam TB = $clog2(CLOCKS_PER_BIT);
    localparam [31:0] LAST32 = CLOCKS_PER_BIT - 1;
    reg [TB-1:0] tick;
    reg [9:0]    shift;         // zeros follow the stop bit: a lone one in the lowest place is the stop bit, or an idle line
    wire over = tick == {TB{1'b0}};
    assign s_byte_ready = over && shift[9:1] == 9'd0;
    assign tx = shift[0];
    always @(posedge clk)
        if (!rst_n) begin
            tick <= {TB{1'b0}}; shift <= 10'd1;
        end else if (s_byte_ready) begin
            if (s_byte_valid) begin
                shift <= {1'b1, s_byte_data, 1'b0}; tick <= LAST32[TB-1:0];
            end
        end else begin
            tick <= over ? LAST32[TB-1:0] : tick - 1'b1;
            if (over) shift <= {1'b0, shift[9:1]};
        end
endmodule
`default_nettype wire
