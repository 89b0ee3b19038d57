// Requantisation is docs/formats.md section 1, for every product of 49 bits, shift, residual term, zero point and clamp; so are the steps before it.
//
// The product is compared as a product (same operands); from its register on the reference is the formula of the page: one addition of half a
// unit, one arithmetic shift, saturation, clamp. Each assertion spans the registers between two named values, so that nothing is multiplied twice.
//@ files hw/post_lane.v hw/lib/copy.v
//@ case merge induct:2 PART=0
//@ case requantise induct:4 PART=1
//@ case residual induct:3 PART=2
//@ mutant merge hw/post_lane.v s/z <<< PLANES/z <<< 1/
//@ mutant merge hw/post_lane.v s/even \? z - sum32 : z/even ? z : z - sum32/
//@ mutant requantise hw/post_lane.v s/half\} \+ 19'sd1/half}/
//@ mutant requantise hw/post_lane.v s/fffffffe0000 <</fffffffc0000 <</
//@ mutant requantise hw/post_lane.v s/-19'sd32768\) q <= -16'sd32768/-19'sd32768) q <= 16'sd32767/
//@ mutant residual hw/post_lane.v s/scaled >>> res_shift/scaled >> res_shift/
//@ mutant residual hw/post_lane.v s/t > hi33 \? hi/t > hi33 ? lo/
`default_nettype none
module proof #(
    parameter PART = 0
) (
    input wire        clk, first, column, even, add_residual,
    input wire [15:0] acc, row_sum, mult, res_mult,
    input wire [31:0] bias, res_add,
    input wire [5:0]  shift,
    input wire [7:0]  residual, zero, lo, hi,
    input wire [4:0]  res_shift
);
    localparam PLANES = 2;
    wire [7:0] y;
    post_lane #(.PLANES(PLANES), .ACC_BITS(16), .RESIDUAL(1)) u_lane (
        .clk(clk), .acc(acc), .first(first), .column(column), .row_sum(row_sum), .even(even), .bias(bias), .mult(mult), .shift(shift),
        .residual(residual), .add_residual(add_residual), .res_mult(res_mult), .res_add(res_add), .res_shift(res_shift),
        .zero(zero), .lo(lo), .hi(hi), .y(y));
    (* hierconn *) wire signed [31:0] \u_lane.z , \u_lane.z_sum , \u_lane.z_bias , \u_lane.res_term , \u_lane.g_residual.scaled ;
    (* hierconn *) wire signed [48:0] \u_lane.product ;
    (* hierconn *) wire signed [15:0] \u_lane.q ;
    (* hierconn *) wire signed [32:0] \u_lane.t ;
    reg [2:0] age = 0;
    always @(posedge clk) if (age != 7) age <= age + 1;

    function signed [15:0] sat16(input signed [49:0] x);
        sat16 = x > 32767 ? 32767 : x < -32768 ? -32768 : x;
    endfunction

    generate if (PART == 0) begin : g_merge
        always @(posedge clk) if (age != 0) begin
            // z = (z << PLANES) + column; EVEN subtracts the sum of activations; the bias
            if ($past(column)) assert (\u_lane.z  == ($past(first) ? 0 : $past(\u_lane.z ) * (1 << PLANES)) + $past($signed(acc)));
            else assert (\u_lane.z  == $past(\u_lane.z ));
            assert (\u_lane.z_sum  == $past(\u_lane.z ) - ($past(even) ? $past($signed(row_sum)) : 0));
            assert (\u_lane.z_bias  == $past(\u_lane.z_sum ) + $past($signed(bias)));
            assert (\u_lane.product  == $past(\u_lane.z_bias ) * $past($signed({1'b0, mult})));
        end
    end else if (PART == 1) begin : g_requantise
        // Two cycles from the product to q. The page's formula: (product + 2^(shift-1)) >> shift, saturated.
        reg [5:0] shift_4;                  // the shift of the product: it comes a cycle before
        wire signed [49:0] half_unit = 50'sd1 <<< (shift_4 - 1);
        wire signed [49:0] rounded = (\u_lane.product  + half_unit) >>> shift_4;
        reg signed [15:0] want_1, want_2;
        always @* assume (shift >= 1 && shift <= 47);
        always @(posedge clk) begin
            shift_4 <= shift;
            want_1 <= sat16(rounded); want_2 <= want_1;
            if (age >= 3) assert (\u_lane.q  == want_2);
        end
    end else begin : g_residual
        wire signed [33:0] sum = \u_lane.q  + $signed(zero) + \u_lane.res_term ;
        always @(posedge clk) if (age != 0) begin
            assert (\u_lane.g_residual.scaled  == $past($signed(residual)) * $past($signed({1'b0, res_mult})) + $past($signed(res_add)));
            assert (\u_lane.res_term  == ($past(add_residual) ? $past(\u_lane.g_residual.scaled ) >>> $past(res_shift) : 0));
            assert (\u_lane.t  == $past(sum));
            // min(max(t, lo), hi), where lo <= hi
            if ($past($signed(lo) <= $signed(hi)))
                assert ($signed(y) == ($past(\u_lane.t ) < $past($signed(lo)) ? $past($signed(lo)) : $past(\u_lane.t ) > $past($signed(hi)) ? $past($signed(hi)) : $past(\u_lane.t )));
        end
    end endgenerate
endmodule
`default_nettype wire
