// The serial CRC is CRC-32 as IEEE 802.3 writes it: polynomial 04c11db7, highest power first. The design keeps the mirrored register; every bit of
// it is compared from the first `init` on, whatever bits and pauses come.
//@ files hw/link/crc32.v
//@ case serial induct:3
//@ mutant serial hw/link/crc32.v s/32'hedb88320/32'hedb88321/
//@ mutant serial hw/link/crc32.v s/feed && \(q\[0\]/(q[0]/
//@ mutant serial hw/link/crc32.v s/q <= 32'hffffffff/q <= 32'h00000000/
//@ mutant serial hw/link/crc32.v s/crc_bit = !q/crc_bit = q/
`default_nettype none
module proof (
    input wire clk, init, en, feed, data_bit
);
    wire crc_bit;
    crc32 u_crc (.clk(clk), .init(init), .en(en), .feed(feed), .data_bit(data_bit), .crc_bit(crc_bit));
    (* hierconn *) wire [31:0] \u_crc.q ;
    reg [31:0] r;
    reg begun = 0;
    integer i;
    always @(posedge clk) begin
        if (init) begun <= 1;
        if (init) r <= 32'hffffffff;
        else if (en) r <= {r[30:0], 1'b0} ^ (feed && (r[31] != data_bit) ? 32'h04c11db7 : 32'd0);
        if (begun) begin
            for (i = 0; i < 32; i = i + 1) assert (\u_crc.q [i] == r[31-i]);
            assert (crc_bit == ~r[31]);
        end
    end
endmodule
`default_nettype wire
