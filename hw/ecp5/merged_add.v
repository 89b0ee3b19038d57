// hw/lib/merged_add.v with the carry cells of ECP5, two bits a cell. A bit has P = LUT4(a, b, c, d), sum P ^ carry, and the carry P ? carry : G with
// G = P(a, b, 0, 0). So whatever sums with `a` may be any function of b, c and d that is 0 for c = d = 0, or the sum may be of one function of a and b and one
// of c and d that is 0 there. Yosys does not find these; tests/rtl/ecp5.sh holds the two files equal.
`default_nettype none
module merged_add #(
    parameter WIDTH = 9,
    parameter KIND  = 0,
    parameter CARRY = 0
) (
    // verilator lint_off UNUSEDSIGNAL
    input  wire [WIDTH-1:0] a,
    input  wire [WIDTH-1:0] b,
    input  wire [WIDTH-1:0] c,
    input  wire             neg,
    input  wire             sel,
    input  wire             carry,
    // verilator lint_on UNUSEDSIGNAL
    output wire [WIDTH-1:0] y
);
    generate if (KIND < 0 || KIND > 3) begin : g_rule KIND_must_be_0_to_3 bad(); end endgenerate
    // Index of the table: {d, c, b, a}.
    localparam [15:0] INIT = KIND == 0 ? 16'h665a          // a ^ (d ? b : c)
                           : KIND == 1 ? 16'h96aa          // d = 1: a ^ b ^ c; d = 0: a
                           : KIND == 2 ? 16'h9666          // a ^ b ^ (c & d)
                           : 16'h6996;                     // a ^ b ^ c ^ d
    localparam [15:0] START = 16'h00aa;                    // d = 1: P = 0 and G = a, which makes a carry of a
    localparam CELLS = (WIDTH + CARRY + 1) / 2, BITS = 2 * CELLS;
    wire [BITS-1:0] in_a, in_b, in_c, in_d, sum;
    wire [CELLS:0]  chain;
    genvar i;
    generate
        for (i = 0; i < BITS; i = i + 1) begin : g_bit
            if (i < CARRY) begin : g_start
                assign {in_d[i], in_c[i], in_b[i], in_a[i]} = {3'b100, carry};
            end else if (i < WIDTH + CARRY) begin : g_in
                assign in_a[i] = a[i-CARRY];
                assign in_b[i] = KIND >= 2 ? neg : b[i-CARRY];
                assign in_c[i] = KIND == 1 ? sel : c[i-CARRY];
                assign in_d[i] = KIND == 1 ? 1'b1 : sel;
                assign y[i-CARRY] = sum[i];
            end else begin : g_above
                assign {in_d[i], in_c[i], in_b[i], in_a[i]} = 4'b0000;
            end
        end
        assign chain[0] = 1'b0;
        for (i = 0; i < CELLS; i = i + 1) begin : g_cell
            CCU2C #(.INIT0(i == 0 && CARRY != 0 ? START : INIT), .INIT1(INIT), .INJECT1_0("NO"), .INJECT1_1("NO")) u_cell (
                .CIN(chain[i]), .COUT(chain[i+1]),
                .A0(in_a[2*i]), .B0(in_b[2*i]), .C0(in_c[2*i]), .D0(in_d[2*i]), .S0(sum[2*i]),
                .A1(in_a[2*i+1]), .B1(in_b[2*i+1]), .C1(in_c[2*i+1]), .D1(in_d[2*i+1]), .S1(sum[2*i+1]));
        end
    endgenerate
endmodule
`default_nettype wire
