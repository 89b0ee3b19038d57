// The words that post writes are formats.md's: channel after channel in words of LANES, FILL in lanes without a channel and behind COUT, row r of word w of pass p at
// OUT_START + p PASS_STEP + w + r OUT_STRIDE, ten cycles and r behind the word's last column; nothing for positions beyond the last, and the layer is done a cycle behind its last slot.
// The lane of a channel gets bias and scale of its place in the parameters, and the residual's byte of its place in the word that was taken last.
//
// Lanes and parameter memory are stand-ins: a lane answers any byte, which the reading here notes, a memory its address. Columns come as tiles do, with gaps of any length, words ROWS
// columns apart. Searched for as many cycles from reset as the cases say: some passes of small layers. What a lane does is post_lane.v's proof.
//@ files hw/post.v hw/lib/delay.v hw/lib/copy.v
//@ case words abc:46 NCH=6 CPC=1 TILE=3 TABLES=0
//@ case merged abc:46 NCH=5 CPC=2 TILE=4 TABLES=0
//@ case table abc:46 NCH=3 CPC=1 TILE=2 TABLES=1
//@ mutant words hw/post.v s/else if \(k_last\) ch <= ch/else if (column) ch <= k_last ? 16'd0 : ch/
//@ mutant words hw/post.v s/ch \+ 16'd1 == f_nch/ch == f_nch/
//@ mutant words hw/post.v s/wire beyond = ch >= f_cout/wire beyond = ch > f_cout/
//@ mutant merged hw/post.v s/here_9\[l\] \? value : zero_9\[r\] \? f_fill : q/here_9[l] ? value : q/
//@ mutant words hw/post.v s/lane_8 == n\[LB-1:0\] \|\| lane_8 == \{LB\{1'b0\}\}\)/lane_8 == n[LB-1:0])/
//@ mutant words hw/post.v s/m_left >= ROWS24 \? ROWS\[4:0\] : m_left\[4:0\]/ROWS[4:0]/
//@ mutant words hw/post.v s/pass_end_9 && m_left <= ROWS24/pass_end_9 \&\& m_left < ROWS24/
//@ mutant words hw/post.v s/cb <= pass_end_9 \? \{AW\{1'b0\}\} : cb/cb <= 0 ? {AW{1'b0}} : cb/
//@ mutant words hw/post.v s/addr <= addr \+ out_stride/addr <= addr + 1'b1 + 0 * out_stride/
//@ mutant words hw/post.v s/pick\[b\*8 \+: 8\] <= res_hold\[\(b\*LANES/pick[b*8 +: 8] <= res_hold[(0*LANES/
//@ mutant merged hw/post.v s/channel = column && k_last/channel = column \&\& k_first/
//@ mutant merged hw/post.v s/f_param \+ ch;/f_param | ch;/
//@ mutant table hw/post.v s/plain\[1:0\] == 2'd1 \? four\[15:8\]/plain[1:0] == 2'd1 ? four[7:0]/
`default_nettype none
module proof #(
    parameter NCH    = 6,
    parameter CPC    = 1,
    parameter TILE   = 3,
    parameter TABLES = 0
) (
    input wire clk, offer, r_next,
    input wire [63:0] r_word
);
`include "heddle_contract.vh"
    localparam ROWS = 2, LANES = 4, AW = 5, PW = 4, WORDS = (NCH + LANES - 1) / LANES, COLUMNS = NCH * CPC, TILES = (COLUMNS + TILE - 1) / TILE, LAST = COLUMNS - (TILES - 1) * TILE;
    // ---- any layer of this many channels
    (* anyconst *) reg [AW-1:0] out_start, pass_step, out_stride;
    (* anyconst *) reg [2:0] positions, cout;
    (* anyconst *) reg [3:0] param_first;
    (* anyconst *) reg [7:0] fill;
    (* anyconst *) reg table_on;
    reg [767:0] desc;
    always @* begin
        assume (positions != 0 && positions <= 5 && cout <= NCH && (TABLES != 0 || !table_on));
        desc = 0;
        desc[HD_F_OUT_START +: AW] = out_start; desc[HD_F_PASS_STEP +: AW] = pass_step; desc[HD_F_OUT_STRIDE +: AW] = out_stride;
        desc[HD_F_POSITIONS +: 3] = positions; desc[HD_F_COUT +: 3] = cout; desc[HD_F_NCH +: 3] = NCH; desc[HD_F_CPC +: 2] = CPC;
        desc[HD_F_TILE_COLS +: 3] = TILE; desc[HD_F_LAST_COLS +: 3] = LAST; desc[HD_F_PARAM_FIRST +: 4] = param_first; desc[HD_F_FILL +: 8] = fill;
        desc[HD_F_RESIDUAL] = 1; desc[HD_F_TABLE] = table_on;
    end
    reg [5:0] age = 0;
    always @(posedge clk) if (age != 63) age <= age + 1;
    wire rst_n = age > 10, go = age == 11; // flags on their way go while there is reset
    wire running = age > 11;

    // ---- columns: a tile begins when it is offered, a word ends ROWS columns or more behind the one before
    reg [3:0] j = 0;                // column of the pass
    reg [2:0] tile_left = 0;        // of a tile that began
    reg [1:0] since = 2;            // cycles since a word ended, up to ROWS
    reg [2:0] pass = 0;
    reg       over = 0;             // all positions have come
    wire      begins = running && offer && tile_left == 0 && !over;
    wire      column = begins || tile_left != 0, final_tile = j >= (TILES - 1) * TILE;
    wire      channel_over = column && j % CPC == CPC - 1;
    wire [3:0] channel = j / CPC;
    wire      word_over = channel_over && (channel % LANES == LANES - 1 || channel == NCH - 1), pass_over = column && j == COLUMNS - 1;
    always @* if (word_over) assume (since == ROWS);
    always @(posedge clk) if (running) begin
        tile_left <= begins ? (final_tile ? LAST : TILE) - 1 : tile_left - (tile_left != 0);
        if (column) j <= pass_over ? 0 : j + 1;
        since <= word_over ? 1 : since == ROWS ? ROWS : since + 1;
        if (pass_over) begin
            pass <= pass + 1; over <= (pass + 1) * ROWS >= positions;
        end
    end

    wire st_we, layer_done;
    wire [AW-1:0] st_addr;
    wire [31:0] st_data;
    post #(.ROWS(ROWS), .LANES(LANES), .PLANES(1), .ACC_BITS(4), .PW(PW), .TABLES(TABLES), .AW(AW), .RESIDUAL(1)) u_post (
        .clk(clk), .rst_n(rst_n), .go(go), .desc(desc), .h_param_we(1'b0), .h_param_addr(5'd0), .h_table_we(1'b0), .h_table_addr(10'd0), .h_wdata(32'd0),
        .c_start(begins), .c_final(final_tile), .drain(8'd0), .row_sum(8'd0), .r_next(r_next), .r_word(r_word),
        .st_we(st_we), .st_addr(st_addr), .st_data(st_data), .layer_done(layer_done));

    // ---- each channel's way: what it is in cycle x, looked at n cycles later
    localparam N = 9;
    reg [N*4-1:0] was_channel;      // x + 1 is at the bottom
    reg [N-1:0]   was = 0, was_word = 0, was_pass = 0, was_over = 0;
    always @(posedge clk) begin
        was_channel <= {was_channel, channel};
        was <= {was, channel_over}; was_word <= {was_word, word_over}; was_pass <= {was_pass, pass_over};
        was_over <= {was_over, pass_over && (pass + 1) * ROWS >= positions};
    end
    // Words of residuals count from the cycle behind the one in which they are taken.
    reg [63:0] taken, taken_q;
    always @(posedge clk) begin
        if (r_next_q) taken <= r_word;
        taken_q <= taken;
    end
    reg r_next_q;
    always @(posedge clk) r_next_q <= r_next;

    (* hierconn *) wire [31:0] \u_post.g_lane[1].u_lane.bias ;
    (* hierconn *) wire [15:0] \u_post.g_lane[1].u_lane.mult ;
    (* hierconn *) wire [7:0] \u_post.g_lane[1].u_lane.residual ;
    (* hierconn *) wire [15:0] \u_post.g_lane[1].u_lane.any ;
    (* hierconn *) wire [15:0] \u_post.g_lane[0].u_lane.any ;
    wire [15:0] lane_0 = \u_post.g_lane[0].u_lane.any , lane_1 = \u_post.g_lane[1].u_lane.any ;
    wire [3:0] c_2 = was_channel[1*4 +: 4], c_3 = was_channel[2*4 +: 4], c_4 = was_channel[3*4 +: 4], c_8 = was_channel[7*4 +: 4];
    wire [3:0] place_2 = param_first + c_2, place_3 = param_first + c_3;
    always @* if (running) begin
        if (was[1]) assert (\u_post.g_lane[1].u_lane.bias == place_2);
        if (was[2]) assert (\u_post.g_lane[1].u_lane.mult == place_3);
        if (was[3]) assert (\u_post.g_lane[1].u_lane.residual == taken_q[(4 + c_4[1:0]) * 8 +: 8]);
    end

    // ---- the word of each row: bytes as the lanes gave them, noted in x + 8
    function [7:0] looked_up(input [7:0] code);     // of a table whose words say their address, byte by byte
        looked_up = {code[7:2] ^ {4'd0, code[1:0]}, code[1:0]};
    endfunction
    wire [7:0] byte_0 = c_8 >= cout ? fill : table_on ? looked_up(lane_0[7:0]) : lane_0[7:0], byte_1 = c_8 >= cout ? fill : table_on ? looked_up(lane_1[7:0]) : lane_1[7:0];
    reg [31:0] word_0, word_1;
    wire [31:0] base_0 = c_8[1:0] == 0 ? {4{fill}} : word_0, base_1 = c_8[1:0] == 0 ? {4{fill}} : word_1;
    wire [31:0] mask = 32'hff << (8 * c_8[1:0]), full_0 = (base_0 & ~mask) | ({4{byte_0}} & mask), full_1 = (base_1 & ~mask) | ({4{byte_1}} & mask);
    reg  [31:0] whole_0, whole_1, held_1;
    reg  [3:0]  ends = 0;            // a word's last channel was looked at one and more cycles ago
    reg  [3:0]  ends_over = 0;
    reg  [2:0]  w_pass = 0, s_pass, s_pass_1;
    reg  [1:0]  w_word = 0, s_word, s_word_1;
    always @(posedge clk) begin
        if (was[7]) begin
            word_0 <= full_0; word_1 <= full_1;
        end
        if (was_word[7]) begin
            whole_0 <= full_0; whole_1 <= full_1; s_pass <= w_pass; s_word <= w_word;
            w_word <= was_pass[7] ? 0 : w_word + 1; w_pass <= w_pass + was_pass[7];
        end
        held_1 <= whole_1; s_pass_1 <= s_pass; s_word_1 <= s_word;
        ends <= {ends, was_word[7]}; ends_over <= {ends_over, was_over[7]};
    end
    // ends[0] is x + 9; a word is stored from x + 10 on, and its reading moves along with it.
    reg [31:0] store_0, store_1;
    reg [2:0]  p_0, p_1;
    reg [1:0]  v_0, v_1;
    always @(posedge clk) begin
        store_0 <= whole_0; p_0 <= s_pass; v_0 <= s_word;
        if (ends[0]) store_1 <= whole_1;
        p_1 <= p_0; v_1 <= v_0;
    end
    wire [AW-1:0] at_0 = out_start + p_0 * pass_step + v_0, at_1 = out_start + p_1 * pass_step + v_1 + out_stride;
    always @* if (running) begin
        assert (st_we == ((ends[1] && p_0 * ROWS < positions) || (ends[2] && p_1 * ROWS + 1 < positions)));
        if (st_we && ends[1]) assert (st_addr == at_0 && st_data == store_0);
        if (st_we && !ends[1]) assert (st_addr == at_1 && st_data == store_1);
        assert (layer_done == ends_over[3]);
    end
endmodule

// Answers any byte, y_next a cycle before y.
module post_lane #(
    parameter PLANES = 1, ACC_BITS = 4, RESIDUAL = 1
) (
    input  wire                clk,
    input  wire [ACC_BITS-1:0] acc, row_sum,
    input  wire                first, column, even, add_residual,
    input  wire [31:0]         bias, res_add,
    input  wire [15:0]         mult, res_mult,
    input  wire [5:0]          shift,
    input  wire [4:0]          res_shift,
    input  wire [7:0]          residual, zero, lo, hi,
    output wire [7:0]          y, y_next
);
    (* anyseq *) wire [15:0] any;
    reg [7:0] before;
    always @(posedge clk) before <= any[15:8];
    always @* assume (any[7:0] == before);
    assign y = any[7:0];
    assign y_next = any[15:8];
endmodule

`include "place_memory.vh"
`default_nettype wire
