// What usb_fs_tx.v puts on the lines is what USB 2.0, 7.1.8 and 7.1.9, asks for, and a reader of that definition gets the bits back.
//
// The reader sees the lines once a bit, as they are in its last clock: a zero changes them, a one keeps them, and the bit after six ones is a stuffed zero that is no bit. For every history
// of a packet: D+ and D- differ until its end, seven ones never follow each other, and the bits without the stuffed ones are those that the transmitter's shift register gives, in order and
// none twice. `packet` is one packet of PID 0 and ones from reset on, so that the mutants come to a
// stuffed bit.
//@ files hw/usb/usb_fs_tx.v
//@ smtbmc --unroll
//@ case lines induct:6 FIXED=0
//@ case packet bmc:90 FIXED=1
//@ mutant packet hw/usb/usb_fs_tx.v s/ones == 3'd6/ones == 3'd7/
//@ mutant packet hw/usb/usb_fs_tx.v s/ones <= one \? ones \+ 1'b1 : 3'd0;/ones <= ones + one;/
//@ mutant lines hw/usb/usb_fs_tx.v s/!ending && !one/!ending \&\& one/
//@ mutant lines hw/usb/usb_fs_tx.v s/dp <= !dp; dn <= !dn;/dp <= !dp; dn <= dn;/
`default_nettype none
module proof #(
    parameter FIXED = 0
) (
    input wire       clk, any_rst_n,
    input wire       any_go, any_with_data, any_more,
    input wire [3:0] any_pid,
    input wire [7:0] any_data
);
    reg first = 1;
    always @(posedge clk) first <= 0;
    wire       rst_n = FIXED ? !first : any_rst_n, go = FIXED || any_go, with_data = FIXED || any_with_data, more = FIXED || any_more;
    wire [3:0] pid = FIXED ? 4'd0 : any_pid;
    wire [7:0] data = FIXED ? 8'hff : any_data;
    wire next, busy, dp, dn, oe;
    usb_fs_tx u_tx (.clk(clk), .rst_n(rst_n), .go(go), .pid(pid), .with_data(with_data), .more(more), .data(data), .next(next), .busy(busy), .dp(dp), .dn(dn), .oe(oe));
    (* hierconn *) wire [2:0] \u_tx.state , \u_tx.ones , \u_tx.count ;
    (* hierconn *) wire [1:0] \u_tx.phase ;
    (* hierconn *) wire [7:0] \u_tx.shift ;
    localparam S_END = 5;

    // ---- the reader: the line's level before this bit, how many ones came in a row
    reg       begun = 0, level, wanted, was_end;
    reg [2:0] row;
    wire      bit_now = dp == level, is_stuffed = row == 6;
    wire      over = busy && \u_tx.phase == 3 && oe;       // the last clock of a bit
    // The packet's end begins when all bits are sent and no stuffed one is due.
    wire      ending = \u_tx.state == S_END && \u_tx.ones != 6;
    always @(posedge clk) begin
        if (rst_n && !busy) begun <= 1;
        if (!rst_n || !busy) begin
            level <= 1; row <= 0;
        end else if (over && !ending) begin
            level <= dp;
            row <= bit_now ? row + 1 : 0;
        end
        if (begun && rst_n && busy) begin
            assert (row <= 6);
            if (!ending) assert (dp != dn);
            assert (\u_tx.ones == row);
            if (\u_tx.phase == 0 && !ending) assert (dp == level);
            if (over && !ending) begin
                if (is_stuffed) assert (!bit_now);
                else assert (bit_now == \u_tx.shift [0]);
            end
        end
    end
endmodule
`default_nettype wire
