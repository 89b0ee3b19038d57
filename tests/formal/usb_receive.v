// What a sender by USB 2.0, 7.1.8 and 7.1.9, puts on the lines, usb_fs_rx.v gives back: each bit once, in order, without the stuffed ones; and it sees where the packet ends.
//
// The sender is written here: SYNC, any bits, a zero after each six ones, SE0 for two bits, idle for as long as it likes. A bit lasts four clocks of the receiver, and each change of
// the lines comes at the bit's start or a clock late, as it likes: the two clocks run at their own pace, and edges fall on either side of a sample. For every history of
// packets, by induction: the receiver samples every bit once, its count of ones is the sender's, no bit is called wrong.
//@ files hw/usb/usb_fs_rx.v
//@ smtbmc --unroll
//@ case packets induct:5 FIXED=0
//@ case packet bmc:76 FIXED=1
//@ mutant packet hw/usb/usb_fs_rx.v s/stuffed = ones == 3'd6/stuffed = ones == 3'd7/
//@ mutant packet hw/usb/usb_fs_rx.v s/failed <= 1'b0; ones <= 3'd1/failed <= 1'b0; ones <= 3'd0/
//@ mutant packet hw/usb/usb_fs_rx.v s/phase == 2'd1 && !edge_seen && !hold/phase == 2'd1 \&\& !hold/
//@ mutant packet hw/usb/usb_fs_rx.v s/count\[2:1\] == 2'd0/count == 3'd0/
//@ mutant packet hw/usb/usb_fs_rx.v s/last <= p\[1\];/last <= p[0];/
`default_nettype none
module proof #(
    parameter FIXED = 0         // packets of ones alone, the first from reset on: the search for mutants
) (
    input wire clk,
    input wire any_bit, any_begin, any_end, any_late
);
    localparam IDLE = 2'd0, SYNC = 2'd1, DATA = 2'd2, END = 2'd3;
    reg [2:0] age = 0;
    always @(posedge clk) if (age != 7) age <= age + 1;

    // ---- the sender: what kind of bit is on the lines, its level (J is 1), that of the bit before, the ones before it
    reg [1:0] at = 0;                           // clock of the bit
    reg [1:0] kind = IDLE;
    reg [2:0] place = 0;                        // bit of SYNC, of END; of DATA: bits before this one modulo 8, stuffed ones left out
    reg       level = 1, before = 1, late = 0, differs = 0;
    reg [2:0] row = 0;                          // ones in a row before this bit
    reg       was_se0 = 0;
    wire      stuff = kind == DATA && row == 6, keep = level == before;
    wire      se0 = kind == END;
    wire [2:0] row_after = keep ? row + 1 : 0;
    wire      next_bit = FIXED ? 1'b1 : any_bit;
    // The bit after this one. A packet's first bit follows SYNC; a stuffed zero comes before an end too.
    wire      due = kind == DATA && row_after == 6;
    wire      to_data = (kind == SYNC && place == 7) || (kind == DATA && (due || !any_end));
    wire      to_sync = (kind == IDLE && (FIXED ? age == 7 : any_begin)) || (kind == SYNC && place != 7);
    wire      to_end = (kind == DATA && !to_data) || (kind == END && place == 0);
    // In SYNC seven zeros and a one; in DATA any bit, but a zero where one is due.
    wire      one = to_sync ? kind == SYNC && place == 6 : !due && next_bit;
    always @(posedge clk) begin
        at <= at + 1;
        if (at == 3) begin
            late <= any_late;
            before <= kind == END ? 1'b1 : level;
            was_se0 <= kind == END;
            level <= !(to_sync || to_data) ? 1'b1 : one ? level : !level;
            differs <= (to_sync || to_data) && !one;
            row <= !to_data ? 3'd0 : kind == SYNC ? 3'd1 : row_after;
            kind <= to_data ? DATA : to_sync ? SYNC : to_end ? END : IDLE;
            place <= to_sync && kind == SYNC ? place + 1 : kind == DATA && to_data ? place + !stuff : kind == END && to_end ? 3'd1 : 3'd0;
            if (kind == DATA && to_end) bits <= place + !stuff;
        end
    end
    reg [2:0] bits = 0;                         // of the packet that ended, modulo 8
    wire here = !(late && at == 0);
    wire dp = here ? !se0 && level : !was_se0 && before, dn = here ? !se0 && !level : !was_se0 && !before;

    // ---- the receiver sees it two clocks later
    wire start, byte_valid, stop, sound, crc5_good, crc16_good, se0_seen, idle;
    wire [7:0] byte_data;
    usb_fs_rx u_rx (.clk(clk), .rst_n(age >= 5), .hold(1'b0), .dp(dp), .dn(dn), .start(start), .byte_valid(byte_valid), .byte_data(byte_data), .stop(stop),
                    .sound(sound), .crc5_good(crc5_good), .crc16_good(crc16_good), .se0(se0_seen), .idle(idle));
    always @* if (age != 7) assume (!any_begin);
    (* hierconn *) wire [2:0] \u_rx.p , \u_rx.n , \u_rx.ones , \u_rx.count ;
    (* hierconn *) wire [1:0] \u_rx.phase ;
    (* hierconn *) wire [7:0] \u_rx.shift ;
    (* hierconn *) wire \u_rx.take , \u_rx.last , \u_rx.active , \u_rx.failed , \u_rx.bit_valid , \u_rx.bit_data ;
    localparam WIDE = 2 + 2 + 3 + 4 + 3 + 1 + 3 + 2;
    reg [WIDE-1:0] early, now;
    wire [1:0] c, k;
    wire [2:0] i, r, b;
    wire lv, bf, lt, df, st, dp_2, dn_2;
    reg  dp_3 = 1, dn_3 = 0;
    assign {c, k, i, lv, bf, lt, df, r, st, b, dp_2, dn_2} = now;
    initial begin
        early = {2'd0, IDLE, 3'd0, 1'b1, 1'b1, 1'b0, 1'b0, 3'd0, 1'b0, 3'd0, 1'b1, 1'b0}; now = {2'd0, IDLE, 3'd0, 1'b1, 1'b1, 1'b0, 1'b0, 3'd0, 1'b0, 3'd0, 1'b1, 1'b0};
    end
    always @(posedge clk) begin
        early <= {at, kind, place, level, before, late, differs, row, stuff, bits, dp, dn};
        now <= early; dp_3 <= dp_2; dn_3 <= dn_2;
    end

    // ---- when it samples: the clock after the newest edge, and every fourth from there
    reg  newest = 0, locked = 0;                // that edge came late; there was one since the lines were idle
    wire edge_now = df && c == lt;
    wire passed = df && c >= lt;                // this bit's edge was there, now or before
    always @(posedge clk) begin
        if (edge_now) begin
            newest <= lt; locked <= 1;
        end else if (k == IDLE) locked <= 0;
    end
    wire [1:0] sample = (passed || (df && k == SYNC && i == 0) ? lt : newest) + 1;
    wire sampling = locked && c == sample && !(df && !passed), after = locked && c > sample && !(df && !passed);
    wire keeps = lv == bf;
    wire [2:0] i_after = i + (after && !st);
    always @(posedge clk) if (age == 7) begin
        assert ({\u_rx.p [2:1], \u_rx.n [2:1]} == {dp_3, dp_2, dn_3, dn_2});
        assert (sample != 3 && sample != 0 && (!df || ((k == SYNC || k == DATA) && lv != bf)));
    end
    // Before the first packet: idle lines everywhere, also on their way to the receiver.
    wire quiet = kind == IDLE && level && before && !differs && row == 0 && !was_se0;
    always @* if (age != 7) assert (quiet && early[17:16] == IDLE && !early[9] && early[1:0] == 2'b10 && k == IDLE && !df && !locked && {dp_2, dn_2, dp_3, dn_3} == 4'b1010);
    always @* begin
        if (kind == SYNC) assert (level == (place != 7 && place[0]) && before == (place == 0 || (place != 7 && !place[0])) && differs == (place != 7) && row == 0);
        if (kind == DATA) assert (row <= 6 && (row != 6 || !keep) && differs == !keep);
        if (kind == IDLE || kind == END) assert (!differs && level && row == 0 && place <= 1);
    end
    always @* if (age == 7) begin
        if (df && c > lt) assert (locked && newest == lt);
        if (k == DATA || k == END || (k == SYNC && i != 0)) assert (locked);
        if (locked && !edge_now) assert (\u_rx.phase == c - newest);
        if (locked) assert (\u_rx.take == sampling);
        if (k == IDLE || (k == SYNC && i == 0 && !after)) assert (!\u_rx.active && \u_rx.shift == 8'hff && \u_rx.last );
        if (k == SYNC && (locked || i != 0)) begin
            if (i != 7 || !after) assert (!\u_rx.active && \u_rx.shift == 8'hff >> (i + after) && \u_rx.last == (after ? lv : bf));
            else assert (\u_rx.active && \u_rx.ones == 1 && \u_rx.count == 0 && !\u_rx.failed && \u_rx.last == lv);
        end
        if (k == DATA || (k == END && i == 0 && !after)) begin
            assert (locked && \u_rx.active && !\u_rx.failed );
            assert (\u_rx.last == (k == DATA && after ? lv : bf));
            assert (k == END || \u_rx.ones == (after ? (keeps ? r + 1 : 0) : r));
            assert (\u_rx.count == (k == END ? b : i_after));
        end
        if (k == END && (i != 0 || after)) assert (!\u_rx.active && \u_rx.last && \u_rx.shift == 8'hff);
    end
    // ---- what comes out, in the clock after each sample
    reg was, was_bit, was_end, was_sync, was_whole;
    always @(posedge clk) begin
        was <= age == 7 && sampling && k == DATA && !st;
        was_bit <= keeps;
        was_end <= age == 7 && sampling && k == END && i == 0;
        was_sync <= age == 7 && sampling && k == SYNC && i == 7;
        was_whole <= b <= 1;
        if (age == 7 && $past(age) == 7) begin
            assert (\u_rx.bit_valid == was && (!was || \u_rx.bit_data == was_bit));
            assert (start == was_sync && stop == was_end);
            if (was_end) assert (sound == was_whole);
        end
    end
endmodule
`default_nettype wire
