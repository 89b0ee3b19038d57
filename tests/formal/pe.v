// A processing element adds up signed products, for all activations and all weights.
//
// The reference decodes each plane bit to its sign and multiplies, as docs/formats.md section 2 defines it. It has a register where the design has
// one, so that the induction goes from register to register; `exact` is the sum in more bits than any stream needs, lo and hi the compiler's
// range of it (compiler/lower/encode.c: weights known, activations any). While that range fits ACC_BITS, which is what compile checks, acc is
// the exact sum: no overflow. With PLANES 2 and 4 planes, their
// sum and the accumulator are three proofs, of which the second and the third take what the one before has proven for granted. The cases `range*` prove that a step's sum lies in its range.
//@ files hw/pe.v hw/lib/add_tree.v
//@ case planes1 induct:2 PLANES=1 SUM=10
//@ case planes2_plane0 induct:2 PLANES=2 SUM=12 PART=1 PLANE=0
//@ case planes2_plane1 induct:2 PLANES=2 SUM=12 PART=1 PLANE=1
//@ case planes2_sum induct:2 PLANES=2 SUM=12 PART=2
//@ case planes2_acc induct:2 PLANES=2 SUM=12 PART=3
//@ case planes4_plane0 induct:2 PLANES=4 SUM=14 PART=1 PLANE=0
//@ case planes4_plane1 induct:2 PLANES=4 SUM=14 PART=1 PLANE=1
//@ case planes4_plane2 induct:2 PLANES=4 SUM=14 PART=1 PLANE=2
//@ case planes4_plane3 induct:2 PLANES=4 SUM=14 PART=1 PLANE=3
//@ case planes4_sum induct:2 PLANES=4 SUM=14 PART=2
//@ case planes4_acc induct:2 PLANES=4 SUM=14 PART=3
//@ case range1 bmc:1 PLANES=1 SUM=10 RANGE=1
//@ case range2 bmc:1 PLANES=2 SUM=12 RANGE=1
//@ mutant planes2_sum hw/pe.v s/p1 = \{plane\[TREE \+: TREE\], 1'b0\};/p1 = {1'b0, plane[TREE +: TREE]};/
//@ mutant planes4_plane3 hw/pe.v s/wire neg = w\[p\*LANES/wire neg = w[(p % 3)*LANES/
//@ mutant planes4_sum hw/pe.v s/\{hi, 2'b00\}/{1'b0, hi, 1'b0}/
//@ mutant planes1 hw/pe.v s/\^ \{9\{neg\}\}/^ {9{sel}}/
//@ mutant planes1 hw/pe.v s/first \? wide : acc/first ? acc : acc/
//@ mutant planes1 hw/pe.v s/capture \? acc/capture ? drain_in/
`default_nettype none
module proof #(
    parameter PLANES = 1,
    parameter LANES  = 4,
    parameter SUM    = 10,
    parameter RANGE  = 0,
    parameter PLANE  = 0,
    parameter PART   = 0        // 0: all, 1: the sum of plane PLANE, 2: a step's sum, given the planes', 3: the accumulator, given a step's sum
) (
    input wire                    clk,
    input wire [LANES*8-1:0]      act,
    input wire [LANES*PLANES-1:0] w,
    input wire                    en, first, capture, shift,
    input wire [SUM+1:0]          drain_in
);
    localparam NP = LANES / 2, LOG = $clog2(NP), COMB = PLANES == 1 ? 0 : PLANES == 2 ? 1 : 2;
    localparam ACC = SUM + 2, LATE = 1 + LOG + COMB, WIDE = ACC + 3;
    localparam signed [WIDE-1:0] LIMIT = 1 << (ACC - 1);

    // ---- the design: pair sums as the row edge forms them
    wire [NP*9-1:0] s, d;
    wire signed [ACC-1:0] drain;
    genvar p, i;
    pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC)) u_pe (
        .clk(clk), .s(s), .d(d), .w(w), .en(en), .first(first), .capture(capture), .shift(shift), .drain_in(drain_in), .drain(drain));
    (* hierconn *) wire signed [ACC-1:0] \u_pe.acc ;
    (* hierconn *) wire signed [SUM-1:0] \u_pe.sum ;
    (* hierconn *) wire [NP*9-1:0] \u_pe.g_plane[0].leaf , \u_pe.g_plane[1].leaf , \u_pe.g_plane[2].leaf , \u_pe.g_plane[3].leaf ;
    (* hierconn *) wire [9:0] \u_pe.g_plane[0].u_tree.y , \u_pe.g_plane[1].u_tree.y , \u_pe.g_plane[2].u_tree.y , \u_pe.g_plane[3].u_tree.y ;
    (* hierconn *) wire [11:0] \u_pe.genblk2.g_p4.lo , \u_pe.genblk2.g_p4.hi ;
    wire [23:0] pairs = {\u_pe.genblk2.g_p4.hi , \u_pe.genblk2.g_p4.lo };
    wire [4*NP*9-1:0] leaf = {\u_pe.g_plane[3].leaf , \u_pe.g_plane[2].leaf , \u_pe.g_plane[1].leaf , \u_pe.g_plane[0].leaf };
    wire [4*10-1:0]   tree = {\u_pe.g_plane[3].u_tree.y , \u_pe.g_plane[2].u_tree.y , \u_pe.g_plane[1].u_tree.y , \u_pe.g_plane[0].u_tree.y };

    reg [3:0] age = 0;

    // ---- the reference: a register a product pair, then a plane's sum, then the planes' sum
    wire signed [WIDE-1:0] lo_pair [0:NP-1], hi_pair [0:NP-1], exact_pair [0:NP-1];
    wire signed [10:0] of_plane [0:3];
    generate
        for (i = 0; i < NP; i = i + 1) begin : g_lanes
            wire signed [7:0] a0 = act[i*16 +: 8], a1 = act[i*16+8 +: 8];
            assign s[i*9 +: 9] = a0 + a1;
            assign d[i*9 +: 9] = a0 - a1;
        end
        for (p = 0; p < 4; p = p + 1) begin : g_plane
            if (p < PLANES) begin : g_real
                reg signed [9:0] pair [0:NP-1];
                reg signed [10:0] sum;
                for (i = 0; i < NP; i = i + 1) begin : g_pair
                    wire neg = w[p*LANES + 2*i + 1], sel = w[p*LANES + 2*i];
                    wire signed [1:0] s0 = neg ? -2'sd1 : 2'sd1;            // the first lane's sign
                    wire signed [1:0] s1 = sel != neg ? -2'sd1 : 2'sd1;     // sel: the signs differ
                    always @(posedge clk) begin
                        if (!RANGE && (PART == 0 || (PART == 1 && p == PLANE)) && age >= 1) assert ($signed(leaf[(p*NP + i)*9 +: 9]) == pair[i]);
                        pair[i] <= s0 * g_lanes[i].a0 + s1 * g_lanes[i].a1 - $signed({1'b0, neg});
                    end
                end
                always @(posedge clk) begin
                    if (!RANGE && (PART == 0 || (PART == 1 && p == PLANE)) && age >= 2) assert ($signed(tree[p*10 +: 10]) == sum);
                    if (PART == 2 && age >= 2) assume ($signed(tree[p*10 +: 10]) == sum);
                    sum <= pair[0] + pair[1];
                end
                assign of_plane[p] = sum;
            end else begin : g_none
                assign of_plane[p] = 0;
            end
        end
    endgenerate
    reg signed [WIDE-1:0] low, high, total;
    always @(posedge clk) begin
        low <= of_plane[0] + (of_plane[1] <<< 1);
        high <= of_plane[2] + (of_plane[3] <<< 1);
        total <= low + (high <<< 2);
    end
    wire signed [WIDE-1:0] step = PLANES == 1 ? of_plane[0] : PLANES == 2 ? low : total;

    // ---- the compiler's range of a step: each lane's weight times the worst activation, less the one's complements
    reg signed [WIDE-1:0] lo_step, hi_step, products, v0, v1, one0, one1;
    integer q, j;
    always @* begin
        lo_step = 0; hi_step = 0; products = 0;
        for (j = 0; j < NP; j = j + 1) begin
            v0 = 0; v1 = 0;
            for (q = 0; q < PLANES; q = q + 1) begin
                one0 = w[q*LANES + 2*j + 1] ? -1 : 1;
                one1 = w[q*LANES + 2*j] ? -one0 : one0;
                v0 = v0 + (one0 <<< q); v1 = v1 + (one1 <<< q);
                if (w[q*LANES + 2*j + 1]) begin
                    lo_step = lo_step - (1 <<< q); hi_step = hi_step - (1 <<< q); products = products - (1 <<< q);
                end
            end
            products = products + v0 * $signed(act[j*16 +: 8]) + v1 * $signed(act[j*16+8 +: 8]);
            lo_step = lo_step + (v0 < 0 ? (v0 <<< 7) - v0 : -(v0 <<< 7)) + (v1 < 0 ? (v1 <<< 7) - v1 : -(v1 <<< 7));
            hi_step = hi_step + (v0 < 0 ? -(v0 <<< 7) : (v0 <<< 7) - v0) + (v1 < 0 ? -(v1 <<< 7) : (v1 <<< 7) - v1);
        end
    end
    // Any range that a step's sum lies in will do for the accumulator.
    (* anyseq *) reg signed [WIDE-1:0] lo_any, hi_any;
    reg signed [WIDE-1:0] exact, lo, hi;
    reg running = 0;                        // an accumulation has begun with a step of known history
    always @(posedge clk) begin
        if (age != 15) age <= age + 1;
        if (en) begin
            if (first) running <= age >= LATE;
            exact <= (first ? 0 : exact) + step;
            lo <= (first ? 0 : lo) + lo_any;
            hi <= (first ? 0 : hi) + hi_any;
        end
    end
    generate if (RANGE) begin : g_range
        always @(posedge clk) begin
            assert (products >= lo_step && products <= hi_step);
            // A step moves neither end inwards: the range of a tile covers its partial sums.
            assert (lo_step <= 0 && hi_step >= 0);
        end
    end else begin : g_sum
        always @* begin
            assume (lo_any <= 0 && lo_any >= -LIMIT && hi_any >= 0 && hi_any < LIMIT && lo_any <= step && step <= hi_any);
            if (running) assume (hi <= LIMIT - 1 && lo >= -LIMIT);
        end
        always @(posedge clk) begin
            if (PLANES == 4 && PART == 2 && age >= LATE - 1) begin
                assert ($signed(pairs[0 +: 12]) == low && $signed(pairs[12 +: 12]) == high);
                // Of planes with two pairs of lanes each, whose sums are 10 bits.
                assert (low >= -1536 && low <= 1533 && high >= -1536 && high <= 1533);
            end
            if (age >= LATE && (PART == 0 || PART == 2)) assert (\u_pe.sum  == step);
            if (age >= LATE && PART == 3) assume (\u_pe.sum  == step);
            if (running && (PART == 0 || PART == 3)) begin
                assert (age >= LATE);
                assert (exact <= hi && exact >= lo);
                assert (\u_pe.acc  == exact);
            end
            if (age != 0 && !$past(shift)) assert (drain == $past(drain));
            if (age != 0 && $past(shift)) assert (drain == ($past(capture) ? $past(\u_pe.acc ) : $past($signed(drain_in))));
        end
    end endgenerate
endmodule
`default_nettype wire
