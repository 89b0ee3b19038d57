// One row of post: merge of the columns of a channel, activation sum, bias, requantisation, residual, clamp.
//
// The arithmetic is docs/formats.md section 1; column on `acc` in cycle x, byte on `y` in cycle x + 8.
//   x+1 z   x+2 z - sum   x+3 + bias   x+4 product   x+5 shifted, one bit left   x+6 rounded, sat16   x+7 + zero + residual   x+8 clamped
// Each parameter must be valid in the cycle of its use (named below). Stall rule: none.
// Parameters: PLANES, ACC_BITS; RESIDUAL 1 builds the residual multiplier.
`default_nettype none
module post_lane #(
    parameter PLANES   = 2,
    parameter ACC_BITS = 24,
    parameter RESIDUAL = 1
) (
    input  wire                clk,
    input  wire [ACC_BITS-1:0] acc,
    input  wire                first,        // x: first column of a channel
    input  wire                column,       // x: a column is there
    input  wire [ACC_BITS-1:0] row_sum,      // x+1
    input  wire                even,         // layer
    input  wire [31:0]         bias,         // x+2
    input  wire [15:0]         mult,         // x+3
    input  wire [5:0]          shift,        // x+3
    input  wire [7:0]          residual,     // x+4
    input  wire                add_residual, // layer
    input  wire [15:0]         res_mult,     // layer ...
    input  wire [31:0]         res_add,
    input  wire [4:0]          res_shift,
    input  wire [7:0]          zero,
    input  wire [7:0]          lo,
    input  wire [7:0]          hi,
    output reg  [7:0]          y,
    output wire [7:0]          y_next        // x+7: what y will be
);
    reg signed [31:0] z, z_sum, z_bias;
    wire signed [31:0] acc32 = {{(32-ACC_BITS){acc[ACC_BITS-1]}}, acc};
    wire signed [31:0] sum32 = {{(32-ACC_BITS){row_sum[ACC_BITS-1]}}, row_sum};
    always @(posedge clk) begin
        if (column) z <= first ? acc32 : (z <<< PLANES) + acc32;
        z_sum <= even ? z - sum32 : z;
        z_bias <= z_sum + $signed(bias);
    end

    // floor((p + 2^(shift-1)) / 2^shift) = (floor(p / 2^(shift-1)) + 1) >> 1: no wide rounding adder.
    // Whether the shifted product fits in 18 bits is asked of the product itself, beside the shift: no two neighbours from bit 17 + shift - 1 on
    // may differ. What that needs of the shift is made a cycle earlier, alike for all rows.
    reg  signed [48:0] product;
    wire        [5:0]  less;                 // shift - 1, of each lane apart: a whole shifter hangs on it
    reg         [47:0] above;                // bits that lie above the 18
    // verilator lint_off UNUSEDSIGNAL
    wire signed [48:0] shifted = product >>> less;      // 18 bits are used
    // verilator lint_on UNUSEDSIGNAL
    wire               fits = ((product[48:1] ^ product[47:0]) & above) == 48'd0;
    reg  signed [17:0] half;
    reg  signed [15:0] q;
    wire signed [18:0] half_up = {half[17], half} + 19'sd1;
    wire signed [18:0] rounded = half_up >>> 1;
    wire        [5:0]  shift_less = shift - 6'd1;
    genvar i;
    generate for (i = 0; i < 6; i = i + 1) begin : g_less
        copy u_less (.clk(clk), .x(shift_less[i]), .y(less[i]));
    end endgenerate
    always @(posedge clk) begin
        product <= z_bias * $signed({1'b0, mult});
        above <= 48'hfffffffe0000 << shift_less;
        half <= fits ? shifted[17:0] : {product[48], {17{~product[48]}}};
        if (rounded > 19'sd32767) q <= 16'sd32767;
        else if (rounded < -19'sd32768) q <= -16'sd32768;
        else q <= rounded[15:0];
    end

    wire signed [31:0] res_term;
    generate if (RESIDUAL != 0) begin : g_residual
        reg signed [31:0] scaled, term;
        wire signed [24:0] res_product = $signed(residual) * $signed({1'b0, res_mult});
        always @(posedge clk) begin
            scaled <= {{7{res_product[24]}}, res_product} + $signed(res_add);
            term <= add_residual ? scaled >>> res_shift : 32'sd0;
        end
        assign res_term = term;
    end else begin : g_none
        assign res_term = 32'sd0;
        wire unused = &{1'b0, residual, add_residual, res_mult, res_add, res_shift};
    end endgenerate

    // |q| < 2^15, |zero| <= 2^7, |res_term| <= 2^31: 33 bits hold the sum.
    reg signed [32:0] t;
    wire signed [32:0] q33 = {{17{q[15]}}, q}, zero33 = {{25{zero[7]}}, zero}, res33 = {res_term[31], res_term};
    wire signed [32:0] lo33 = {{25{lo[7]}}, lo}, hi33 = {{25{hi[7]}}, hi};
    always @(posedge clk) begin
        t <= q33 + zero33 + res33;
        y <= y_next;
    end
    assign y_next = t < lo33 ? lo : t > hi33 ? hi : t[7:0];
endmodule
`default_nettype wire
