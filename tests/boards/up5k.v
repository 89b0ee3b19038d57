// Feeds one module (DUT) of hw/lib, or the one of the same name in boards/icebreaker, the same random numbers and prints what it answers: up5k.sh
// compares the two.
`default_nettype none
`timescale 1ns / 1ps
module bench;
    reg         clk = 0, take, first;
    reg  [31:0] x;
    reg  [15:0] m;
    wire [31:0] y;
    integer     n, seed = 1;
`ifdef DUT_mul_high
    mul_high #(.LOW(`LOW)) dut (.clk(clk), .a(x), .m(m), .y(y));
`elsif DUT_mul_add
    reg [31:0] c;
    always @* c = {x[15:0], ~x[23:8]};
    mul_add dut (.clk(clk), .a(x[31:24]), .load_m(take), .m(m), .load_c(first), .c(c), .y(y));
`elsif DUT_shift_saturate
    shift_saturate #(.HB(17)) dut (.clk(clk), .x(x), .s(m[4:0]), .y(y[16:0]));
    assign y[31:17] = 15'd0;
`elsif DUT_merge_ring
    // 1 to 4 rows; the same with x a cycle earlier.
    merge_ring #(.ROWS(`LOW % 10), .PLANES(2), .EARLY(`LOW / 10)) dut (.clk(clk), .take(take), .first(first), .x(x), .z(y));
`endif
    initial begin
        for (n = 0; n < 4000; n = n + 1) begin
            #10 clk = 0;
            // Extremes and small numbers as often as any others.
            x = n % 5 == 0 ? 32'h80000000 : n % 5 == 1 ? 32'h7fffffff : $random(seed);
            x = n % 3 == 0 ? $signed(x) >>> (n % 31) : x;
            m = n % 7 == 0 ? 16'hffff : $random(seed);
            take = n < 20 || $random(seed); first = n < 20 || $random(seed);
            #10 clk = 1;
            #5 if (n > 24) $display("%h", y);
        end
        $finish;
    end
endmodule
`default_nettype wire
