// Receives bytes of 8 data bits, no parity, 1 stop bit, low bit first.
//
// A bit lasts any number of clocks, in sixty-fourths. Bit i is sampled (i + 1/2) bits after the first sample that was low, rounded down to a sample: that
// first one came on average half a sample late, so the sample lies in the middle of the bit within one sample. From 190 sixty-fourths on the line is sampled
// once a clock, below twice, at both edges. docs/link.md ("UART") derives how far the sender's clock may be off.
// A start bit that is gone in its middle is none. A byte whose stop bit is 0 is dropped; so is one that comes while the byte before was not taken (ten
// bit times): whoever reads checks CRCs. Payload holds while valid.
// Parameter: CLOCKS_PER_64_BITS, 128 or more: clocks a bit times 64.
`default_nettype none
module uart_rx #(
    parameter CLOCKS_PER_64_BITS = 256
) (
    input  wire       clk,
    input  wire       rst_n,
    input  wire       rx,
    output reg        m_byte_valid,
    input  wire       m_byte_ready,
    output reg  [7:0] m_byte_data
);
    generate if (CLOCKS_PER_64_BITS < 128) begin : g_rule CLOCKS_PER_64_BITS_must_be_128_or_more bad(); end endgenerate
    localparam WB = $clog2(CLOCKS_PER_64_BITS), HALVES = CLOCKS_PER_64_BITS < 190;
    localparam [31:0] MIDDLE32 = CLOCKS_PER_64_BITS / 2 - 64, STEP32 = CLOCKS_PER_64_BITS - 64, LATE32 = CLOCKS_PER_64_BITS / 2 - 32;
    localparam [WB-1:0] MIDDLE = MIDDLE32[WB-1:0], STEP = STEP32[WB-1:0], LATE = LATE32[WB-1:0], CLOCK = 64;

    // The samples of a clock, the older one first; a second flip-flop against metastability.
    reg  whole, first;
    wire second;
    always @(posedge clk) {whole, first} <= rst_n ? {rx, whole} : 2'b11;
    generate if (HALVES) begin : g_halves
        reg half, second_q;
        always @(negedge clk) half <= rx;
        always @(posedge clk) second_q <= !rst_n || half;
        assign second = second_q;
    end else begin : g_whole
        assign second = first;
    end endgenerate

    reg          active;
    reg [WB-1:0] count;         // sixty-fourths of a clock until the sample is due; a bit further on in the same addition
    reg [8:0]    shift;         // the start bit, a 0 among ones, marks how far a byte has come
    wire         sample = active && count[WB-1:6] == {(WB-6){1'b0}};
    wire         level = HALVES && count[5] ? second : first;
    wire         stop = !shift[0];
    always @(posedge clk) begin
        if (!active) count <= HALVES && first ? LATE : MIDDLE;
        else count <= count + (sample ? STEP : -CLOCK);
        if (!active) shift <= 9'h1ff;
        else if (sample) shift <= {level, shift[8:1]};
        if (!rst_n) begin
            active <= 1'b0; m_byte_valid <= 1'b0;
        end else begin
            if (!active) active <= !first || !second;
            else if (sample && (stop || (&shift && level))) active <= 1'b0;
            if (sample && stop && level) m_byte_valid <= 1'b1;
            else if (m_byte_ready) m_byte_valid <= 1'b0;
        end
        if (sample && stop && (!m_byte_valid || m_byte_ready)) m_byte_data <= shift[8:1];
    end
endmodule
`default_nettype wire
