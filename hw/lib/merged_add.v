// y = carry + a sum with a function of the second operand, or a sign of the first, merged into the adder: on FPGAs whose carry cell has a whole LUT4 a bit, one
// cell does what takes an adder and a LUT elsewhere. This is the definition, and what simulators use; hw/ecp5/merged_add.v is the same with ECP5's carry cells.
//
//   KIND 0  a + (sel ? b : c)             a choice
//   KIND 1  a + (sel ? ~b : b)            one's complement of the second operand
//   KIND 2  (neg ? ~a : a) + (sel ? c : 0)     accumulator: one's complement of what is added, and clear
//   KIND 3  (neg ? ~a : a) + (sel ? ~c : c)    both operands with their signs
//
// Parameters: WIDTH bits, no bit is added: operands come sign-extended. KIND 0 to 3. CARRY 1: the input `carry` counts; with 0 it must be 0.
// Combinational. Cost on ECP5 in LUT4: WIDTH + CARRY, rounded up to an even number.
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
    wire [WIDTH-1:0] first = KIND >= 2 && neg ? ~a : a;
    wire [WIDTH-1:0] second = KIND == 0 ? (sel ? b : c) : KIND == 1 ? (sel ? ~b : b) : KIND == 2 ? (sel ? c : {WIDTH{1'b0}}) : (sel ? ~c : c);
    assign y = first + second + {{(WIDTH-1){1'b0}}, CARRY != 0 && carry};
endmodule
`default_nettype wire
