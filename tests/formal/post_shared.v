// The bytes that the shared post writes are formats.md's: channel after channel, row after row, POST + 11 cycles behind the slot's last one (SUMS 0: + 10), at OUT_START + the words of the passes
// before + the channel's word + r OUT_STRIDE; a word's first byte brings FILL for the other lanes, channels behind COUT are FILL, nothing is written for positions beyond the last, and the layer
// is done with its last byte. The lane is given the row's columns merged, less its sum if EVEN, and bias, scale and residual's byte of the channel.
//
// Lane, parameters and residual memory are stand-ins: a lane answers any byte, the memories their address. Columns come as tiles do, with gaps of any length. Searched for as many cycles
// from reset as the cases say. What a lane does is post_shared_lane.v's proof.
//@ files hw/post_shared.v hw/lib/delay.v hw/lib/merge_ring.v
//@ case each abc:50 POST=1 SUMS=1 NCH=5 CPC=1 TILE=3
//@ case merged abc:48 POST=1 SUMS=0 NCH=3 CPC=2 TILE=4
//@ case slow abc:56 POST=2 SUMS=1 NCH=3 CPC=2 TILE=4
//@ mutant each hw/post_shared.v s/else if \(column_end\) left <= left - 1'b1/else if (tick) left <= left - 1'b1/
//@ mutant each hw/post_shared.v s/^( +)param_at <= f_param; channel/\1param_at <= param_at; channel/
//@ mutant each hw/post_shared.v s/z_sum <= f_even \? merged - sum32 : merged/z_sum <= f_even ? merged + sum32 : merged/
//@ mutant each hw/post_shared.v s/POST < 4 \? row_1 : row\}/row}/
//@ mutant each hw/post_shared.v s/else if \(done_valid\) real_row <= rows_end \|\| /else if (done_valid) real_row <= /
//@ mutant each hw/post_shared.v s/m_left <= m_left - ROWS24\[AW:0\]; //
//@ mutant each hw/post_shared.v s/^( +)addr <= word_end \? next_word : word_addr/\1addr <= word_end ? next_word : addr/
//@ mutant each hw/post_shared.v s/\{1'b0, s_left\} <= \{/{1'b0, s_left} < {/
//@ mutant each hw/post_shared.v s/s_lane == l \|\| st_word/s_lane == l/
//@ mutant each hw/post_shared.v s/SUMS != 0 \? over : pass_end_now\)/pass_end_now)/
//@ mutant merged hw/post_shared.v s/wire k_first = k == \{KB\{1'b0\}\}/wire k_first = k != {KB{1'b0}}/
//@ mutant slow hw/post_shared.v s/row == \{RB\{1'b0\}\}; head_2 <= head_1/row != {RB{1'b0}}; head_2 <= head_1/
`default_nettype none
module proof #(
    parameter POST = 1,
    parameter SUMS = 1,
    parameter NCH  = 5,
    parameter CPC  = 1,
    parameter TILE = 3
) (
    input wire clk, offer,
    input wire [3:0] drain,
    input wire [7:0] new_sum
);
`include "heddle_contract.vh"
    localparam ROWS = 2, LANES = 4, AW = 5, PW = 4, COLUMNS = NCH * CPC, TILES = (COLUMNS + TILE - 1) / TILE, LAST = COLUMNS - (TILES - 1) * TILE;
    // ---- any layer of this many channels
    (* anyconst *) reg [AW-1:0] out_start, out_stride;
    (* anyconst *) reg [2:0] positions, cout;
    (* anyconst *) reg [3:0] param_first;
    (* anyconst *) reg [7:0] fill;
    (* anyconst *) reg even;
    reg [767:0] desc;
    always @* begin
        assume (positions != 0 && positions <= 5 && cout != 0 && cout <= NCH && cout + 3'd4 > NCH && (SUMS != 0 || !even));
        desc = 0;
        desc[HD_F_OUT_START +: AW] = out_start; desc[HD_F_OUT_STRIDE +: AW] = out_stride; desc[HD_F_EVEN] = even;
        desc[HD_F_POSITIONS +: 3] = positions; desc[HD_F_COUT +: 3] = cout; desc[HD_F_NCH +: 3] = NCH; desc[HD_F_CPC +: 2] = CPC;
        desc[HD_F_TILE_COLS +: 3] = TILE; desc[HD_F_LAST_COLS +: 3] = LAST; desc[HD_F_PARAM_FIRST +: 4] = param_first; desc[HD_F_FILL +: 8] = fill;
        desc[HD_F_RESIDUAL] = 1;
    end
    // Words load before the unit starts, as control does it, while there is no reset any more.
    reg [5:0] age = 0;
    always @(posedge clk) if (age != 63) age <= age + 1;
    localparam GO = 13 + POST;
    wire rst_n = age > GO - 4, go = age == GO, running = age > GO;
    localparam L1 = HD_F_OUT_START / 32, L2 = HD_F_POSITIONS / 32;
    wire [31:0] word = age == GO - 2 ? desc[L1 * 32 +: 32] : desc[L2 * 32 +: 32];
    wire [23:0] load = age == GO - 2 ? 24'd1 << L1 : age == GO - 1 ? 24'd1 << L2 : 24'd0;

    // ---- columns: each stays for ROWS slots of POST cycles, a row's value in the last of its slot; a tile begins behind the one before
    reg [3:0] j = 0;                // column of the pass
    reg [2:0] tile_left = 0;        // columns of the tile that are there or come
    reg [2:0] slot_at = 0;          // cycle of the column
    reg [2:0] pass = 0;
    reg       over = 0;
    wire      column_over = tile_left != 0 && slot_at == ROWS * POST - 1;
    wire      begins = running && offer && !over && (tile_left == 0 || (tile_left == 1 && column_over && !(j == COLUMNS - 1 && (pass + 1) * ROWS >= positions)));
    wire [3:0] j_next = column_over ? (j == COLUMNS - 1 ? 0 : j + 1) : j;
    wire      final_tile = j_next >= (TILES - 1) * TILE;
    wire      sample = tile_left != 0 && slot_at % POST == POST - 1;
    wire      row = slot_at / POST;
    wire [3:0] channel = j / CPC;
    wire      value = sample && j % CPC == CPC - 1;
    always @(posedge clk) if (running) begin
        if (begins) tile_left <= final_tile ? LAST : TILE;
        else if (column_over) tile_left <= tile_left - 1;
        slot_at <= tile_left == 0 || column_over ? 0 : slot_at + 1;
        j <= j_next;
        if (column_over && j == COLUMNS - 1) begin
            pass <= pass + 1; over <= (pass + 1) * ROWS >= positions;
        end
    end
    // A tile's sums are there from the cycle behind its first column's first one to the one behind its last column.
    reg [7:0] row_sum;
    reg       tile_new = 0;
    always @(posedge clk) begin
        tile_new <= begins;
        if (tile_new) row_sum <= new_sum;
    end

    wire st_we, st_word, layer_done, pass_over;
    wire [AW-1:0] st_addr;
    wire [LANES-1:0] st_lanes;
    wire [31:0] st_data;
    wire [1:0] st_lane;
    wire [7:0] st_value;
    post_shared #(.POST(POST), .ROWS(ROWS), .COLS(4), .LANES(LANES), .PLANES(1), .ACC_BITS(4), .PW(PW), .TABLES(0), .AW(AW), .RESIDUAL(1), .FETCH(1), .RN(2), .SUMS(SUMS)) u_post (
        .clk(clk), .rst_n(rst_n), .go(go), .desc(desc), .word(word), .load(load), .h_param_we(1'b0), .h_param_addr(5'd0), .h_table_we(1'b0), .h_table_addr(10'd0), .h_wdata(32'd0),
        .c_next(begins), .c_final(final_tile), .drain(drain), .row_sum(row_sum),
        .res_we(1'b0), .res_buf(1'b0), .res_w_row(1'b0), .res_word(1'b0), .res_pair(1'b0), .res_piece(1'b0), .res_data(32'd0), .pass_over(pass_over),
        .st_we(st_we), .st_word(st_word), .st_addr(st_addr), .st_lanes(st_lanes), .st_data(st_data), .st_lane(st_lane), .st_value(st_value), .layer_done(layer_done));

    // ---- what the lane is given: a row's columns merged, in x + 3 (SUMS 0: x + 2)
    localparam EARLY = SUMS != 0 ? 0 : 1, D = POST + 11 - EARLY;
    reg signed [31:0] before [0:1];
    wire signed [31:0] now = $signed(drain), merged = CPC == 2 && j % 2 == 1 ? 2 * before[row] + now : now;
    reg signed [31:0] m_1, z_2, z_3;
    wire signed [31:0] sum_1 = w_row[0] ? $signed(row_sum[7:4]) : $signed(row_sum[3:0]);
    // Place 0 is x + 1.
    reg [D:0]     w_value = 0, w_row, w_last = 0, w_over = 0, w_parity;
    reg [4*(D+1)-1:0] w_channel;
    reg [3*(D+1)-1:0] w_pass;
    wire pass_ends = column_over && j == COLUMNS - 1;
    always @(posedge clk) begin
        if (sample) before[row] <= now;
        m_1 <= merged; z_2 <= m_1 - (even ? sum_1 : 0); z_3 <= z_2;
        w_value <= {w_value, running && value}; w_row <= {w_row, row}; w_channel <= {w_channel, channel}; w_pass <= {w_pass, pass}; w_parity <= {w_parity, pass[0]};
        w_over <= {w_over, running && pass_ends}; w_last <= {w_last, running && pass_ends && (pass + 1) * ROWS >= positions};
    end
    localparam T = 2 - EARLY;       // place of the lane's cycle
    (* hierconn *) wire \u_post.u_lane.take ;
    (* hierconn *) wire signed [31:0] \u_post.u_lane.z ;
    (* hierconn *) wire [31:0] \u_post.u_lane.bias ;
    (* hierconn *) wire [15:0] \u_post.u_lane.mult ;
    (* hierconn *) wire [7:0] \u_post.u_lane.residual ;
    (* hierconn *) wire [7:0] \u_post.u_lane.y ;
    wire [3:0] c_t = w_channel[4*T +: 4], place = param_first + c_t;
    always @* if (running) begin
        assert (\u_post.u_lane.take == w_value[T]);
        if (w_value[T]) begin
            assert (\u_post.u_lane.z == (EARLY ? z_2 : z_3));
            assert (\u_post.u_lane.bias == place && \u_post.u_lane.mult == place);
            assert (\u_post.u_lane.residual == {3'd0, w_parity[T], w_row[T], c_t[2:0]});
        end
        assert (pass_over == w_over[0]);
    end

    // ---- what is written: place D - 1 is the cycle of the byte, in the one before the lane gave it
    reg  [7:0]  y;
    always @(posedge clk) y <= \u_post.u_lane.y ;
    wire [3:0]  c_s = w_channel[4*(D-1) +: 4];
    wire [2:0]  p_s = w_pass[3*(D-1) +: 3];
    wire        r_s = w_row[D-1];
    wire [7:0]  stored = c_s >= cout ? fill : y;
    wire [AW-1:0] at = out_start + (p_s * ROWS + r_s) * out_stride + c_s / LANES;
    integer l;
    always @* if (running) begin
        assert (st_we == (w_value[D-1] && p_s * ROWS + r_s < positions));
        if (st_we) begin
            assert (st_addr == at && st_word == (c_s % LANES == 0) && st_lane == c_s % LANES && st_value == stored);
            for (l = 0; l < LANES; l = l + 1) begin
                assert (st_lanes[l] == (st_word || l == c_s % LANES));
                if (st_lanes[l]) assert (st_data[l*8 +: 8] == (l == c_s % LANES ? stored : fill));
            end
        end
        assert (layer_done == w_last[D]);
    end
endmodule

// Answers any byte, POST + 7 cycles later.
module post_shared_lane #(
    parameter POST = 1, RESIDUAL = 1
) (
    input  wire               clk, rst_n, take, add_residual, load_mult, load_add,
    input  wire signed [31:0] z,
    input  wire        [31:0] bias, res_add,
    input  wire        [15:0] mult, res_mult,
    input  wire        [5:0]  shift,
    input  wire        [4:0]  res_shift,
    input  wire        [7:0]  residual, zero, lo, hi,
    output wire               valid,
    output wire        [7:0]  y
);
    (* anyseq *) wire [7:0] any;
    assign y = any;
    delay #(.WIDTH(1), .N(POST + 7)) u_valid (.clk(clk), .x(take && rst_n), .y(valid));
endmodule

// Answers buffer, row and channel, two cycles later.
module residual #(
    parameter ROWS = 2, LANES = 4, FETCH = 1, WORDS = 2, SLOT = 1
) (
    input  wire        clk, we, w_buf, w_row, w_word, w_pair, w_piece, r_buf, r_row,
    input  wire [31:0] w_data,
    input  wire [2:0]  r_channel,
    output reg  [7:0]  q
);
    reg [7:0] first;
    always @(posedge clk) begin
        first <= {3'd0, r_buf, r_row, r_channel}; q <= first;
    end
endmodule

`include "place_memory.vh"
`default_nettype wire
