// A FIFO between two clocks that know nothing of each other neither loses, repeats, reorders nor invents bytes, and is never over its size.
//
// Each step of the search either clock may rise, both or none, in any order for ever: no clock is a multiple of the other, nor even regular. An edge of one clock therefore meets the
// other side's count before or after its change. A sample in the middle of the change is one of these two because only one bit changes, which is asserted. What is not
// modelled: wires of one count so unequal in length that a bit arrives after the next change.
// `counts`: every history; the six counts stay in the order of the ring (writer's view of the reader, older and newer; reader; reader's view of the writer, older and newer; writer).
// `bytes`: the byte of any one write is what is read at its place.
//@ files hw/lib/fifo_async.v
//@ clocks free
//@ smtbmc --unroll
//@ case counts induct:3 KIND=0
//@ case bytes induct:3 KIND=1
//@ mutant counts hw/lib/fifo_async.v s/w_gray <= w_next \^ \(w_next >> 1\)/w_gray <= w_next/
//@ mutant counts hw/lib/fifo_async.v s/w_gray != \{~w_other\[BITS:BITS-1\], w_other\[BITS-2:0\]\}/w_gray != {~w_other[BITS], w_other[BITS-1:0]}/
//@ mutant counts hw/lib/fifo_async.v s/w_early <= r_gray; w_other/w_early <= r_at; w_other/
//@ mutant bytes hw/lib/fifo_async.v s/mem\[r_at\[BITS-1:0\]\]/mem[r_next[BITS-1:0]]/
`default_nettype none
module proof #(
    parameter KIND = 0
) (
    input wire       s_clk, m_clk,
    input wire       s_valid, m_ready, s_leave, m_leave, pick,
    input wire [7:0] s_data
);
    localparam BITS = 2;
    // Neither side leaves its reset before both have had two clocks in it; each does when it likes.
    reg s_clocked = 0, m_clocked = 0, s_was = 0, m_was = 0, s_rst_n = 0, m_rst_n = 0;
    always @(posedge s_clk) begin
        s_clocked <= 1; s_was <= s_clocked; s_rst_n <= s_rst_n || (s_was && m_was && s_leave);
    end
    always @(posedge m_clk) begin
        m_clocked <= 1; m_was <= m_clocked; m_rst_n <= m_rst_n || (s_was && m_was && m_leave);
    end
    wire s_ready, m_valid;
    wire [7:0] m_data;
    fifo_async #(.BITS(BITS)) u_fifo (.s_clk(s_clk), .s_rst_n(s_rst_n), .s_byte_valid(s_valid && s_rst_n), .s_byte_ready(s_ready), .s_byte_data(s_data),
        .m_clk(m_clk), .m_rst_n(m_rst_n), .m_byte_valid(m_valid), .m_byte_ready(m_ready && m_rst_n), .m_byte_data(m_data));
    (* hierconn *) wire [BITS:0] \u_fifo.w_at , \u_fifo.w_gray , \u_fifo.w_early , \u_fifo.w_other , \u_fifo.r_at , \u_fifo.r_gray , \u_fifo.r_early , \u_fifo.r_other ;
    function [BITS:0] binary(input [BITS:0] g); binary = {g[2], g[2] ^ g[1], g[2] ^ g[1] ^ g[0]}; endfunction

    // ---- the counts, from the oldest on
    wire [BITS:0] base = binary(\u_fifo.w_other );
    wire [BITS:0] read_seen = binary(\u_fifo.w_early ) - base, reads = \u_fifo.r_at - base, written_old = binary(\u_fifo.r_other ) - base;
    wire [BITS:0] written_seen = binary(\u_fifo.r_early ) - base, writes = \u_fifo.w_at - base;
    // ---- one write of all, any
    reg          picked = 0, gone = 0;
    reg [BITS:0] place;
    reg [7:0]    byte_q;
    wire         write = s_valid && s_ready && s_rst_n, read = m_valid && m_ready && m_rst_n;
    (* hierconn *) wire [7:0] \u_fifo.mem[0] , \u_fifo.mem[1] , \u_fifo.mem[2] , \u_fifo.mem[3] ;
    wire [31:0]  word = {\u_fifo.mem[3] , \u_fifo.mem[2] , \u_fifo.mem[1] , \u_fifo.mem[0] };
    wire [BITS:0] ahead = place - \u_fifo.r_at , behind = \u_fifo.w_at - place;
    always @(posedge s_clk)
        if (write && pick && !picked) begin
            picked <= 1; place <= \u_fifo.w_at ; byte_q <= s_data;
        end
    always @(posedge m_clk)
        if (read && picked && \u_fifo.r_at == place) gone <= 1;
    wire known = s_was && m_was;
    reg [BITS:0] w_before, r_before;
    always @(posedge s_clk) w_before <= \u_fifo.w_gray ;
    always @(posedge m_clk) r_before <= \u_fifo.r_gray ;
    wire [BITS:0] w_change = w_before ^ \u_fifo.w_gray , r_change = r_before ^ \u_fifo.r_gray ;
    always @* begin
        assert ((!(s_rst_n || m_rst_n) || known) && (!s_was || s_clocked) && (!m_was || m_clocked));
        if (known) begin
            assert (binary(\u_fifo.w_gray ) == \u_fifo.w_at && binary(\u_fifo.r_gray ) == \u_fifo.r_at );
            assert (read_seen <= reads && reads <= written_old && written_old <= written_seen && written_seen <= writes && writes <= 1 << BITS);
        end
        if (s_was && !s_rst_n) assert (\u_fifo.w_at == 0 && \u_fifo.w_gray == 0 && \u_fifo.w_early == 0 && \u_fifo.w_other == 0);
        if (m_was && !m_rst_n) assert (\u_fifo.r_at == 0 && \u_fifo.r_gray == 0 && \u_fifo.r_early == 0 && \u_fifo.r_other == 0);
        if (s_rst_n) assert ((w_change & (w_change - 1'b1)) == 0);
        if (m_rst_n) assert ((r_change & (r_change - 1'b1)) == 0);
        if (KIND == 1) begin
            assert ((!picked || s_rst_n) && (!gone || m_rst_n));
            assert (!gone || picked);
            // Not yet read: between the reader and the writer. Read once, it stays behind the reader.
            if (picked && !gone) begin
                assert (ahead < \u_fifo.w_at - \u_fifo.r_at );
                assert (behind != 0);
                assert (word[place[1:0]*8 +: 8] == byte_q);
            end
            if (picked && !gone && m_valid && \u_fifo.r_at == place) assert (m_data == byte_q);
        end
    end
endmodule
`default_nettype wire
