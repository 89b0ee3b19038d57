// The CRCs of the full-speed lines are those of USB 2.0, 8.3.5, and the residue is reached exactly when the CRC at the end of a packet is that of the bits before it.
//
// The reference goes the specification's way: a remainder of all ones, shifted left once a bit, xored with the polynomial when the bit that falls out differs from
// the data bit; the CRC sent is the remainder inverted, highest power first.
// `rx`: usb_fs_rx.v with any lines, its bytes included. `tx`: usb_fs_tx.v, the CRC's bytes included.  `residue`: from any
// remainder, the 16 (5) bits that lead to the residue are the CRC of that remainder and no others.
//@ files hw/usb/usb_fs_rx.v hw/usb/usb_fs_tx.v
//@ smtbmc --unroll
//@ case rx induct:4 KIND=1
//@ case tx induct:2 KIND=2
//@ case residue bmc:1 KIND=4
//@ mutant tx hw/usb/usb_fs_tx.v s/crc <= 16'hffff/crc <= 16'h7fff/
//@ mutant tx hw/usb/usb_fs_tx.v s/crc <= 16'hffff/crc <= crc/
`default_nettype none
module proof #(
    parameter KIND = 1
) (
    input wire       clk, rst_n,
    input wire       hold, dp, dn,
    input wire       go, with_data, more,
    input wire [3:0] pid,
    input wire [7:0] data
);
    function [15:0] step16(input [15:0] r, input b); step16 = {r[14:0], 1'b0} ^ (r[15] != b ? 16'h8005 : 16'd0); endfunction
    function [4:0]  step5(input [4:0] r, input b);   step5 = {r[3:0], 1'b0} ^ (r[4] != b ? 5'b00101 : 5'd0); endfunction
    reg begun = 0, settled = 0;             // nothing is claimed of the state before the first reset
    always @(posedge clk) if (!rst_n) settled <= 1;
    integer i, j;

    // ---- the remainders of what was received, `width` bits at a time, and of what was sent
    localparam  WIDTH = 1;
    localparam [15:0] RESIDUE16 = 16'h800d;     // the two residuals of the specification
    localparam [4:0]  RESIDUE5 = 5'b01100;
    wire        clear, push;
    wire [7:0]  new_bits;
    reg  [15:0] in16, r;
    reg  [4:0]  in5;
    always @(posedge clk)
        if (clear) begin
            in16 = 16'hffff; in5 = 5'h1f;
        end else if (push)
            for (i = 0; i < WIDTH; i = i + 1) begin
                in16 = step16(in16, new_bits[i]); in5 = step5(in5, new_bits[i]);
            end
    reg [15:0] crc_sent;                        // first bit in bit 0
    always @* for (j = 0; j < 16; j = j + 1) crc_sent[j] = !r[15-j];
    integer k;
    generate if (KIND == 1) begin : g_rx
        wire start, byte_valid, stop, sound, crc5_good, crc16_good, se0, idle;
        wire [7:0] byte_data;
        usb_fs_rx u_rx (.clk(clk), .rst_n(rst_n), .hold(hold), .dp(dp), .dn(dn), .start(start), .byte_valid(byte_valid), .byte_data(byte_data), .stop(stop),
                        .sound(sound), .crc5_good(crc5_good), .crc16_good(crc16_good), .se0(se0), .idle(idle));
        (* hierconn *) wire \u_rx.bit_valid , \u_rx.bit_data , \u_rx.active ;
        (* hierconn *) wire [2:0]  \u_rx.count ;
        (* hierconn *) wire [4:0]  \u_rx.crc5 ;
        (* hierconn *) wire [15:0] \u_rx.crc16 ;
        reg in_body, done, want5, want16;
        reg [7:0] eight;                    // the last bits, PID included
        reg [2:0] place;
        wire [7:0] eight_now = \u_rx.bit_valid ? { \u_rx.bit_data , eight[7:1]} : eight;
        wire [2:0] place_now = place + \u_rx.bit_valid ;
        assign clear = start, push = \u_rx.bit_valid && in_body, new_bits = {7'd0, \u_rx.bit_data };
        always @(posedge clk) begin
            done <= byte_valid; eight <= eight_now; place <= start ? 3'd0 : place_now;
            if (start) begin
                begun <= settled; in_body <= 0; want5 <= 0; want16 <= 0;
            end else begin
                if (byte_valid) in_body <= 1;
                if (done) begin
                    want5 <= in5 == RESIDUE5; want16 <= in16 == RESIDUE16;
                end
            end
            if (begun) begin
                assert (\u_rx.crc5 == in5 && \u_rx.crc16 == in16);
                assert (crc5_good == want5 && crc16_good == want16);
                if (\u_rx.active && !start) begin
                    assert (\u_rx.count == place_now);
                    for (k = 0; k < 8; k = k + 1) if (k < place_now) assert (byte_data[7-k] == eight_now[7-k]);
                end
                if (byte_valid) assert (\u_rx.bit_valid && place_now == 0 && byte_data == eight_now);
            end
        end
    end else if (KIND == 2) begin : g_tx
        wire next, busy, dp_o, dn_o, oe;
        usb_fs_tx u_tx (.clk(clk), .rst_n(rst_n), .go(go), .pid(pid), .with_data(with_data), .more(more), .data(data), .next(next), .busy(busy), .dp(dp_o), .dn(dn_o),
                        .oe(oe));
        (* hierconn *) wire \u_tx.tick , \u_tx.stuff ;
        (* hierconn *) wire [2:0]  \u_tx.state , \u_tx.count ;
        (* hierconn *) wire [7:0]  \u_tx.shift ;
        (* hierconn *) wire [15:0] \u_tx.crc ;
        localparam DATA = 2, CRC_LOW = 3, CRC_HIGH = 4;
        assign clear = 1'b1, push = 1'b0, new_bits = 8'd0;
        always @(posedge clk) begin
            if (rst_n && !busy) begin
                begun <= 1; r <= 16'hffff;
            end else if (rst_n && \u_tx.tick && !\u_tx.stuff && \u_tx.state == DATA) r <= step16(r, \u_tx.shift [0]);
            if (begun) begin
                assert (\u_tx.crc == ~crc_sent);
                if (busy && \u_tx.state == CRC_LOW) assert (\u_tx.shift == crc_sent[7:0] >> \u_tx.count );
                if (busy && \u_tx.state == CRC_HIGH) assert (\u_tx.shift == crc_sent[15:8] >> \u_tx.count );
            end
        end
    end else begin : g_residue
        // Remainders before and after each of the last bits; free, and bound to each other by the definition.
        (* anyconst *) reg [16*17-1:0] h;
        (* anyconst *) reg [5*6-1:0]   t;
        (* anyconst *) reg [15:0]      bits;
        assign clear = 1'b1, push = 1'b0, new_bits = 8'd0;
        reg own16, own5;
        always @* begin
            own16 = 1; own5 = 1;
            for (k = 0; k < 16; k = k + 1) begin
                assume (h[(k+1)*16 +: 16] == step16(h[k*16 +: 16], bits[k]));
                if (bits[k] == h[15-k]) own16 = 0;
            end
            for (k = 0; k < 5; k = k + 1) begin
                assume (t[(k+1)*5 +: 5] == step5(t[k*5 +: 5], bits[k]));
                if (bits[k] == t[4-k]) own5 = 0;
            end
        end
        always @(posedge clk) begin
            assert ((h[16*16 +: 16] == RESIDUE16) == own16);
            assert ((t[5*5 +: 5] == RESIDUE5) == own5);
        end
    end endgenerate
endmodule
`default_nettype wire
