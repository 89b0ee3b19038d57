// The sequencer issues every entry of the weight stream exactly once a pass and in order, reads window words only while they are there, and
// keeps the drain's pace. The index memory holds anything, the descriptor is any with FIRST <= LAST and 1 to 3 columns a tile.
//
// fetch is stood in for by what it promises (docs/hardware.md): buffers are filled one after the other, `fill` words of the one being filled are
// there, and no buffer is begun while two are filled or being filled and not released.
// 26 cycles from reset hold the first 23 issues: passes of a short stream one behind the other over both buffers, fetch in bursts and stalls anywhere.
// The search is bounded: what needs a longer history is not covered.
//@ files hw/sequencer.v hw/lib/ram_index.v hw/lib/ram_sdp.v
//@ case plain abc:26 RESIDUAL=0 DRAIN=1
//@ case slow_drain abc:26 RESIDUAL=0 DRAIN=2
//@ case residual abc:26 RESIDUAL=1 DRAIN=1
//@ mutant plain hw/sequencer.v s/pc == f_last \? f_first : pc \+ 1'b1/pc == f_last ? f_first + 1'b1 : pc + 1'b1/
//@ mutant plain hw/sequencer.v s/rd_valid .. \(!ix_valid \|\| issue\)/rd_valid \&\& (!ix_valid || issue || stall)/
//@ mutant plain hw/sequencer.v s/\{1'b0, ix_addr\} < fill/{1'b0, ix_addr} <= fill/
//@ mutant plain hw/sequencer.v s/wire        whole = ix_end \|\| /wire        whole = /
//@ mutant plain hw/sequencer.v s/ix_final \? f_last_cols : f_tile_cols/ix_final ? f_tile_cols : f_last_cols/
//@ mutant slow_drain hw/sequencer.v s/spacing == \{TCB\{1'b0\}\} && column_over\)/spacing == {TCB{1'b0}})/
//@ mutant residual hw/sequencer.v s/f_residual \? res_now && res_final\[RES-1\] : issue/0 ? res_now \&\& res_final[RES-1] : issue/
//@ mutant residual hw/sequencer.v s/drained && !res_now && !stall/drained \&\& !stall/
`default_nettype none
module proof #(
    parameter RESIDUAL = 0,
    parameter DRAIN    = 1
) (
    input wire       clk,
    input wire       stall,
    input wire       fill_word, fill_end      // what fetch does in this cycle
);
`include "heddle_contract.vh"
    localparam WW = 4, SW = 2, AW = 3, COLS = 3, RES = 3;
    (* anyconst *) reg [SW-1:0] stream_first, stream_last;
    (* anyconst *) reg [1:0]    tile_cols, last_cols;
    (* anyconst *) reg [2:0]    passes;
    (* anyconst *) reg [WW-1:0] res_base;
    reg [767:0] desc;
    always @* begin
        desc = 0;
        desc[HD_F_OPCODE +: HD_W_OPCODE] = HD_OP_CONV;
        desc[HD_F_STREAM_FIRST +: SW] = stream_first; desc[HD_F_STREAM_LAST +: SW] = stream_last;
        desc[HD_F_TILE_COLS +: 2] = tile_cols; desc[HD_F_LAST_COLS +: 2] = last_cols;
        desc[HD_F_RESIDUAL] = RESIDUAL; desc[HD_F_RES_TILES] = 1;
        assume (stream_first <= stream_last && tile_cols != 0 && last_cols != 0 && passes != 0);
    end
    reg [7:0] time_q = 0;
    always @(posedge clk) if (time_q != 255) time_q <= time_q + 1;
    wire rst_n = time_q != 0, go = time_q == 1;

    // ---- fetch, as promised
    reg [WW:0] fill = 0;
    reg [3:0]  filled = 0, released_n = 0;    // buffers, counted from go
    wire       released;
    wire [3:0] open = filled - released_n;
    always @* begin
        if (go || !rst_n || open >= 2) assume (!fill_word && !fill_end);
        if (fill[WW]) assume (!fill_word);
        if (fill_end) assume (fill_word);
    end
    always @(posedge clk) begin
        if (fill_end) begin fill <= 0; filled <= filled + 1; end
        else if (fill_word) fill <= fill + 1;
        if (released && rst_n && !go) released_n <= released_n + 1;
    end

    wire w_re, w_buf, s_valid, s_first, s_last, s_final, r_read;
    wire [WW-1:0] w_addr;
    wire [SW-1:0] s_pc;
    wire cnt_step, cnt_window, cnt_drain, cnt_stall;
    sequencer #(.WW(WW), .SW(SW), .AW(AW), .COLS(COLS), .RES(RES), .DRAIN(DRAIN)) u_sequencer (
        .clk(clk), .rst_n(rst_n), .go(go), .desc(desc), .word({29'd0, passes}), .load({23'd0, go} << (HD_F_PASSES / 32)), .stall(stall), .h_we(1'b0), .h_addr({SW{1'b0}}), .h_wdata(16'd0),
        .fill(fill), .fills_done(filled[1:0]), .res_base(res_base), .released(released),
        .w_re(w_re), .w_buf(w_buf), .w_addr(w_addr), .s_valid(s_valid), .s_first(s_first), .s_last(s_last), .s_final(s_final), .s_pc(s_pc),
        .r_read(r_read), .cnt_step(cnt_step), .cnt_window(cnt_window), .cnt_drain(cnt_drain), .cnt_stall(cnt_stall));

    // ---- what the stream must look like. The read port of the index memory answers for its content: one watched entry.
    (* hierconn *) wire [15:0] \u_sequencer.rd ;
    (* anyconst *) reg [SW-1:0] watch;
    (* anyconst *) reg [15:0]   watch_ix;
    (* hierconn *) wire [SW-1:0] \u_sequencer.u_index.raddr ;
    (* hierconn *) wire \u_sequencer.u_index.re ;
    reg watch_read = 0;
    always @(posedge clk) if (\u_sequencer.u_index.re ) watch_read <= \u_sequencer.u_index.raddr == watch;
    always @* if (watch_read) assume (\u_sequencer.rd  == watch_ix);

    // As compile writes streams: the pass's last entry, and no other, ends the final tile.
    always @* if (RESIDUAL != 0) assume ((s_last && s_final) == (s_pc == stream_last) && (s_last || !s_final));

    reg [SW-1:0] next_pc;
    reg [3:0]    pass = 0;              // passes whose entries were all issued
    reg          next_first = 1;
    reg [7:0]    since = 255;           // cycles since the last LAST
    reg [7:0]    columns = 0;           // that it drains
    reg [RES-1:0] last_due = 0;
    wire live = rst_n && !go;
    always @(posedge clk) begin
        if (!live) next_pc <= stream_first;
        if (live && s_valid) begin
            assert (pass < passes);
            assert (s_pc == next_pc);
            assert (s_first == next_first);
            if (s_pc == watch) assert (w_addr == watch_ix[WW-1:0] && s_last == watch_ix[HD_I_LAST] && s_final == watch_ix[HD_I_FINAL]);
            assert (!stall && !r_read && w_re);
            assert (w_buf == pass[0]);
            // never before it was written
            assert (filled > pass || (filled == pass && {1'b0, w_addr} < fill));
            // the buffer is handed back whole
            if (next_pc == stream_last) assert (filled > pass);
            if (s_last) assert (since >= columns * DRAIN);
            next_pc <= next_pc == stream_last ? stream_first : next_pc + 1;
            if (next_pc == stream_last) pass <= pass + 1;
            next_first <= s_last;
        end
        since <= live && s_valid && s_last ? 1 : since == 255 ? 255 : since + 1;
        if (live && s_valid && s_last) columns <= s_final ? last_cols : tile_cols;
        last_due <= live ? {last_due[RES-2:0], s_valid && s_last && RESIDUAL != 0} : 0;
        // residual cycles: exactly RES after a LAST, nothing issues in them
        if (live) assert (r_read == last_due[RES-1]);
        if (live && r_read) begin
            assert (!s_valid && w_re);
            // of the oldest buffer not handed back, which is complete
            assert (w_buf == released_n[0] && filled > released_n);
        end
        // no buffer is read after it was handed back: fetch would overwrite it
        if (live && s_valid) assert (pass >= released_n);
        // released: once a pass, never more than were filled
        if (live && released) assert (released_n < filled);
        if (live && RESIDUAL == 0) assert (released == (s_valid && next_pc == stream_last));
    end
endmodule
`default_nettype wire
