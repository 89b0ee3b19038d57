// The link's side of the host port and of its reply: what a header says is what reaches the accelerator.
//
// `reply`: bytes of a reply stay, with valid, until they are taken; from any state, reached or not. `port`: no write and read in one cycle, nothing while the port waits; what is written is
// what was taken: after a word the ring has turned once, COUNT one less, ADDRESS one more, every other field as it was, and with it the address of the next access.
// The ring's turn takes 64 clocks and is searched from every state of the unit in which a turn can begin.
//@ files hw/link/link.v hw/link/crc32.v
//@ case reply satinduct:4 KIND=0
//@ case turn abc:68 KIND=1
//@ mutant reply hw/link/link.v s/t_state == T_CRC\) && !m_byte_valid/t_state == T_CRC)/
//@ mutant turn hw/link/link.v s/turn == 6'd7 \|\| turn == 6'd31/turn == 6'd7 || turn == 6'd30/
//@ mutant turn hw/link/link.v s/carry && \(ring\[0\] != in_count\)/carry \&\& (ring[0] == in_count)/
`default_nettype none
module proof #(
    parameter KIND = 0
) (
    input wire        clk, any_rst_n,
    input wire        s_valid, m_ready, busy, h_wait,
    input wire [7:0]  s_data,
    input wire [31:0] h_rdata
);
`include "heddle_contract.vh"
    reg [6:0] age = 0;
    always @(posedge clk) if (age != 127) age <= age + 1;
    wire rst_n = KIND == 1 || any_rst_n;
    wire s_ready, m_valid, core_rst_n, h_we, h_re;
    wire [7:0] m_data;
    wire [2:0] h_space;
    wire [23:0] h_addr;
    wire [31:0] h_wdata;
    link u_link (.clk(clk), .rst_n(rst_n), .s_byte_valid(s_valid), .s_byte_ready(s_ready), .s_byte_data(s_data), .m_byte_valid(m_valid), .m_byte_ready(m_ready), .m_byte_data(m_data),
        .core_rst_n(core_rst_n), .h_we(h_we), .h_re(h_re), .h_space(h_space), .h_addr(h_addr), .h_wdata(h_wdata), .h_rdata(h_rdata), .busy(busy), .h_wait(h_wait));
    (* hierconn *) wire [63:0] \u_link.ring ;
    (* hierconn *) wire [5:0]  \u_link.turn ;
    (* hierconn *) wire [1:0]  \u_link.turn_soon ;
    (* hierconn *) wire [2:0]  \u_link.r_state , \u_link.t_state , \u_link.r_bit , \u_link.t_bit ;
    (* hierconn *) wire [3:0]  \u_link.r_byte , \u_link.t_byte ;
    (* hierconn *) wire \u_link.turning , \u_link.carry , \u_link.more , \u_link.t_read , \u_link.t_run , \u_link.run_pulse , \u_link.ring_in , \u_link.turn_start ;

    generate if (KIND == 0) begin : g_reply
        reg       waits = 0;
        reg [7:0] was;
        always @(posedge clk) begin
            waits <= rst_n && m_valid && !m_ready;
            was <= m_data;
            if (waits) assert (m_valid && m_data == was);
        end
    end else begin : g_turn
        reg [63:0] before;
        reg [15:0] count;
        reg [31:0] address;
        always @(posedge clk) begin
            // A turn is due, none under way, as turn_start leaves it: a word of a WRITE was taken or one of a READ is there.
            if (age == 0) begin
                assume (\u_link.turn_soon == 2'b01 && !\u_link.turning && \u_link.turn == 0 && !\u_link.carry && !\u_link.run_pulse );
                // Either side is at the first bit of the next word.
                assume ((\u_link.t_state == 3 && \u_link.t_read && !\u_link.t_run && \u_link.t_bit == 0 && \u_link.t_byte == 0 && \u_link.r_state <= 1) ||
                        (\u_link.r_state == 3 && \u_link.t_state == 0 && \u_link.r_bit == 0 && \u_link.r_byte [1:0] == 0));
                before <= \u_link.ring ;
                count <= \u_link.ring [HD_LF_COUNT +: HD_LW_COUNT] - 1'b1;
                address <= \u_link.ring [HD_LF_ADDRESS +: HD_LW_ADDRESS] + 1'b1;
            end
            // No second one before this one ended: `step` and `loaded` wait for it.
            if (age != 0 && age <= 65) begin
                assert (!\u_link.turn_start );
                assert (!\u_link.ring_in );
            end
            if (age == 66) begin
                assert (\u_link.ring == {address, before[31:24], count, before[7:0]});
                assert (\u_link.more == (count != 0));
                assert (!\u_link.turning );
            end
        end
    end endgenerate
endmodule
`default_nettype wire
