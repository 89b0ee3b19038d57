// Full-speed USB transmitter: a packet from its PID and bytes: SYNC, PID, bytes, CRC16, bit stuffing, NRZI, EOP (USB 2.0, chapters 7.1 and 8.3).
//
// `go` starts a packet; `with_data` packets carry the bytes offered on `data` while `more` is high, each taken in the cycle of `next`, then
// the CRC16 of these bytes. `busy` until the lines are released. A bit lasts four clocks.
`default_nettype none
module usb_fs_tx (
    input  wire       clk,          // 48 MHz
    input  wire       rst_n,
    input  wire       go,
    input  wire [3:0] pid,
    input  wire       with_data,
    input  wire       more,
    input  wire [7:0] data,
    output reg        next,
    output reg        busy,
    output reg        dp,
    output reg        dn,
    output reg        oe
);
    localparam S_SYNC = 3'd0, S_PID = 3'd1, S_DATA = 3'd2, S_CRC_LOW = 3'd3, S_CRC_HIGH = 3'd4, S_END = 3'd5;
    reg [2:0]  state, count, ones;
    reg [1:0]  phase;
    reg [7:0]  shift;
    reg [15:0] crc;
    wire tick = phase == 2'd3;
    wire stuff = ones == 3'd6;
    wire one = !stuff && shift[0];
    wire last_bit = count == 3'd7 && !stuff;
    wire ending = state == S_END && !stuff;     // a packet that ends with six ones has its stuffed bit too
    // Into the CRC goes each data bit as it is sent; the CRC is sent inverted, highest power first, which is its register's own order.
    wire feed = crc[0] ^ shift[0];
    wire [15:0] stepped = {1'b0, crc[15:1]} ^ (feed ? 16'ha001 : 16'd0);
    wire [7:0]  crc_low = state == S_DATA ? stepped[7:0] : crc[7:0];
    always @(posedge clk) begin
        next <= 1'b0;
        if (!rst_n) begin
            busy <= 1'b0; oe <= 1'b0; dp <= 1'b1; dn <= 1'b0; state <= S_SYNC; phase <= 2'd0; count <= 3'd0; ones <= 3'd0;
        end else if (!busy) begin
            phase <= 2'd0; count <= 3'd0; ones <= 3'd0; state <= S_SYNC; shift <= 8'h80; crc <= 16'hffff;
            oe <= 1'b0; dp <= 1'b1; dn <= 1'b0;
            busy <= go;
        end else begin
            oe <= 1'b1;
            phase <= phase + 1'b1;
            if (phase == 2'd0 && !ending && !one) begin              // a zero changes the lines
                dp <= !dp; dn <= !dn;
            end
            if (phase == 2'd0 && ending) begin
                dp <= count == 3'd2; dn <= 1'b0;                    // two bits of SE0, one of J
                if (count == 3'd3) begin
                    busy <= 1'b0; oe <= 1'b0;
                end
            end
            if (tick) begin
                if (!ending) ones <= one ? ones + 1'b1 : 3'd0;
                if (ending) count <= count + 1'b1;
                else if (!stuff) begin
                    count <= count + 1'b1; shift <= {1'b0, shift[7:1]};
                    if (state == S_DATA) crc <= stepped;
                end
                if (state != S_END && last_bit) begin
                    case (state)
                        S_SYNC: begin state <= S_PID; shift <= {~pid, pid}; end
                        S_PID, S_DATA:
                            if (state == S_PID && !with_data) state <= S_END;
                            else if (more) begin state <= S_DATA; shift <= data; next <= 1'b1; end
                            else begin state <= S_CRC_LOW; shift <= ~crc_low; end
                        S_CRC_LOW: begin state <= S_CRC_HIGH; shift <= ~crc[15:8]; end
                        default: state <= S_END;
                    endcase
                end
            end
        end
    end
endmodule
`default_nettype wire
