// The lane that all rows share: bias, requantisation with a multiplier of 16/POST bits a cycle, residual, clamp.
//
// The arithmetic is docs/formats.md section 1 for shifts of 17 and more: the product's low 16 bits then never reach a result, so the multiplier
// adds from the low bit up and drops them; dropping is a floor, as the shift is. Values come at least POST cycles apart.
//   x z_sum + bias   x+1 .. x+POST multiply   then +2 shift 0..3   +3 shift 0 or 4   +4 shift 0, 8, 16 or 24, saturate   +5 round   +6 add zero, residual   +7 clamp
//
// Latency: POST + 7 cycles. Stall rule: none.
// Parameters: POST 1, 2, 4, 8 or 16, cycles a value (1: a whole multiplier); RESIDUAL 1 builds the residual adder.
`default_nettype none
module post_shared_lane #(
    parameter POST     = 4,
    parameter RESIDUAL = 1
) (
    input  wire               clk,
    input  wire               rst_n,
    input  wire               take,         // x
    input  wire signed [31:0] z,            // x ...
    input  wire        [31:0] bias,
    input  wire        [15:0] mult,
    input  wire        [5:0]  shift,
    input  wire        [7:0]  residual,
    input  wire               add_residual, // layer ...
    input  wire               load_mult,    // RES_MULT and RES_ADD are kept here from these cycles on
    input  wire        [15:0] res_mult,
    input  wire               load_add,
    input  wire        [31:0] res_add,
    input  wire        [4:0]  res_shift,
    input  wire        [7:0]  zero,
    input  wire        [7:0]  lo,
    input  wire        [7:0]  hi,
    output wire               valid,
    output reg         [7:0]  y
);
    localparam K = 16 / POST;               // bits of the multiplier a cycle
    // Without a residual the clamp follows at once, so that 11 bits saturate as 17 do.
    localparam HB = RESIDUAL != 0 ? 17 : 11;
    localparam SB = 5;

    // ---- x: bias; x+1 ..: high = floor(z_bias * mult / 2^16)
    reg  signed [31:0] z_bias;
    wire signed [31:0] high;
    reg  [15:0] m;
    reg  [SB-1:0] shift_1, shift_high;      // shift - 17
    wire ready;                             // the last cycle of the multiplication
    delay #(.WIDTH(1), .N(POST)) u_ready (.clk(clk), .x(take && rst_n), .y(ready));
    // verilator lint_off UNUSEDSIGNAL
    wire [5:0] less = shift - 6'd17;
    // verilator lint_on UNUSEDSIGNAL
    always @(posedge clk) begin
        if (take) begin
            z_bias <= z + $signed(bias);
            shift_1 <= less[SB-1:0];
        end
        if (ready) shift_high <= shift_1;
    end
    generate if (POST == 1) begin : g_whole
        always @(posedge clk) m <= mult;
        mul_high #(.LOW(16)) u_scale (.clk(clk), .a(z_bias), .m(m), .y(high));
    end else begin : g_serial
        reg  signed [31:0] part, done;
        wire signed [31:0] step;
        genvar j;
        for (j = 0; j < K; j = j + 1) begin : g_bit
            // verilator lint_off UNUSEDSIGNAL
            wire signed [32:0] a, sum;
            // verilator lint_on UNUSEDSIGNAL
            wire signed [31:0] next;
            if (j == 0) begin : g_first
                assign a = {part[31], part};
            end else begin : g_other
                assign a = {g_bit[j-1].next[31], g_bit[j-1].next};
            end
            // The choice after the adder shares its cell.
            assign sum = m[j] ? a + {z_bias[31], z_bias} : a;
            assign next = sum[32:1];
        end
        assign step = g_bit[K-1].next;
        always @(posedge clk) begin
            m <= take ? mult : m >> K;
            if (take || ready) part <= 32'sd0;
            else part <= step;
            if (ready) done <= step;
        end
        assign high = done;
    end endgenerate

    // ---- y = x + POST + 1 .. y+2: the shift
    wire signed [HB-1:0] half;
    shift_saturate #(.HB(HB)) u_shift (.clk(clk), .x(high), .s(shift_high), .y(half));

    // ---- y+3: floor((p + 2^(shift-1)) / 2^shift) = (floor(p / 2^(shift-1)) + 1) >> 1
    localparam TB = RESIDUAL != 0 ? 18 : HB;
    wire signed [TB-1:0] zero_t = {{(TB-8){zero[7]}}, zero}, lo_t = {{(TB-8){lo[7]}}, lo}, hi_t = {{(TB-8){hi[7]}}, hi};
    reg  signed [TB-1:0] t;
    generate if (RESIDUAL != 0) begin : g_residual
        // Of 17 bits only the largest rounds to more than 16 bits: it is not rounded up.
        wire up = half[0] && half[HB-1:1] != 16'h7fff;
        reg  signed [HB-2:0] q;
        // The term arrives with its q: it holds as long as its byte, and values come POST cycles apart. Saturation to 17 bits cannot be seen
        // behind the clamp, because q and the zero point have less.
        reg  signed [7:0]  b;
        wire signed [31:0] scaled;
        wire signed [16:0] shifted;
        reg  signed [16:0] term;
        mul_add u_scale_residual (.clk(clk), .a(b), .load_m(load_mult), .m(res_mult), .load_c(load_add), .c(res_add), .y(scaled));
        shift_saturate #(.HB(17)) u_shift_residual (.clk(clk), .x(scaled), .s(res_shift), .y(shifted));
        always @(posedge clk) begin
            if (take) b <= residual;
            term <= add_residual ? shifted : 17'sd0;
            q <= half[HB-1:1] + {{(HB-2){1'b0}}, up};
            t <= {{2{q[HB-2]}}, q} + zero_t + {term[16], term};
        end
    end else begin : g_plain
        wire unused = &{1'b0, residual, add_residual, load_mult, res_mult, load_add, res_add, res_shift};
        wire signed [HB-1:0] rounded = {half[HB-1], half[HB-1:1]} + {{(HB-1){1'b0}}, half[0]};
        reg  signed [HB-1:0] q;
        always @(posedge clk) begin
            q <= rounded;
            t <= q + zero_t;
        end
    end endgenerate
    always @(posedge clk) y <= t < lo_t ? lo : t > hi_t ? hi : t[7:0];
    delay #(.WIDTH(1), .N(7)) u_valid (.clk(clk), .x(ready && rst_n), .y(valid));
endmodule
`default_nettype wire
