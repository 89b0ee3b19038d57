// Streams of bytes keep their contract: what is valid stays, with its byte, until it is taken; a UART sends each byte it takes as one frame of ten bits.
//
// `rx`: the bytes that uart_rx.v gives out. `tx`: the line at every clock against a counter of clocks since the byte was taken, for every history: edge i comes i bits
// after the start, rounded to a clock.
//@ files hw/link/uart_rx.v hw/link/uart_tx.v
//@ case rx induct:3 KIND=1 BIT=192
//@ case tx induct:2 KIND=2 BIT=192
//@ case tx_part induct:2 KIND=2 BIT=236
//@ mutant rx hw/link/uart_rx.v s/else if \(m_byte_ready\) m_byte_valid/else m_byte_valid/
//@ mutant tx hw/link/uart_tx.v s/1'b1, s_byte_data, 1'b0/1'b1, s_byte_data, 1'b1/
//@ mutant tx hw/link/uart_tx.v s/\{1'b0, shift\[9:1\]\}/{1'b1, shift[9:1]}/
//@ mutant tx_part hw/link/uart_tx.v s/STEP32 \+ 32;/STEP32;/
`default_nettype none
module proof #(
    parameter KIND = 1,
    parameter BIT  = 192           // sixty-fourths of a clock
) (
    input wire        clk,
    input wire        s_valid, m_ready, rx,
    input wire [7:0]  s_data
);
    reg [1:0] age = 0;
    always @(posedge clk) if (age != 3) age <= age + 1;
    wire rst_n = KIND == 1 || age != 0;     // the receiver: in any state, reached or not
    wire m_valid, s_ready, tx;
    wire [7:0] m_data;

    // What is not taken stays.
    reg       waits = 0;
    reg [7:0] was;
    always @(posedge clk) begin
        waits <= m_valid && !m_ready;
        was <= m_data;
        if (waits) begin
            assert (m_valid);
            assert (m_data == was);
        end
    end

    generate if (KIND == 1) begin : g_rx
        uart_rx #(.CLOCKS_PER_64_BITS(BIT)) u_rx (.clk(clk), .rst_n(rst_n), .rx(rx), .m_byte_valid(m_valid), .m_byte_ready(m_ready), .m_byte_data(m_data));
        assign s_ready = 1'b0, tx = 1'b1;
    end else begin : g_tx
        localparam HALF = BIT % 64 == 0 ? 0 : 32, FRAME = (10 * BIT + HALF) / 64;
        uart_tx #(.CLOCKS_PER_64_BITS(BIT)) u_tx (.clk(clk), .rst_n(rst_n), .s_byte_valid(s_valid), .s_byte_ready(s_ready), .s_byte_data(s_data), .tx(tx));
        (* hierconn *) wire [9:0] \u_tx.shift ;
        (* hierconn *) wire [$clog2(BIT)-1:0] \u_tx.count ;
        reg [6:0] left = 0;                     // clocks of the frame that are still to come, this one included; 0 = the line is idle
        reg [9:0] frame = 10'h200;
        wire [6:0] now = FRAME - left;          // the frame's clocks before this one
        reg [3:0]  gone;                        // whole bits among them
        reg [11:0] next;                        // when the next one ends, in sixty-fourths of a clock after the frame's start
        integer i;
        always @* begin
            gone = 0; next = BIT + HALF;
            for (i = 1; i < 10; i = i + 1) if ((i * BIT + HALF) / 64 <= now) begin
                gone = i; next = (i + 1) * BIT + HALF;
            end
        end
        always @(posedge clk) begin
            if (!rst_n) begin
                left <= 0; frame <= 10'h200;
            end else if (s_valid && s_ready) begin
                left <= FRAME; frame <= {1'b1, s_data, 1'b0};
            end else if (left != 0) left <= left - 1;
            if (age >= 1) begin
                assert (left <= FRAME && frame[9]);
                assert (s_ready == (left <= 1));
                if (left == 0) assert (tx && \u_tx.shift == 10'd1 && \u_tx.count < 64);
                else begin
                    assert (tx == frame[gone]);
                    assert (\u_tx.shift == frame >> gone);
                    assert (next == \u_tx.count + {now + 6'd1, 6'd0});
                end
            end
        end
        assign m_valid = 1'b0, m_data = 8'd0;
    end endgenerate
endmodule
`default_nettype wire
