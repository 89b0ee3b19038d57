// The array's two views, hw/datapath.v and hw/datapath_fast.v, give the same words, sums and columns in the same cycles, for ever: an induction.
//
// The harness keeps what was issued in the last cycles and says what every register of both views is in those terms. Six parts, each proven
// with those before it taken as true: 1 memories and bookkeeping, 2 the fast view's accumulators (a step adds what docs/formats.md says),
// 3 the structural pipeline, register by register, 4 earlier accumulators,
// 5 accumulators equal, so many cycles apart, 6 tiles on their way to the drain, and the outputs.
// One row, two columns, four lanes, window and weight memory of two words a buffer; weights, activations, addresses and pauses are any that the
// sequencer's rules allow. Part 2 alone takes activations of DATA bits (a solver does not end at eight): products are `*` there, and
// pe.v proves the element's sum of products for all. Larger geometries are the differential tests' matter.
//@ read -defer -mem2reg
//@ prepare wreduce; opt -full;
//@ smtbmc --unroll
//@ files hw/datapath.v hw/datapath_fast.v hw/pe.v hw/window.v hw/lib/delay.v hw/lib/add_tree.v hw/lib/ram_sdp.v hw/lib/ram_weight.v
//@ case memories induct:2 PART=1
//@ case accumulators induct:2 PART=2 DATA=2
//@ case pipeline induct:2 PART=3
//@ case past induct:2 PART=4
//@ case equal induct:4 PART=5
//@ case outputs induct:2 PART=6
//@ mutant memories hw/datapath_fast.v s/value_bits\[0\] \? -s : s/value_bits[0] ? s : -s/
//@ mutant accumulators hw/datapath_fast.v s/ - s \* BIAS//
//@ mutant pipeline hw/datapath.v s/s <= a0 \+ a1;/s <= a0 - a1;/
//@ mutant pipeline hw/datapath.v s/\.N\(3 \+ LOG \+ COMB \+ g\)\) u_first/.N(2 + LOG + COMB + g)) u_first/
//@ mutant equal hw/pe.v s/first \? wide : acc \+ wide/first ? acc : wide/
//@ mutant outputs hw/datapath_fast.v s/in_slot = \(in_slot \+ 1\)/in_slot = (in_slot + 2)/
`define CHECK(part, truth) begin if (PART == part) assert (truth); if (PART > part) assume (truth); end
`default_nettype none
module proof #(
    parameter PLANES = 1,
    parameter PART   = 1,
    parameter DATA   = 8,       // bits of the activations in PART 2
    parameter ACC    = 12
) (
    input wire        clk,
    input wire        w_en, w_buf, w_addr,      // window and weight writes
    input wire [31:0] w_data,
    input wire        h_we, h_addr,
    input wire [31:0] h_wdata,
    input wire        r_buf, r_addr, s_valid, s_first, s_last, s_pc, r_read
);
    localparam ROWS = 1, COLS = 2, LANES = 4, LOG = 1, COMB = PLANES == 1 ? 0 : 1, LATA = 6 + LOG + COMB, LP = LANES * PLANES, LATE = 4 + LOG + COMB, SLOTS = 8;
    wire [31:0] word_a, word_b;
    wire [ACC-1:0] drain_a, drain_b, sum_a, sum_b;
    datapath #(.ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(COLS), .ACC_BITS(ACC), .WW(1), .SW(1), .CHUNK(0)) a (
        .clk(clk), .w_clk(clk), .w_piece(1'b0), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(1'b0), .w_data(w_data),
        .h_clk(clk), .h_we(h_we), .h_addr(h_addr), .h_wdata(h_wdata), .x_we(1'b0), .x_addr(1'b0), .x_wdata(32'd0),
        .re(s_valid || r_read), .r_buf(r_buf), .r_addr(r_addr), .s_valid(s_valid), .s_first(s_first), .s_last(s_last), .s_pc(s_pc),
        .word(word_a), .drain(drain_a), .row_sum(sum_a));
    datapath_fast #(.ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(COLS), .LATA(LATA), .ACC_BITS(ACC), .WW(1), .SW(1), .CHUNK(0), .SLOTS(SLOTS), .ARITH(ACC)) b (
        .clk(clk), .w_piece(1'b0), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(1'b0), .w_data(w_data),
        .h_we(h_we), .h_addr(h_addr), .h_wdata(h_wdata), .x_we(1'b0), .x_addr(1'b0), .x_wdata(32'd0),
        .re(s_valid || r_read), .r_buf(r_buf), .r_addr(r_addr), .s_valid(s_valid), .s_first(s_first), .s_last(s_last), .s_pc(s_pc),
        .word(word_b), .drain(drain_b), .row_sum(sum_b));

    // ---- registers of the fast view
    (* hierconn *) wire [7:0] \b.win[0] , \b.win[1] , \b.win[2] , \b.win[3] , \b.win[4] , \b.win[5] , \b.win[6] , \b.win[7] , \b.win[8] , \b.win[9] , \b.win[10] , \b.win[11] , \b.win[12] , \b.win[13] , \b.win[14] , \b.win[15] ;
    wire [16*8-1:0] win = {\b.win[15] , \b.win[14] , \b.win[13] , \b.win[12] , \b.win[11] , \b.win[10] , \b.win[9] , \b.win[8] , \b.win[7] , \b.win[6] , \b.win[5] , \b.win[4] , \b.win[3] , \b.win[2] , \b.win[1] , \b.win[0] };
    (* hierconn *) wire [31:0] \b.raw[0] , \b.raw[1] ;
    wire [2*32-1:0] raw = {\b.raw[1] , \b.raw[0] };
    (* hierconn *) wire [15:0] \b.wt[0] , \b.wt[1] , \b.wt[2] , \b.wt[3] , \b.wt[4] , \b.wt[5] , \b.wt[6] , \b.wt[7] , \b.wt[8] , \b.wt[9] , \b.wt[10] , \b.wt[11] , \b.wt[12] , \b.wt[13] , \b.wt[14] , \b.wt[15] ;
    wire [16*16-1:0] wt = {\b.wt[15] , \b.wt[14] , \b.wt[13] , \b.wt[12] , \b.wt[11] , \b.wt[10] , \b.wt[9] , \b.wt[8] , \b.wt[7] , \b.wt[6] , \b.wt[5] , \b.wt[4] , \b.wt[3] , \b.wt[2] , \b.wt[1] , \b.wt[0] };
    (* hierconn *) wire [15:0] \b.ones[0] , \b.ones[1] , \b.ones[2] , \b.ones[3] ;
    wire [4*16-1:0] ones = {\b.ones[3] , \b.ones[2] , \b.ones[1] , \b.ones[0] };
    (* hierconn *) wire [ACC-1:0] \b.acc[0] , \b.acc[1] ;
    wire [2*ACC-1:0] acc = {\b.acc[1] , \b.acc[0] };
    (* hierconn *) wire [ACC-1:0] \b.snap[0] , \b.snap[1] , \b.snap[2] , \b.snap[3] , \b.snap[4] , \b.snap[5] , \b.snap[6] , \b.snap[7] , \b.snap[8] , \b.snap[9] , \b.snap[10] , \b.snap[11] , \b.snap[12] , \b.snap[13] , \b.snap[14] , \b.snap[15] ;
    wire [16*ACC-1:0] snap = {\b.snap[15] , \b.snap[14] , \b.snap[13] , \b.snap[12] , \b.snap[11] , \b.snap[10] , \b.snap[9] , \b.snap[8] , \b.snap[7] , \b.snap[6] , \b.snap[5] , \b.snap[4] , \b.snap[3] , \b.snap[2] , \b.snap[1] , \b.snap[0] };
    (* hierconn *) wire [ACC-1:0] \b.snap_sum[0] , \b.snap_sum[1] , \b.snap_sum[2] , \b.snap_sum[3] , \b.snap_sum[4] , \b.snap_sum[5] , \b.snap_sum[6] , \b.snap_sum[7] ;
    wire [8*ACC-1:0] snap_sum = {\b.snap_sum[7] , \b.snap_sum[6] , \b.snap_sum[5] , \b.snap_sum[4] , \b.snap_sum[3] , \b.snap_sum[2] , \b.snap_sum[1] , \b.snap_sum[0] };
    (* hierconn *) wire [ACC-1:0] \b.sum[0] ;
    (* hierconn, init = 32'd0 *) wire [31:0] \b.in_slot , \b.out_slot , \b.slot , \b.sum_slot ;
    (* hierconn, init = 32'd2 *) wire [31:0] \b.col ;
    (* hierconn, init = 0 *) wire [LATA-2:0] \b.due ;
    (* hierconn, init = 1'b0 *) wire \b.sum_due ;
    // ---- registers of the structural one, in the order a step passes them
    (* hierconn *) wire [31:0] \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[0] , \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[1] , \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[2] , \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[3] ;
    wire [4*32-1:0] window = {\a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[3] , \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[2] , \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[1] , \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.mem[0] };
    (* hierconn *) wire [31:0] \a.g_word[0].u_ram.mem[0] , \a.g_word[0].u_ram.mem[1] ;
    wire [2*32-1:0] weights = {\a.g_word[0].u_ram.mem[1] , \a.g_word[0].u_ram.mem[0] };
    (* hierconn *) wire [31:0] \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.rdata , \a.u_word.g_shift.q , \a.g_word[0].u_ram.rdata , \a.g_word[0].u_q.g_shift.q ;
    (* hierconn *) wire \a.g_word[0].u_ram.at ;
    (* hierconn *) wire [17:0] \a.s0 , \a.d0 ;
    (* hierconn *) wire [17:0] \a.g_col[0].g_row[0].g_enabled.u_pe.g_plane[0].leaf , \a.g_col[1].g_row[0].g_enabled.u_pe.g_plane[0].leaf , \a.g_col[0].g_row[0].g_enabled.u_pe.g_plane[1].leaf , \a.g_col[1].g_row[0].g_enabled.u_pe.g_plane[1].leaf ;
    (* hierconn *) wire [PLANES*10-1:0] \a.g_col[0].g_row[0].g_enabled.u_pe.plane , \a.g_col[1].g_row[0].g_enabled.u_pe.plane ;
    (* hierconn *) wire [9+2*COMB:0] \a.g_col[0].g_row[0].g_enabled.u_pe.sum , \a.g_col[1].g_row[0].g_enabled.u_pe.sum ;
    (* hierconn *) wire [ACC-1:0] \a.g_col[0].g_row[0].g_enabled.u_pe.acc , \a.g_col[1].g_row[0].g_enabled.u_pe.acc , \a.g_col[0].g_row[0].g_enabled.u_pe.drain , \a.g_edge[0].g_sum.acc , \a.g_edge[0].g_sum.held ;
    (* hierconn *) wire [9:0] \a.g_edge[0].g_sum.sum ;
    (* hierconn *) wire [(2+COMB)*10-1:0] \a.g_edge[0].g_sum.g_waiting.u_late.g_shift.q ;
    (* hierconn *) wire [3+LOG+COMB-1:0] \a.g_group[0].u_en.g_shift.q , \a.g_group[0].u_first.g_shift.q ;
    (* hierconn *) wire [4+LOG+COMB-1:0] \a.g_group[0].u_capture.g_shift.q ;
    (* hierconn *) wire [3:0] \a.g_group[0].g_shared.u_control.g_shift.q ;
    (* hierconn *) wire [5+LOG+COMB-1:0] \a.u_v_sum.g_shift.q , \a.u_f_sum.g_shift.q ;
    (* hierconn *) wire [6+LOG+COMB-1:0] \a.u_l_sum.g_shift.q ;

    // ---- what was issued: index 0 is the cycle before
    localparam N = LATA + COLS + 1;
    reg [N-1:0]   was = 0, was_first, was_last = 0;
    reg [N*32-1:0] was_word, was_weights;
    reg           was_pc;
    reg [N*COLS*ACC-1:0] acc_was;       // the fast view's accumulators a cycle ago and before
    reg [N*ACC-1:0] sum_was;
    reg [3:0]     written = 0;
    reg [1:0]     entered = 0;
    reg           open = 0, read = 0;
    reg [N-1:0]   begun = 0;            // a first tile has begun: accumulators have no reset
    wire [31:0]   word_now = window[{r_buf, r_addr}*32 +: 32], weights_now = weights[s_pc*32 +: 32];
    always @(posedge clk) begin
        was <= {was, s_valid};
        was_first <= {was_first, s_first};
        was_last <= {was_last, s_valid && s_last};
        was_word <= {was_word, word_now};
        was_weights <= {was_weights, weights_now};
        was_pc <= s_pc;
        acc_was <= {acc_was, acc};
        sum_was <= {sum_was, \b.sum[0] };
        if (w_en) written[{w_buf, w_addr}] <= 1'b1;
        if (h_we) entered[h_addr] <= 1'b1;
        if (s_valid) open <= !s_last;
        read <= r_read;
        begun <= {begun, begun[0] || s_valid};
    end

    integer j;
    // ---- the rules of who drives the array
    always @(posedge clk) begin
        if (PART == 2)
            for (j = 0; j < LANES; j = j + 1) assume ($signed(word_now[j*8 +: 8]) >= -(1 << (DATA-1)) && $signed(word_now[j*8 +: 8]) < (1 << (DATA-1)));
        assume (!(s_valid && r_read));
        assume (!s_valid || s_first == !open);
        assume (!s_valid || entered[s_pc]);
        assume (!(s_valid || r_read) || written[{r_buf, r_addr}]);
        assume (!(w_en && (s_valid || r_read) && w_buf == r_buf && w_addr == r_addr));
        assume (!h_we || !(s_valid || was[0]));                 // weights rest while steps read them
        assume (!(s_valid && s_last && was_last[COLS-2:0] != 0)); // a tile's columns leave before the next tile's come
    end

    // ---- arithmetic of a step, as docs/formats.md has it
    function [17:0] pairs(input [31:0] word, input minus);
        integer i;
        for (i = 0; i < 2; i = i + 1)
            pairs[i*9 +: 9] = minus ? {word[i*16+7], word[i*16 +: 8]} - {word[i*16+15], word[i*16+8 +: 8]} : {word[i*16+7], word[i*16 +: 8]} + {word[i*16+15], word[i*16+8 +: 8]};
    endfunction
    function [17:0] leaves(input [31:0] word, input [3:0] w);
        integer i;
        reg [17:0] s, d;
        begin
            s = pairs(word, 1'b0); d = pairs(word, 1'b1);
            for (i = 0; i < 2; i = i + 1) leaves[i*9 +: 9] = (w[2*i] ? d[i*9 +: 9] : s[i*9 +: 9]) ^ {9{w[2*i+1]}};
        end
    endfunction
    function [9:0] both(input [17:0] x);        // the sum of a tree of two
        both = {x[8], x[8:0]} + {x[17], x[17:9]};
    endfunction
    function [9:0] plane_sum(input [31:0] word, input [3:0] w);
        plane_sum = both(leaves(word, w));
    endfunction
    function [ACC-1:0] step(input [31:0] word, input [7:0] w);
        reg [9:0] p0, p1;
        begin
            p0 = plane_sum(word, w[3:0]); p1 = PLANES == 1 ? 10'd0 : plane_sum(word, w[7:4]);
            step = {{(ACC-10){p0[9]}}, p0} + {{(ACC-11){p1[9]}}, p1, 1'b0};
        end
    endfunction
    function [ACC-1:0] wide(input [9:0] x);
        wide = {{(ACC-10){x[9]}}, x};
    endfunction

    integer e, d, l, p, k, i;
    reg signed [15:0] u, v, n;
    reg [2:0] rank;
    reg [ACC-1:0] before, of_step;
    always @(posedge clk) begin
        // memories
        for (e = 0; e < 4; e = e + 1) if (written[e]) `CHECK(1, win[e*32 +: 32] == window[e*32 +: 32])
        for (e = 0; e < 2; e = e + 1) if (entered[e]) begin
            `CHECK(1, raw[e*32 +: 32] == weights[e*32 +: 32])
            for (d = 0; d < COLS; d = d + 1) begin
                n = 16'sd0;
                for (l = 0; l < LANES; l = l + 2) begin
                    u = 16'sd16; v = 16'sd16;
                    for (p = 0; p < PLANES; p = p + 1) begin
                        k = e*32 + d*LP + p*LANES + l;
                        u = raw[k+1] ? u - (16'sd1 <<< p) : u + (16'sd1 <<< p);
                        v = raw[k+1] ^ raw[k] ? v - (16'sd1 <<< p) : v + (16'sd1 <<< p);
                        if (raw[k+1]) n = n + (16'sd1 <<< p);
                    end
                    `CHECK(1, wt[((e*LANES + l)*COLS + d)*16 +: 16] == u)
                    `CHECK(1, wt[((e*LANES + l + 1)*COLS + d)*16 +: 16] == v)
                end
                `CHECK(1, ones[(e*COLS + d)*16 +: 16] == n)
            end
        end
        // the fast view's accumulators, now and before, differ by their steps
        for (i = 0; i < LATE; i = i + 1) if (begun[i]) begin
            for (d = 0; d < COLS; d = d + 1) begin
                of_step = step(was_word[i*32 +: 32], was_weights[i*32 + d*LP +: LP]);
                before = acc_was[(i*COLS + d)*ACC +: ACC];
                `CHECK((i == 0 ? 2 : 4), (i == 0 ? acc[d*ACC +: ACC] : acc_was[((i-1)*COLS + d)*ACC +: ACC]) == (!was[i] ? before : was_first[i] ? of_step : before + of_step))
            end
        end
        for (i = 0; i < LATA - 1; i = i + 1) if (begun[i]) begin
            of_step = wide(both(pairs(was_word[i*32 +: 32], 1'b0)));
            before = sum_was[i*ACC +: ACC];
            `CHECK((i == 0 ? 2 : 4), (i == 0 ? \b.sum[0] : sum_was[(i-1)*ACC +: ACC]) == (!was[i] ? before : was_first[i] ? of_step : before + of_step))
        end
        for (i = 0; i < N; i = i + 1) if (was[i]) `CHECK(1, begun[i])
        for (i = 0; i + 1 < N; i = i + 1) begin
            if (begun[i+1]) `CHECK(1, begun[i])
            if (begun[i] && !begun[i+1]) `CHECK(1, was[i] && was_first[i])
            `CHECK(1, !was_last[i] || was[i])
            if (i >= age) `CHECK(1, !begun[i])
        end
        if (!begun[0]) `CHECK(1, !open)
        // the structural view's registers hold what was issued so many cycles ago
        if (was[0]) `CHECK(3, \a.u_window.g_row[0].g_words.g_part[0].g_one.u_ram.rdata == was_word[0 +: 32] && \a.g_word[0].u_ram.at == was_pc && entered[was_pc] && weights[was_pc*32 +: 32] == was_weights[0 +: 32])
        if (was[1]) `CHECK(3, \a.u_word.g_shift.q == was_word[32 +: 32] && \a.g_word[0].u_ram.rdata == was_weights[32 +: 32])
        if (was[2]) `CHECK(3, \a.g_word[0].u_q.g_shift.q == was_weights[64 +: 32] && \a.s0 == pairs(was_word[64 +: 32], 1'b0) && \a.d0 == pairs(was_word[64 +: 32], 1'b1))
        if (was[3]) begin
            `CHECK(3, \a.g_col[1].g_row[0].g_enabled.u_pe.g_plane[0].leaf == leaves(was_word[96 +: 32], was_weights[96 +: 4]))
            `CHECK(3, \a.g_col[0].g_row[0].g_enabled.u_pe.g_plane[0].leaf == leaves(was_word[96 +: 32], was_weights[96 + LP +: 4]))
            if (PLANES == 2) `CHECK(3, \a.g_col[1].g_row[0].g_enabled.u_pe.g_plane[1].leaf == leaves(was_word[96 +: 32], was_weights[100 +: 4]))
            if (PLANES == 2) `CHECK(3, \a.g_col[0].g_row[0].g_enabled.u_pe.g_plane[1].leaf == leaves(was_word[96 +: 32], was_weights[100 + LP +: 4]))
            `CHECK(3, \a.g_edge[0].g_sum.sum == both(pairs(was_word[96 +: 32], 1'b0)))
        end
        if (was[4]) begin
            for (p = 0; p < PLANES; p = p + 1) begin
                `CHECK(3, \a.g_col[1].g_row[0].g_enabled.u_pe.plane [p*10 +: 10] == plane_sum(was_word[128 +: 32], was_weights[128 + 4*p +: 4]))
                `CHECK(3, \a.g_col[0].g_row[0].g_enabled.u_pe.plane [p*10 +: 10] == plane_sum(was_word[128 +: 32], was_weights[128 + LP + 4*p +: 4]))
            end
        end
        if (COMB == 1 && was[5]) begin
            `CHECK(3, \a.g_col[1].g_row[0].g_enabled.u_pe.sum == step(was_word[160 +: 32], was_weights[160 +: LP]))
            `CHECK(3, \a.g_col[0].g_row[0].g_enabled.u_pe.sum == step(was_word[160 +: 32], was_weights[160 + LP +: LP]))
        end
        for (i = 0; i < 2 + COMB; i = i + 1) if (was[4+i]) `CHECK(3, \a.g_edge[0].g_sum.g_waiting.u_late.g_shift.q [i*10 +: 10] == both(pairs(was_word[(4+i)*32 +: 32], 1'b0)))
        // its controls
        for (i = 0; i < 3 + LOG + COMB; i = i + 1) begin
            if (i < age) `CHECK(3, \a.g_group[0].u_en.g_shift.q [i] == was[i])
            if (was[i]) `CHECK(3, \a.g_group[0].u_first.g_shift.q [i] == was_first[i])
        end
        for (i = 0; i < 4 + LOG + COMB; i = i + 1) if (i < age) `CHECK(3, \a.g_group[0].u_capture.g_shift.q [i] == was_last[i])
        for (i = 0; i < 5 + LOG + COMB; i = i + 1) begin
            if (i < age) `CHECK(3, \a.u_v_sum.g_shift.q [i] == was[i])
            if (was[i]) `CHECK(3, \a.u_f_sum.g_shift.q [i] == was_first[i])
        end
        for (i = 0; i < 6 + LOG + COMB; i = i + 1) if (i < age) `CHECK(3, \a.u_l_sum.g_shift.q [i] == was_last[i])
        if (age > LATE - 1) `CHECK(3, \a.g_group[0].g_shared.u_control.g_shift.q [3] == was[LATE-1])
        if (was[LATE-1]) `CHECK(3, \a.g_group[0].g_shared.u_control.g_shift.q [2] == was_first[LATE-1])
        if (age > LATE) `CHECK(3, \a.g_group[0].g_shared.u_control.g_shift.q [1] == was_last[LATE])
        `CHECK(3, \a.g_group[0].g_shared.u_control.g_shift.q [0] || age == 0)
        // accumulators
        if (begun[LATE]) begin
            `CHECK(5, \a.g_col[1].g_row[0].g_enabled.u_pe.acc == acc_was[(LATE-1)*COLS*ACC +: ACC])
            `CHECK(5, \a.g_col[0].g_row[0].g_enabled.u_pe.acc == acc_was[(LATE-1)*COLS*ACC + ACC +: ACC])
        end
        if (begun[LATA-1]) `CHECK(5, \a.g_edge[0].g_sum.acc == sum_was[(LATA-2)*ACC +: ACC])
        // tiles on their way to the drain
        `CHECK(6, \b.in_slot < SLOTS && \b.out_slot < SLOTS && \b.slot < SLOTS && \b.sum_slot < SLOTS)
        rank = 3'd1;
        for (i = 0; i < LATA - 1; i = i + 1) begin
            `CHECK(6, \b.due [i] == was_last[i])
            if (was_last[i]) begin
                for (d = 0; d < COLS; d = d + 1)
                    `CHECK(6, snap[(((\b.in_slot - rank) & (SLOTS - 1))*COLS + d)*ACC +: ACC] == (i == 0 ? acc[d*ACC +: ACC] : acc_was[((i-1)*COLS + d)*ACC +: ACC]))
                `CHECK(6, snap_sum[((\b.in_slot - rank) & (SLOTS - 1))*ACC +: ACC] == (i == 0 ? \b.sum[0] : sum_was[(i-1)*ACC +: ACC]))
                rank = rank + 3'd1;
            end
        end
        `CHECK(6, ((\b.in_slot - rank - \b.out_slot + 1) & (SLOTS - 1)) == 0)
        for (i = 0; i + 1 < N; i = i + 1) `CHECK(6, !(was_last[i] && was_last[i+1]))
        // results
        for (i = 0; i < COLS; i = i + 1) if (was_last[LATA-1+i]) begin
            `CHECK(6, drain_a == drain_b)
            `CHECK(6, \b.col == i && ((\b.slot + 1 - \b.out_slot ) & (SLOTS - 1)) == 0)
        end
        if (was_last[LATA-1]) `CHECK(6, \a.g_col[0].g_row[0].g_enabled.u_pe.drain == snap[(\b.slot [2:0]*COLS + 1)*ACC +: ACC])
        `CHECK(6, \b.sum_due == was_last[LATA-1])
        if (was_last[LATA-1]) `CHECK(6, sum_was[(LATA-2)*ACC +: ACC] == snap_sum[\b.sum_slot [2:0]*ACC +: ACC] && (\b.sum_slot ^ \b.slot ) == 0)
        for (i = 0; i < COLS; i = i + 1) if (was_last[LATA+i]) `CHECK(6, sum_a == sum_b)
        if (read) `CHECK(6, word_a == word_b)
    end
    reg [4:0] age = 0;
    always @(posedge clk) if (age != 31) age <= age + 1'b1;
endmodule
