// Full-speed USB receiver: from two lines, sampled four times a bit, to the bytes of packets (USB 2.0, chapter 7.1 and 8.3).
//
//   lines -> phase of the bit -> NRZI -> SYNC, bit stuffing -> bytes
//
// `start` comes with SYNC, `byte_valid` with each byte, the PID first, `stop` once after the packet and with it `sound` (whole bytes, of which a dribble bit does
// not count, and no stuffing error), `crc5_good` and `crc16_good` of the bytes behind the PID. Latency: about two bit times behind the lines.
`default_nettype none
module usb_fs_rx (
    input  wire       clk,          // 48 MHz
    input  wire       rst_n,
    input  wire       hold,         // the device itself drives the lines
    input  wire       dp,
    input  wire       dn,
    output reg        start,        // SYNC was seen
    output reg        byte_valid,
    output wire [7:0] byte_data,
    output reg        stop,
    output reg        sound,
    output reg        crc5_good,
    output reg        crc16_good,
    output wire       se0,          // both lines low
    output wire       idle          // J
);
    reg [2:0] p, n;
    always @(posedge clk) begin
        p <= {p[1:0], dp}; n <= {n[1:0], dn};
    end
    assign se0 = !p[1] && !n[1];
    assign idle = p[1] && !n[1];

    // A bit is taken in the second sample after an edge, and every fourth after that.
    reg [1:0] phase;
    wire edge_seen = (p[1] ^ p[2]) && (n[1] ^ n[2]);
    always @(posedge clk) phase <= edge_seen ? 2'd1 : phase + 1'b1;
    wire take = phase == 2'd1 && !edge_seen && !hold;      // an edge that comes late moves its bit's sample

    reg       last, active, failed, bit_valid, bit_data, in_body, byte_done;
    reg [2:0] ones, count;
    reg [7:0] shift;
    assign byte_data = shift;
    wire one = p[1] == last;
    wire stuffed = ones == 3'd6;
    wire [7:0] shifted = {one, shift[7:1]};
    always @(posedge clk) begin
        start <= 1'b0; bit_valid <= 1'b0; byte_valid <= 1'b0; stop <= 1'b0;
        if (!rst_n || hold) begin
            active <= 1'b0; last <= 1'b1; ones <= 3'd0; shift <= 8'hff;
        end else if (take && se0) begin
            active <= 1'b0; last <= 1'b1; ones <= 3'd0; shift <= 8'hff;
            stop <= active; sound <= !failed && count[2:1] == 2'd0;
        end else if (take) begin
            last <= p[1];
            ones <= !one ? 3'd0 : stuffed ? ones : ones + 1'b1;
            if (!active) begin
                shift <= shifted;
                if (shifted[7:2] == 6'h20) begin           // a hub may eat the first bits of SYNC
                    active <= 1'b1; start <= 1'b1; count <= 3'd0; failed <= 1'b0; ones <= 3'd1;
                end
            end else if (stuffed) begin
                if (one) failed <= 1'b1;
            end else begin
                shift <= shifted; bit_valid <= 1'b1; bit_data <= one;
                count <= count + 1'b1; byte_valid <= count == 3'd7;
            end
        end
    end

    // After the last whole byte: a dribble bit must not count.
    reg  [4:0]  crc5;
    reg  [15:0] crc16;
    wire        feed5 = crc5[4] ^ bit_data, feed16 = crc16[15] ^ bit_data;
    always @(posedge clk) begin
        byte_done <= byte_valid;
        if (start) begin
            in_body <= 1'b0; crc5 <= 5'h1f; crc16 <= 16'hffff; crc5_good <= 1'b0; crc16_good <= 1'b0;
        end else begin
            if (byte_valid) in_body <= 1'b1;
            if (bit_valid && in_body) begin
                crc5 <= {crc5[3:0], 1'b0} ^ (feed5 ? 5'b00101 : 5'd0);
                crc16 <= {crc16[14:0], 1'b0} ^ (feed16 ? 16'h8005 : 16'd0);
            end
            if (byte_done) begin
                crc5_good <= crc5 == 5'b01100; crc16_good <= crc16 == 16'h800d;
            end
        end
    end
endmodule
`default_nettype wire
