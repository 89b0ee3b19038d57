// What the fetch unit writes into the window is docs/formats.md's window: word k of the window of position p is (ky, kx, cb) in that order, its address the sum of the steps of the
// descriptor, PAD where the pixel lies outside; each word of each valid row once, in order, into the buffer of the pass; nothing for rows beyond the last position; never more than two
// buffers begun and not released.
//
// The unit walks the columns of a run of positions once for all rows; the reading here counts each row by itself. Shapes are any up to the bounds below; what memory holds is its address.
// The search is bounded: from reset as many cycles as the cases say, in which a pass of the larger windows and several of single words end. No MAXPOOL, no residual words, no pieces.
//@ files hw/fetch.v hw/lib/delay.v
//@ case one abc:18 KH=2 KW=2 NCB=1
//@ case words abc:20 KH=1 KW=2 NCB=2
//@ case passes abc:22 KH=1 KW=1 NCB=1
//@ case pairs abc:20 FETCH=2 KH=1 KW=2 NCB=4
//@ case single abc:18 FETCH=2 KH=1 KW=2 NCB=1
//@ mutant words hw/fetch.v s/start_left <= f_sx; start_last <= one_sx;/start_left <= f_sx; start_last <= 1'b1;/
//@ mutant one hw/fetch.v s/fin_last && fin_ord == n_seg/fin_last/
//@ mutant one hw/fetch.v s/ix >= f_in_w \|\| iy >= f_in_h/ix > f_in_w || iy >= f_in_h/
//@ mutant one hw/fetch.v s/next_sweep <= next_sweep \+ f_ky_step/next_sweep <= next_sweep + f_line_step/
//@ mutant one hw/fetch.v s/ox_n <= rows_n;/ox_n < rows_n;/
//@ mutant one hw/fetch.v s/few \? m_left\[QB-1:0\] : ROWS_Q/ROWS_Q/
//@ mutant passes hw/fetch.v s/wire has_buffer = !held\[1\]/wire has_buffer = 1'b1/
//@ mutant pairs hw/fetch.v s/cb_left == \(pair_walk \? K_TWO << 1 : K_TWO\)/cb_left == K_TWO/
//@ mutant single hw/fetch.v s/wire pair_walk = FETCH == 2 \&\& !f_pool \&\& !f_ncb\[0\]/wire pair_walk = FETCH == 2 \&\& !f_pool/
`default_nettype none
module proof #(
    parameter FETCH = 1,
    parameter KH    = 2,
    parameter KW    = 2,
    parameter NCB   = 1
) (
    input wire clk, stall, released
);
`include "heddle_contract.vh"
    localparam ROWS = 2, LANES = 4, AW = 5, WW = 4;
    // ---- any shape
    localparam [1:0] kh = KH, kw = KW;
    localparam [2:0] ncb = NCB;
    (* anyconst *) reg [1:0] sx, sy, in_h, in_w, out_w;
    (* anyconst *) reg [2:0] positions;
    (* anyconst *) reg [1:0] iy0, ix0;          // less two
    (* anyconst *) reg [AW-1:0] in_start, col_step, ky_step, line_step, pos_any;
    (* anyconst *) reg [1:0] dx, dy;
    (* anyconst *) reg single;
    wire [AW-1:0] pos_step = single ? pos_any : sx == 1 ? col_step : col_step << 1;
    wire signed [5:0] iy_first = $signed({4'd0, iy0}) - 2, ix_first = $signed({4'd0, ix0}) - 2;
    reg [767:0] desc;
    always @* begin
        assume (sx != 0 && sx != 3 && sy != 0 && sy != 3);
        assume (in_h != 0 && in_w != 0 && out_w != 0 && positions != 0 && positions <= 5 && dx != 0 && dx != 3 && dy != 0 && dy != 3);
        assume (single || (dx == 1 && sx <= kw));       // as the compiler sets SINGLE
        desc = 0;
        desc[HD_F_OPCODE +: HD_W_OPCODE] = HD_OP_CONV;
        desc[HD_F_SINGLE] = single;
        desc[HD_F_IN_START +: AW] = in_start;
        desc[HD_F_IN_H +: 2] = in_h; desc[HD_F_IN_W +: 2] = in_w;
        desc[HD_F_IY0 +: 16] = {{10{iy_first[5]}}, iy_first}; desc[HD_F_IX0 +: 16] = {{10{ix_first[5]}}, ix_first};
        desc[HD_F_NCB +: 3] = ncb; desc[HD_F_PAD +: 8] = 8'h80;
        desc[HD_F_COL_STEP +: AW] = col_step; desc[HD_F_KY_STEP +: AW] = ky_step;
        desc[HD_F_POS_STEP +: AW] = pos_step; desc[HD_F_LINE_STEP +: AW] = line_step;
        desc[HD_F_DX +: 2] = dx; desc[HD_F_DY +: 2] = dy; desc[HD_F_SX +: 2] = sx; desc[HD_F_SY +: 2] = sy;
        desc[HD_F_KH +: 2] = kh; desc[HD_F_KW +: 2] = kw; desc[HD_F_OUT_W +: 2] = out_w; desc[HD_F_POSITIONS +: 3] = positions;
    end
    // Words load before the unit starts, as control does it.
    reg [5:0] age = 0;
    always @(posedge clk) if (age != 63) age <= age + 1;
    wire rst_n = age != 0, go = age == 4;
    localparam L0 = HD_F_IN_START / 32, L1 = HD_F_IY0 / 32, L2 = HD_F_POSITIONS / 32;
    wire [31:0] word = age == 1 ? desc[L0 * 32 +: 32] : age == 2 ? desc[L1 * 32 +: 32] : desc[L2 * 32 +: 32];
    wire [23:0] load = age == 1 ? 24'd1 << L0 : age == 2 ? 24'd1 << L1 : age == 3 ? 24'd1 << L2 : 24'd0;

    // ---- memory: its words are their addresses
    wire a_re, w_buf, w_pair, a_pad;
    wire [AW-1:0] a_addr;
    reg  [AW-1:0] at;
    always @(posedge clk) if (a_re) at <= a_addr;
    wire [AW-1:0] after = at + 1'b1;
    wire [FETCH*32-1:0] a_rdata = {{27'd0, after}, {27'd0, at}}, w_data;
    wire [ROWS-1:0] w_en;
    wire [ROWS*WW-1:0] w_addr;
    wire [WW:0] fill;
    wire [1:0] fills_done;
    fetch #(.ROWS(ROWS), .LANES(LANES), .FETCH(FETCH), .AW(AW), .WW(WW), .RESIDUAL(0), .POOL(0)) u_fetch (
        .clk(clk), .rst_n(rst_n), .go(go), .desc(desc), .word(word), .load(load), .stall(stall), .released(released),
        .a_re(a_re), .a_addr(a_addr), .a_piece(), .a_rdata(a_rdata), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(w_pair), .w_piece(), .w_data(w_data), .a_pad(a_pad),
        .fill(fill), .fills_done(fills_done), .res_base(), .res_we(), .res_w_row(), .res_word(), .p_valid(), .p_first(), .p_last(), .p_slice(), .p_over(),
        .cnt_word(), .cnt_pair(), .cnt_wait(), .cnt_stall());
    wire running = age > 4;

    // ---- buffers: filled, and released by the array in that order
    reg [1:0] waiting = 0, done_q = 0;      // filled and not released
    wire      filled = running && fills_done != done_q;
    always @* assume (!released || (running && waiting != 0));
    always @(posedge clk) begin
        if (running) done_q <= fills_done;
        waiting <= waiting + filled - released;
    end

    // ---- the positions of the pass: row 0's, and from it each next one's
    reg  [1:0]    ox = 0;
    reg  [AW-1:0] line = 0, base = 0;
    reg  signed [5:0] ix = 0, iy = 0;
    reg  [3:0]    left = 0;                 // positions from row 0's on
    wire [1:0]    ox_of [0:ROWS];
    wire [AW-1:0] line_of [0:ROWS], base_of [0:ROWS];
    wire signed [5:0] ix_of [0:ROWS], iy_of [0:ROWS];
    assign ox_of[0] = ox;
    assign line_of[0] = line;
    assign base_of[0] = base;
    assign ix_of[0] = ix;
    assign iy_of[0] = iy;
    genvar r;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_position
        wire over = ox_of[r] == out_w - 1;
        assign ox_of[r+1] = over ? 0 : ox_of[r] + 1;
        assign line_of[r+1] = over ? line_of[r] + line_step : line_of[r];
        assign base_of[r+1] = over ? line_of[r] + line_step : base_of[r] + pos_step;
        assign ix_of[r+1] = over ? ix_first : ix_of[r] + $signed({4'd0, sx});
        assign iy_of[r+1] = over ? iy_of[r] + $signed({4'd0, sy}) : iy_of[r];
    end endgenerate
    reg parity = 0;
    always @(posedge clk)
        if (go) begin
            ox <= 0; line <= in_start; base <= in_start; ix <= ix_first; iy <= iy_first; left <= positions; parity <= 0;
        end else if (filled) begin
            ox <= ox_of[ROWS]; line <= line_of[ROWS]; base <= base_of[ROWS]; ix <= ix_of[ROWS]; iy <= iy_of[ROWS];
            left <= left > ROWS ? left - ROWS : 0; parity <= !parity;
        end

    // ---- each row's words
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_row
        reg  [1:0]    ky = 0, kx = 0;
        reg  [2:0]    cb = 0;
        reg  [WW-1:0] k = 0;
        reg  [AW-1:0] sweep = 0, column = 0;    // steps up to ky, and up to kx
        reg  signed [5:0] x = 0, y = 0;
        wire          outside = $signed(ix_of[r] + x) < 0 || $signed(ix_of[r] + x) >= $signed({4'd0, in_w}) || $signed(iy_of[r] + y) < 0 || $signed(iy_of[r] + y) >= $signed({4'd0, in_h});
        wire [AW-1:0] address = base_of[r] + sweep + column + cb, address_1 = address + 1'b1;
        wire [1:0]    step = w_pair ? 2 : 1;
        always @(posedge clk)
            if (go || filled) begin
                ky <= 0; kx <= 0; cb <= 0; k <= 0; sweep <= 0; column <= 0; x <= 0; y <= 0;
            end else if (w_en[r]) begin
                k <= k + step;
                if (cb + step < ncb) cb <= cb + step;
                else begin
                    cb <= 0;
                    if (kx + 1 < kw) begin
                        kx <= kx + 1; column <= column + col_step; x <= x + $signed({4'd0, dx});
                    end else begin
                        kx <= 0; column <= 0; x <= 0; ky <= ky + 1; sweep <= sweep + ky_step; y <= y + $signed({4'd0, dy});
                    end
                end
            end
        always @* if (running) begin
            if (w_en[r]) begin
                assert (r < left && ky < kh && !filled);
                assert (w_addr[r*WW +: WW] == k && w_buf == parity);
                assert (w_data[31:0] == (outside ? 32'h80808080 : {27'd0, address}));
                if (FETCH == 2) assert (w_pair == !ncb[0] && (!w_pair || w_data[FETCH*32-1 -: 32] == (outside ? 32'h80808080 : {27'd0, address_1})));
            end
            // A filled buffer is whole.
            if (filled) assert (r < left ? ky == kh && kx == 0 && cb == 0 : k == 0);
        end
    end endgenerate
    // Nothing is filled behind the last position; a third buffer is not begun before one is released.
    always @* if (running) begin
        assert (!filled || left != 0);
        assert (waiting <= 2);
        assert (!(waiting == 2 && w_en != 0 && !filled));
    end
endmodule
`default_nettype wire
