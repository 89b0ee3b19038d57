// Memories of more than one bank answer with the word that was written last to the same row, buffer and address, and with no other: banks, pairs of words and
// addresses do not mix. One place, any, is followed; what is written to all others is anything.
//
// `window*`: hw/window.v, both buffers, with one and two words a write. `residual*`: hw/residual.v, byte by byte. Memories have no state but their words: a write, another
// write and a read are enough, so that the first cycles tell all.
//@ files hw/window.v hw/residual.v hw/lib/ram_sdp.v
//@ case window1 abc:16 KIND=0 FETCH=1
//@ case window2 abc:16 KIND=0 FETCH=2
//@ case residual1 abc:16 KIND=1 FETCH=1
//@ case residual2 abc:16 KIND=1 FETCH=2
//@ mutant window1 hw/window.v s/waddr\(\{w_buf, at\}\)/waddr({r_buf, at})/
//@ mutant window2 hw/window.v s/\(w_pair \|\| at\[0\]\)/(w_pair || !at[0])/
//@ mutant window2 hw/window.v s/if \(re\) pick/pick/
//@ mutant residual1 hw/residual.v s/lane <= r_channel\[BB-1:0\]/lane <= ~r_channel[BB-1:0]/
//@ mutant residual2 hw/residual.v s/w_pair \|\| w_word\[0\] == b/w_pair || w_word[0] != b/
`default_nettype none
module proof #(
    parameter KIND  = 0,
    parameter FETCH = 1
) (
    input wire                clk,
    input wire [1:0]          w_en,
    input wire                we, w_buf, w_pair, re, r_buf, w_row, r_row,
    input wire [3:0]          w_addr,
    input wire [1:0]          r_addr, w_word,
    input wire [3:0]          r_channel,
    input wire [FETCH*32-1:0] w_data
);
    localparam WW = 2;
    (* anyconst *) reg buffer, row;
    (* anyconst *) reg [1:0] place;
    reg        known = 0;
    reg [31:0] last;
    // A pair has its first word at an even address (KIND 0: of either row).
    always @* assume (!w_pair || (FETCH == 2 && !w_addr[0] && !w_addr[2] && !w_word[0]));
    wire [1:0] at = KIND == 1 ? w_word : row ? w_addr[3:2] : w_addr[1:0];
    wire       to_row = KIND == 1 ? we && w_row == row : w_en[row];
    wire       first = to_row && w_buf == buffer && at == place, second = to_row && w_buf == buffer && w_pair && (at | 2'd1) == place;
    always @(posedge clk)
        if (first || second) begin
            known <= 1;
            last <= first ? w_data[31:0] : w_data[FETCH*32-1 -: 32];
        end
    generate if (KIND == 0) begin : g_window
        wire [63:0] q;
        window #(.ROWS(2), .LANES(4), .FETCH(FETCH), .WW(WW)) u_window (.clk(clk), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(w_pair), .w_data(w_data),
            .re(re), .r_buf(r_buf), .r_addr(r_addr), .q(q));
        reg        there = 0;
        reg [31:0] wanted;
        always @(posedge clk) begin
            // A word read in the cycle in which it is written is old or new; the output holds while nothing is read.
            if (re) begin
                there <= known && r_buf == buffer && r_addr == place && !first && !second;
                wanted <= last;
            end
            if (there) assert ((row ? q[63:32] : q[31:0]) == wanted);
        end
    end else begin : g_residual
        wire [7:0] q;
        residual #(.ROWS(2), .LANES(4), .FETCH(FETCH), .WORDS(4)) u_residual (.clk(clk), .we(we), .w_buf(w_buf), .w_row(w_row), .w_word(w_word), .w_pair(w_pair),
            .w_data(w_data), .r_buf(r_buf), .r_row(r_row), .r_channel(r_channel), .q(q));
        reg [1:0] there = 0;
        reg [7:0] wanted, wanted_q;
        always @(posedge clk) begin
            there <= {there[0], known && r_buf == buffer && r_row == row && r_channel[3:2] == place && !first && !second};
            wanted <= last[{r_channel[1:0], 3'd0} +: 8];
            wanted_q <= wanted;
            if (there[1]) assert (q == wanted_q);
        end
    end endgenerate
endmodule
`default_nettype wire
