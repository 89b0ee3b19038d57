// The residual words of two passes, for the shared post lane (POST above 0): written by fetch, read a byte at a time by post. Lanes are read one
// after the other, so that no word is ever held in registers.
//
// Latency: `q` two cycles after row, channel and buffer. Stall rule: none.
// Parameters: ROWS; LANES bytes of a word; FETCH words of a write, 1 or 2; SLOT above 1: a write is a piece of 16 bits; WORDS a row, a power of two.
`default_nettype none
module residual #(
    parameter ROWS  = 4,
    parameter LANES = 8,
    parameter FETCH = 1,
    parameter WORDS = 4,
    parameter RB    = ROWS < 2 ? 1 : $clog2(ROWS),
    parameter NB    = WORDS < 2 ? 1 : $clog2(WORDS),
    parameter LB    = $clog2(LANES),
    parameter SLOT  = 1,
    parameter SB    = SLOT < 2 ? 1 : $clog2(SLOT),
    parameter DATA  = SLOT > 1 ? 16 : FETCH * LANES * 8
) (
    input  wire                     clk,
    input  wire                     we,
    input  wire                     w_buf,
    input  wire [RB-1:0]            w_row,
    input  wire [NB-1:0]            w_word,
    input  wire                     w_pair,      // two words, the first at an even address
    input  wire [SB-1:0]            w_piece,
    input  wire [DATA-1:0]          w_data,
    input  wire                     r_buf,
    input  wire [RB-1:0]            r_row,
    input  wire [NB+LB-1:0]         r_channel,
    output reg  [7:0]               q
);
    // With two words a write there is a bank for even and one for odd words.
    localparam FB = FETCH == 2 ? 1 : 0, DEPTH_BITS = 1 + RB + NB - FB, BB = LB + FB;
    // verilator lint_off UNUSEDSIGNAL
    // With two banks the lowest bit chooses the bank.
    wire [1+RB+NB-1:0] w_at = {w_buf, w_row, w_word}, r_at = {r_buf, r_row, r_channel[LB +: NB]};
    // verilator lint_on UNUSEDSIGNAL
    genvar b;
    generate if (SLOT > 1) begin : g_pieces
        wire [15:0] piece;
        reg  high;
        ram_sdp #(.WIDTH(16), .DEPTH(1 << (1 + RB + NB + SB))) u_ram (
            .clk(clk), .we(we), .waddr({w_at, w_piece}), .wdata(w_data), .re(1'b1), .raddr({r_at, r_channel[LB-1:1]}), .rdata(piece));
        always @(posedge clk) begin
            high <= r_channel[0];
            q <= high ? piece[15:8] : piece[7:0];
        end
        wire unused = w_pair;
    end else begin : g_words
        wire [FETCH*LANES*8-1:0] words;
        reg  [BB-1:0] lane;
        wire unused_piece = &{1'b0, w_piece};
        for (b = 0; b < FETCH; b = b + 1) begin : g_bank
            wire here;
            wire [LANES*8-1:0] data;
            if (FETCH == 2) begin : g_two
                assign here = w_pair || w_word[0] == b;
                assign data = w_pair && b == 1 ? w_data[FETCH*LANES*8-1 -: LANES*8] : w_data[0 +: LANES*8];
            end else begin : g_one
                wire unused = w_pair;
                assign here = 1'b1;
                assign data = w_data;
            end
            ram_sdp #(.WIDTH(LANES * 8), .DEPTH(1 << DEPTH_BITS)) u_ram (
                .clk(clk), .we(we && here), .waddr(w_at[1+RB+NB-1:FB]), .wdata(data), .re(1'b1), .raddr(r_at[1+RB+NB-1:FB]), .rdata(words[b*LANES*8 +: LANES*8]));
        end
        always @(posedge clk) begin
            lane <= r_channel[BB-1:0];
            q <= words[{lane, 3'd0} +: 8];
        end
    end endgenerate
endmodule
`default_nettype wire
