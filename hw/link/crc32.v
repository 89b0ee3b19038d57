// CRC-32 of Ethernet and zlib, one bit a clock, low bit of a byte first: the register starts and ends inverted.
//
// A sender feeds the data bits and then shifts the register out: `crc_bit` is the next bit of the CRC as it goes over the wire. A receiver
// does the same and compares bit by bit. A byte takes 8 clocks, less than a UART needs for one; the byte-wide form costs three times the cells.
// Priority: `init` over `en`.
`default_nettype none
module crc32 (
    input  wire clk,
    input  wire init,
    input  wire en,
    input  wire feed,           // with en: 1 takes data_bit in, 0 shifts out
    input  wire data_bit,
    output wire crc_bit
);
    localparam [31:0] POLYNOMIAL = 32'hedb88320;     // reflected
    reg [31:0] q;
    wire back = feed && (q[0] ^ data_bit);
    assign crc_bit = !q[0];
    always @(posedge clk)
        if (init) q <= 32'hffffffff;
        else if (en) q <= {1'b0, q[31:1]} ^ (POLYNOMIAL & {32{back}});
endmodule
`default_nettype wire
