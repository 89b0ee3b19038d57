// Receives bytes of 8 data bits, no parity, 1 stop bit, low bit first.
//
// A bit is sampled in its middle, counted from the edge of the start bit. A byte whose stop bit is 0 is dropped; so is one that comes while the
// byte before was not taken (ten bit times): whoever reads checks CRCs. Payload holds while valid.
// Parameter: CLOCKS_PER_BIT, 3 or more. With 3 the sender's clock may differ by about 1%, with 4 and more by 2%.
`default_nettype none
module uart_rx #(
    parameter CLOCKS_PER_BIT = 4
) (
    input  wire       clk,
    input  wire       rst_n,
    input  wire       rx,
    output reg        m_byte_valid,
    input  wire       m_byte_ready,
    output reg  [7:0] m_byte_data
);
    generate if (CLOCKS_PER_BIT < 3) begin : g_rule CLOCKS_PER_BIT_must_be_3_or_more bad(); end endgenerate
    localparam TB = $clog2(CLOCKS_PER_BIT);
    localparam [31:0] LAST32 = CLOCKS_PER_BIT - 1, HALF32 = (CLOCKS_PER_BIT - 2) / 2;
    reg [1:0]    level;         // against metastability
    reg          active;
    reg [TB-1:0] tick;
    reg [8:0]    shift;         // the start bit, a 0 among ones, marks how far a byte has come
    wire         sample = active && tick == {TB{1'b0}};
    wire         stop = !shift[0];
    always @(posedge clk) begin
        level <= {level[0], rx};
        if (!active) tick <= HALF32[TB-1:0];
        else tick <= sample ? LAST32[TB-1:0] : tick - 1'b1;
        if (!active) shift <= 9'h1ff;
        else if (sample) shift <= {level[1], shift[8:1]};
        if (!rst_n) begin
            active <= 1'b0; m_byte_valid <= 1'b0; level <= 2'b11;
        end else begin
            if (!active) active <= !level[1] && level[0] == level[1];
            else if (sample && (stop || (&shift && level[1]))) active <= 1'b0;
            if (sample && stop && level[1]) m_byte_valid <= 1'b1;
            else if (m_byte_ready) m_byte_valid <= 1'b0;
        end
        if (sample && stop && (!m_byte_valid || m_byte_ready)) m_byte_data <= shift[8:1];
    end
endmodule
`default_nettype wire
