// Streams of bytes keep their contract: what is valid stays, with its byte, until it is taken; a UART sends each byte it takes as one frame of ten bits.
//
// `rx`: the bytes that uart_rx.v gives out. `tx`: the line at every clock against a counter of clocks since the byte was taken, for every history.
//@ files hw/link/uart_rx.v hw/link/uart_tx.v
//@ case rx induct:32 KIND=1 CPB=3
//@ case tx induct:2 KIND=2 CPB=3
//@ case tx4 induct:2 KIND=2 CPB=4
//@ mutant rx hw/link/uart_rx.v s/else if \(m_byte_ready\) m_byte_valid/else m_byte_valid/
//@ mutant tx hw/link/uart_tx.v s/1'b1, s_byte_data, 1'b0/1'b1, s_byte_data, 1'b1/
//@ mutant tx hw/link/uart_tx.v s/\{1'b0, shift\[9:1\]\}/{1'b1, shift[9:1]}/
`default_nettype none
module proof #(
    parameter KIND = 1,
    parameter CPB  = 3
) (
    input wire        clk,
    input wire        s_valid, m_ready, rx,
    input wire [7:0]  s_data
);
    reg [1:0] age = 0;
    always @(posedge clk) if (age != 3) age <= age + 1;
    wire rst_n = age != 0;
    wire m_valid, s_ready, tx;
    wire [7:0] m_data;

    // What is not taken stays.
    reg       waits = 0;
    reg [7:0] was;
    always @(posedge clk) begin
        waits <= rst_n && m_valid && !m_ready;
        was <= m_data;
        if (waits) begin
            assert (m_valid);
            assert (m_data == was);
        end
    end

    generate if (KIND == 1) begin : g_rx
        uart_rx #(.CLOCKS_PER_BIT(CPB)) u_rx (.clk(clk), .rst_n(rst_n), .rx(rx), .m_byte_valid(m_valid), .m_byte_ready(m_ready), .m_byte_data(m_data));
        assign s_ready = 1'b0, tx = 1'b1;
    end else begin : g_tx
        localparam FRAME = 10 * CPB;
        uart_tx #(.CLOCKS_PER_BIT(CPB)) u_tx (.clk(clk), .rst_n(rst_n), .s_byte_valid(s_valid), .s_byte_ready(s_ready), .s_byte_data(s_data), .tx(tx));
        (* hierconn *) wire [9:0] \u_tx.shift ;
        (* hierconn *) wire [$clog2(CPB)-1:0] \u_tx.tick ;
        reg [6:0] left = 0;                     // clocks of the frame that are still to come, this one included; 0 = the line is idle
        reg [9:0] frame = 10'h200;
        wire [6:0] bits = (left + CPB - 1) / CPB, gone = 10 - bits;
        always @(posedge clk) begin
            if (!rst_n) begin
                left <= 0; frame <= 10'h200;
            end else if (s_valid && s_ready) begin
                left <= FRAME; frame <= {1'b1, s_data, 1'b0};
            end else if (left != 0) left <= left - 1;
            if (age >= 1) begin
                assert (left <= FRAME && frame[9]);
                assert (s_ready == (left <= 1));
                if (left == 0) assert (tx && \u_tx.shift == 10'd1 && \u_tx.tick == 0);
                else begin
                    assert (tx == frame[gone]);
                    assert (\u_tx.shift == frame >> gone);
                    assert (\u_tx.tick == (left - 1) % CPB);
                end
            end
        end
        assign m_valid = 1'b0, m_data = 8'd0;
    end endgenerate
endmodule
`default_nettype wire
