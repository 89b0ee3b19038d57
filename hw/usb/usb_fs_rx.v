// Full-speed USB receiver: from two lines, sampled four times a bit, to the bytes of packets (USB 2.0, chapter 7.1 and 8.3).
//
//   lines -> phase of the bit -> NRZI -> SYNC, bit stuffing -> bytes
//
// `bit_valid` comes with each bit after SYNC that is not a stuffed one (for the CRCs), `byte_valid` with the last bit of a byte, `stop` once after the
// packet, `sound` with it: whole bytes (a dribble bit is allowed), no stuffing error. Latency: about two bit times behind the lines.
`default_nettype none
module usb_fs_rx (
    input  wire       clk,          // 48 MHz
    input  wire       rst_n,
    input  wire       hold,         // the device itself drives the lines
    input  wire       dp,
    input  wire       dn,
    output reg        start,        // SYNC was seen
    output reg        bit_valid,
    output reg        bit_data,
    output reg        byte_valid,
    output wire [7:0] byte_data,
    output reg        stop,
    output reg        sound,
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

    reg       last, active, failed;
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
endmodule
`default_nettype wire
