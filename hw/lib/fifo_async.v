// A FIFO of bytes between two clocks that know nothing of each other.
//
// Each side counts in its own clock and shows the other side its count as a Gray code, of which one bit changes at a time: a sample that comes while it changes
// is the old count or the new one, both of which are safe. Two flip-flops hold a sample before it is used.
//
// A byte can be read two to three clocks of the reader after it was written, a place is free again two to three clocks of the writer after it was read; both
// sides take a byte a clock while they may. Each side has the reset of its own clock; both are reset together, before anything is written.
// Parameter: BITS, 2 or more; 2^BITS bytes of distributed memory.
`default_nettype none
module fifo_async #(
    parameter BITS = 4
) (
    input  wire       s_clk,
    input  wire       s_rst_n,
    input  wire       s_byte_valid,
    output wire       s_byte_ready,
    input  wire [7:0] s_byte_data,
    input  wire       m_clk,
    input  wire       m_rst_n,
    output wire       m_byte_valid,
    input  wire       m_byte_ready,
    output wire [7:0] m_byte_data
);
    generate if (BITS < 2) begin : g_rule BITS_must_be_2_or_more bad(); end endgenerate
    reg [7:0] mem [0:(1 << BITS)-1];
    // One bit more than an address, so that full and empty differ.
    reg [BITS:0] w_at, w_gray, w_early, w_other;        // writer: its count, as Gray code; the reader's code as it came, and a clock later
    reg [BITS:0] r_at, r_gray, r_early, r_other;
    wire         write = s_byte_valid && s_byte_ready, read = m_byte_valid && m_byte_ready;
    wire [BITS:0] w_next = w_at + {{BITS{1'b0}}, write}, r_next = r_at + {{BITS{1'b0}}, read};
    // Full: the codes differ in the two highest bits only.
    assign s_byte_ready = w_gray != {~w_other[BITS:BITS-1], w_other[BITS-2:0]};
    assign m_byte_valid = r_gray != r_other;
    assign m_byte_data = mem[r_at[BITS-1:0]];
    always @(posedge s_clk) begin
        if (write) mem[w_at[BITS-1:0]] <= s_byte_data;
        if (!s_rst_n) begin
            w_at <= {(BITS+1){1'b0}}; w_gray <= {(BITS+1){1'b0}}; w_early <= {(BITS+1){1'b0}}; w_other <= {(BITS+1){1'b0}};
        end else begin
            w_at <= w_next; w_gray <= w_next ^ (w_next >> 1); w_early <= r_gray; w_other <= w_early;
        end
    end
    always @(posedge m_clk)
        if (!m_rst_n) begin
            r_at <= {(BITS+1){1'b0}}; r_gray <= {(BITS+1){1'b0}}; r_early <= {(BITS+1){1'b0}}; r_other <= {(BITS+1){1'b0}};
        end else begin
            r_at <= r_next; r_gray <= r_next ^ (r_next >> 1); r_early <= w_gray; r_other <= r_early;
        end
endmodule
`default_nettype wire
