// The processing element of hw/pe.v for ECP5: the same ports, function and latency, with 20% fewer cells because choices and signs are merged into the
// adders (merged_add).
//
// Two pairs of lanes make a quad. The first pair is a LUT4 a bit as on every FPGA, (sel ? d : s) ^ neg; the second is added to it with its choice
// merged, but no sign. So a quad is summed up to the sign of its second pair, and a node of the tree up to the sign of its leftmost quad; the tree's adders take
// the relative sign of their right operand, the last adder the sign that is left. With T what a node holds and n the sign it is held up to, hw/pe.v
// has n ? ~T : T there, in one's complements as the compiler's bias expects. For that to hold exactly a node must be T = left + (right ^ (n ^ n_right)) + n: the +n is
// the chain's carry, which is free where the width is odd. At the quads it is not, but s and d have the same parity, so the sum's low bit and its carry come
// from the LUTs before the chain.
//
// What depends on weights only is the same in all rows, and what is a delayed s or d the same in all columns: synthesis of the whole array merges these cells.
// Latency, ports and parameters: hw/pe.v. Requires: bit 0 of each s equal to bit 0 of its d.
`default_nettype none
module pe #(
    parameter LANES    = 8,
    parameter PLANES   = 2,
    parameter ACC_BITS = 24,
    parameter CLEAR    = 0
) (
    input  wire                      clk,
    input  wire [LANES/2*9-1:0]      s,
    // verilator lint_off UNUSEDSIGNAL
    input  wire [LANES/2*9-1:0]      d,         // bits 0 are those of s
    // verilator lint_on UNUSEDSIGNAL
    input  wire [LANES*PLANES-1:0]   w,
    input  wire                      en,
    input  wire                      clear,
    input  wire                      first,
    input  wire                      capture,
    input  wire                      shift,
    input  wire [ACC_BITS-1:0]       drain_in,
    output reg  [ACC_BITS-1:0]       drain
);
    localparam NQ = LANES / 4, LEVELS = $clog2(NQ), TREE = 10 + LEVELS;
    localparam SUM = TREE + (PLANES == 1 ? 0 : PLANES == 2 ? 2 : 4);

    // ---- quads: leaf, then sum (two cycles after s, d, w)
    wire [PLANES*TREE-1:0] plane;           // up to the sign of the plane's first quad ...
    wire [PLANES-1:0]      plane_neg;       // ... which is here
    genvar p, q, l, i;
    generate for (p = 0; p < PLANES; p = p + 1) begin : g_plane
        wire [NQ-1:0]    neg;               // of each quad
        wire [NQ*10-1:0] quad;
        for (q = 0; q < NQ; q = q + 1) begin : g_quad
            wire sel0 = w[p*LANES + 4*q], neg0 = w[p*LANES + 4*q + 1], sel1 = w[p*LANES + 4*q + 2];
            assign neg[q] = w[p*LANES + 4*q + 3];
            wire relative = neg0 ^ neg[q];
            wire low0 = s[2*q*9] ^ relative, low1 = s[(2*q + 1)*9];
            reg  [7:0] leaf, s_q, d_q;      // bits 8 to 1
            reg        sel_q, sum_low, carry, low_q;
            wire [8:0] sum;
            reg  [8:0] high;
            merged_add #(.WIDTH(9), .KIND(0), .CARRY(1)) u_add (
                .a({leaf[7], leaf}), .b({d_q[7], d_q}), .c({s_q[7], s_q}), .neg(1'b0), .sel(sel_q), .carry(carry), .y(sum));
            always @(posedge clk) begin
                leaf <= (sel0 ? d[2*q*9 + 1 +: 8] : s[2*q*9 + 1 +: 8]) ^ {8{relative}};
                s_q <= s[(2*q + 1)*9 + 1 +: 8]; d_q <= d[(2*q + 1)*9 + 1 +: 8]; sel_q <= sel1;
                sum_low <= low0 ^ low1 ^ neg[q];
                carry <= (low0 && low1) || (neg[q] && (low0 || low1));
                high <= sum; low_q <= sum_low;
            end
            assign quad[q*10 +: 10] = {high, low_q};
        end

        // ---- tree: level l adds in the cycle l + 1 after s, d, w
        for (l = 0; l <= LEVELS; l = l + 1) begin : g_level
            wire [(NQ >> l)*(10+l)-1:0] v;
            // verilator lint_off UNUSEDSIGNAL
            wire [(NQ >> l)-1:0]        n, n_q;     // signs of the nodes in cycle l + 1 and, with v, in l + 2; the left ones are used
            // verilator lint_on UNUSEDSIGNAL
            delay #(.WIDTH(NQ >> l), .N(1)) u_sign (.clk(clk), .x(n), .y(n_q));
            if (l == 0) begin : g_in
                assign v = quad;
                delay #(.WIDTH(NQ), .N(1)) u_early (.clk(clk), .x(neg), .y(n));
            end else begin : g_sum
                for (i = 0; i < (NQ >> l); i = i + 1) begin : g_add
                    wire [9+l-1:0] left = g_level[l-1].v[2*i*(9+l) +: 9+l], right = g_level[l-1].v[(2*i+1)*(9+l) +: 9+l];
                    reg            relative;
                    wire [9+l:0]   y;
                    reg  [9+l:0]   sum;
                    merged_add #(.WIDTH(10 + l), .KIND(1), .CARRY(1)) u_add (
                        .a({left[9+l-1], left}), .b({right[9+l-1], right}), .c({(10+l){1'b0}}), .neg(1'b0), .sel(relative), .carry(g_level[l-1].n_q[2*i]), .y(y));
                    always @(posedge clk) begin
                        relative <= g_level[l-1].n[2*i] ^ g_level[l-1].n[2*i+1];
                        sum <= y;
                    end
                    assign v[i*(10+l) +: 10+l] = sum;
                    assign n[i] = g_level[l-1].n_q[2*i];
                end
            end
        end
        assign plane[p*TREE +: TREE] = g_level[LEVELS].v;
        assign plane_neg[p] = g_level[LEVELS].n_q;
    end endgenerate

    // ---- planes
    wire [SUM-1:0] sum;
    wire           sum_neg;
    generate
        if (PLANES == 1) begin : g_p1
            assign sum = plane;
            assign sum_neg = plane_neg;
        end else begin : g_pairs
            wire [(PLANES/2)*(TREE+2)-1:0] pair;
            for (p = 0; p < PLANES / 2; p = p + 1) begin : g_pair
                wire [TREE-1:0] p0 = plane[2*p*TREE +: TREE], p1 = plane[(2*p+1)*TREE +: TREE];
                // The upper plane counts twice: bit 0 is the lower plane's alone.
                wire [TREE:0]   high;
                reg  [TREE+1:0] total;
                merged_add #(.WIDTH(TREE + 1), .KIND(3), .CARRY(0)) u_add (
                    .a({{2{p0[TREE-1]}}, p0[TREE-1:1]}), .b({(TREE+1){1'b0}}), .c({p1[TREE-1], p1}), .neg(plane_neg[2*p]), .sel(plane_neg[2*p+1]), .carry(1'b0), .y(high));
                always @(posedge clk) total <= {high, p0[0] ^ plane_neg[2*p]};
                assign pair[p*(TREE+2) +: TREE+2] = total;
            end
            if (PLANES == 2) begin : g_p2
                assign sum = pair;
            end else begin : g_p4
                wire [TREE+1:0] lo = pair[0 +: TREE+2], hi = pair[TREE+2 +: TREE+2];
                reg  [SUM-1:0]  c;
                always @(posedge clk) c <= {{2{lo[TREE+1]}}, lo} + {hi, 2'b00};
                assign sum = c;
            end
            assign sum_neg = 1'b0;
        end
    endgenerate

    // ---- accumulator and shadow register
    reg  [ACC_BITS-1:0] acc;
    wire [ACC_BITS-1:0] acc_next;
    merged_add #(.WIDTH(ACC_BITS), .KIND(2), .CARRY(0)) u_acc (
        .a({{(ACC_BITS-SUM){sum[SUM-1]}}, sum}), .b({ACC_BITS{1'b0}}), .c(acc), .neg(sum_neg), .sel(!first), .carry(1'b0), .y(acc_next));
    reg live;           // with CLEAR the enable comes as its contrary, a cycle earlier
    always @(posedge clk) live <= !clear;
    wire unused = &{1'b0, live, en};
    always @(posedge clk) begin
        if (CLEAR != 0 ? live : en) acc <= acc_next;
        if (shift) drain <= capture ? acc : drain_in;
    end
endmodule
`default_nettype wire
