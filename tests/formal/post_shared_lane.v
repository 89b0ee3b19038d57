// The shared lane's byte is docs/formats.md section 1 for every value, multiplier, shift from 17 on, residual, zero point and clamp, for values that come POST cycles apart or more.
//
// The product is compared with the sum of the value shifted by each set bit of the multiplier, which is added beside the lane, exactly, a step at a time: after each the lane holds all but the
// dropped low bits. From the finished product on the reference is the formula of the page: half a unit, arithmetic shift, saturation to 16 bits; then zero point and residual term, unsaturated, and the clamp.
// `timing`: a byte is valid POST + 7 cycles after its value was taken, and then only.
//@ files hw/post_shared_lane.v hw/lib/delay.v hw/lib/shift_saturate.v hw/lib/mul_add.v hw/lib/mul_high.v
//@ case multiply8 induct:3 PART=0 POST=8
//@ case requantise induct:8 PART=1 POST=2
//@ case clamped induct:8 PART=1 POST=2 RESIDUAL=0
//@ case residual induct:7 PART=2 POST=2
//@ case timing induct:14 PART=3 POST=4
//@ mutant multiply8 hw/post_shared_lane.v s/m >> K/m >> 1/
//@ mutant multiply8 hw/post_shared_lane.v s/next = sum\[32:1\]/next = {1'b0, sum[31:1]}/
//@ mutant timing hw/post_shared_lane.v s/shift - 6'd17/shift - 6'd16/
//@ mutant timing hw/post_shared_lane.v s/if \(ready\) shift_high <= shift_1/shift_high <= shift_1/
//@ mutant requantise hw/post_shared_lane.v s/half\[0\] && half\[HB-1:1\] != 16'h7fff/half[0]/
//@ mutant requantise hw/post_shared_lane.v s/half\[HB-1:1\] \+ \{\{\(HB-2\)\{1'b0\}\}, up\}/half[HB-1:1]/
//@ mutant clamped hw/post_shared_lane.v s/RESIDUAL != 0 \? 17 : 11/RESIDUAL != 0 ? 17 : 9/
//@ mutant clamped hw/post_shared_lane.v s/t <= q \+ zero_t/t <= q - zero_t/
//@ mutant residual hw/post_shared_lane.v s/add_residual \? shifted : 17'sd0/shifted/
//@ mutant residual hw/post_shared_lane.v s/if \(take\) b <= residual/b <= residual/
//@ mutant residual hw/post_shared_lane.v s/HB\(17\)\) u_shift_residual/HB(9)) u_shift_residual/
//@ mutant timing hw/post_shared_lane.v s/N\(7\)\) u_valid/N(6)) u_valid/
`default_nettype none
module proof #(
    parameter PART     = 0,
    parameter POST     = 4,
    parameter RESIDUAL = 1
) (
    input wire        clk, take, add_residual_any, load_mult, load_add,
    input wire [31:0] z, bias, res_add,
    input wire [15:0] mult, res_mult,
    input wire [5:0]  shift,
    input wire [7:0]  residual
);
    localparam K = 16 / POST;
    // Of the layer: as they are in its first cycle.
    (* anyconst *) reg add_residual;
    (* anyconst *) reg [4:0] res_shift;
    (* anyconst *) reg signed [7:0] zero, lo, hi;
    wire valid;
    wire signed [7:0] y;
    post_shared_lane #(.POST(POST), .RESIDUAL(RESIDUAL)) u_lane (
        .clk(clk), .rst_n(1'b1), .take(take), .z(z), .bias(bias), .mult(mult), .shift(shift), .residual(residual), .add_residual(add_residual),
        .load_mult(load_mult), .res_mult(res_mult), .load_add(load_add), .res_add(res_add), .res_shift(res_shift), .zero(zero), .lo(lo), .hi(hi), .valid(valid), .y(y));
    (* hierconn *) wire signed [31:0] \u_lane.z_bias , \u_lane.high , \u_lane.g_serial.part ;
    (* hierconn *) wire [15:0] \u_lane.m ;
    (* hierconn *) wire [4:0] \u_lane.shift_1 , \u_lane.shift_high ;
    (* hierconn *) wire \u_lane.ready ;
    (* hierconn *) (* init = 0 *) wire [POST-1:0] \u_lane.u_ready.g_shift.q ;
    (* hierconn *) wire signed [7:0]  \u_lane.g_residual.b ;
    (* hierconn *) wire signed [31:0] \u_lane.g_residual.scaled ;
    (* hierconn *) wire signed [15:0] \u_lane.g_residual.q ;
    (* hierconn *) wire [15:0] \u_lane.g_residual.u_scale_residual.m_kept ;
    (* hierconn *) wire [31:0] \u_lane.g_residual.u_scale_residual.c_kept ;
    always @* assume (lo <= hi);
    reg [4:0] age = 0;
    always @(posedge clk) if (age != 31) age <= age + 1;

    // ---- the value under way: step 1 to POST of its multiplication, 0 when there is none
    reg [4:0]         step = 0;
    reg signed [31:0] value;
    reg [15:0]        m;
    reg [5:0]         s;
    reg signed [48:0] sum;              // of value << i over the bits of m that were used
    wire [4:0]        used = K * (step - 1);
    wire [K-1:0]      bits = m >> used;
    reg signed [48:0] sum_next;
    integer i;
    always @* begin
        sum_next = sum;
        for (i = 0; i < K; i = i + 1)
            if (bits[i]) sum_next = sum_next + ($signed({{17{value[31]}}, value}) <<< (used + i));
        assume (!take || step == 0 || step == POST);
        assume (!take || (shift >= 17 && shift <= 47));
    end
    // The finished product and its shift, until the next one.
    reg signed [48:0] product = 0;
    reg [5:0]         product_shift = 17;
    reg               any = 0;          // there was one
    always @(posedge clk) begin
        step <= take ? 1 : step == 0 || step == POST ? 0 : step + 1;
        sum <= take ? 0 : sum_next;
        if (take) begin value <= z + bias; m <= mult; s <= shift; end
        if (step == POST) begin product <= sum_next; product_shift <= s; any <= 1; end
    end

    // What holds the two together; each part of the proof builds on it.
    wire signed [48:0] wide = {{17{value[31]}}, value}, most = wide <<< used;
    always @* if (age != 0) begin
        assert (step <= POST);
        assert (\u_lane.u_ready.g_shift.q == (step == 0 ? 0 : 1 << (step - 1)));
        if (any) assert (\u_lane.shift_high == product_shift - 17 && product_shift >= 17 && product_shift <= 47);
        if (step != 0) assert (\u_lane.shift_1 == s - 17 && s >= 17 && s <= 47);
    end

    function signed [15:0] sat16(input signed [49:0] x);
        sat16 = x > 32767 ? 32767 : x < -32768 ? -32768 : x;
    endfunction
    wire signed [49:0] half_unit = 50'sd1 <<< (product_shift - 1), p50 = {product[48], product};
    wire signed [49:0] rounded = (p50 + half_unit) >>> product_shift;
    wire signed [15:0] want = sat16(rounded);

    generate if (PART == 0) begin : g_multiply
        always @* if (age != 0) begin
            if (step != 0) begin
                assert (\u_lane.z_bias == value && \u_lane.m == m >> used);
                // The sum lies between 0 and the value times what the used bits can hold, so that 32 bits are enough once those are dropped.
                assert (value < 0 ? sum <= 0 && sum >= most : sum >= 0 && sum <= most);
                assert (\u_lane.g_serial.part == ((sum >>> used) & 49'hffffffff));
            end
            if (any) assert (\u_lane.high == product[47:16] && product[48] == product[47]);
        end
    end else if (PART == 1) begin : g_requantise
        // Multiplication is part 0's.
        always @* assume (!any || (\u_lane.high == product[47:16] && product[48] == product[47]));
        reg signed [15:0] w1, w2, w3, w4;
        reg a1 = 0, a2 = 0, a3 = 0, a4 = 0;
        always @(posedge clk) begin
            w1 <= want; w2 <= w1; w3 <= w2; w4 <= w3;
            a1 <= any; a2 <= a1; a3 <= a2; a4 <= a3;
        end
        if (RESIDUAL != 0) begin : g_with
                always @* if (age >= 5 && a4) assert (\u_lane.g_residual.q == w4);
        end else begin : g_without
            reg signed [15:0] w5, w6;
            reg a5 = 0, a6 = 0;
            wire signed [17:0] t = w6 + zero;
            always @(posedge clk) begin w5 <= w4; w6 <= w5; a5 <= a4; a6 <= a5; end
            always @* if (age >= 7 && a6) assert (y == (t < lo ? lo : t > hi ? hi : t));
        end
    end else if (PART == 2) begin : g_residual
        // In the cycle in which the product is there its residual's scaled byte is too; four later q and the term meet.
        reg signed [7:0] b;
        reg fresh = 0, f1 = 0, f2 = 0, f3 = 0, f4 = 0, f5 = 0, f6 = 0;
        reg signed [31:0] t1, t2, t3, t4;
        wire signed [31:0] term = add_residual ? \u_lane.g_residual.scaled >>> res_shift : 0;
        reg signed [33:0] total_1;
        reg signed [7:0] want_y;
        always @(posedge clk) begin
            if (take) b <= residual;
            fresh <= step == POST; f1 <= fresh; f2 <= f1; f3 <= f2; f4 <= f3; f5 <= f4; f6 <= f5;
            t1 <= term; t2 <= t1; t3 <= t2; t4 <= t3;
            total_1 <= \u_lane.g_residual.q + zero + t4;
            want_y <= total_1 < lo ? lo : total_1 > hi ? hi : total_1;
        end
        always @(posedge clk) if (age != 0)
            assert (\u_lane.g_residual.scaled == $past(\u_lane.g_residual.b ) * $past($signed({1'b0, \u_lane.g_residual.u_scale_residual.m_kept })) + $past($signed(\u_lane.g_residual.u_scale_residual.c_kept )));
        always @* begin
            if (age != 0 && step != 0) assert (\u_lane.g_residual.b == b);
            if (age >= 7 && f6) assert (y == want_y);
        end
    end else begin : g_timing
        reg [POST+6:0] took = 0;
        always @(posedge clk) took <= {took[POST+5:0], take};
        always @* if (age > POST + 7) assert (valid == took[POST+6]);
    end endgenerate
endmodule
`default_nettype wire
