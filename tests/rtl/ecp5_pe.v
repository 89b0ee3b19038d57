// Both processing elements side by side, random operands: every drained value and every accumulator must be equal. The ECP5 one is renamed pe_ecp5 by the script.
`default_nettype none
module ecp5_pe;
    parameter LANES = 8, PLANES = 2, ACC_BITS = 24, CYCLES = 2000;
    localparam NP = LANES / 2;
    reg clk = 0, en = 0, first = 0, capture = 0, shift = 0;
    reg [NP*9-1:0] s, d;
    reg [LANES*PLANES-1:0] w;
    reg [ACC_BITS-1:0] drain_in;
    wire [ACC_BITS-1:0] want, got;
    pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS)) u_pe (
        .clk(clk), .s(s), .d(d), .w(w), .en(en), .first(first), .capture(capture), .shift(shift), .drain_in(drain_in), .drain(want));
    pe_ecp5 #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS)) u_ecp5 (
        .clk(clk), .s(s), .d(d), .w(w), .en(en), .first(first), .capture(capture), .shift(shift), .drain_in(drain_in), .drain(got));
    integer t, i, seed = 1, compared = 0, changed = 0;
    reg [ACC_BITS-1:0] before;
    reg signed [7:0] a0, a1;
    initial begin
        for (t = 0; t < CYCLES; t = t + 1) begin
            for (i = 0; i < NP; i = i + 1) begin
                a0 = $random(seed); a1 = $random(seed);
                // Extremes often: they are where a carry or a sign bit is lost.
                if (t % 3 == 0) begin a0 = a0[0] ? 127 : -128; a1 = a1[0] ? 127 : -128; end
                s[i*9 +: 9] = a0 + a1;
                d[i*9 +: 9] = a0 - a1;
            end
            for (i = 0; i < LANES * PLANES; i = i + 1) w[i] = $random(seed);
            if (t % 7 == 0) w = {LANES*PLANES{w[0]}};
            // `first` often enough that a sum of full steps does not overflow.
            en = ($random(seed) & 3) != 0; first = t % 5 == 0 || ($random(seed) & 7) == 0; if (first) en = 1;
            capture = $random(seed); shift = t < 20 || ($random(seed) & 1);
            drain_in = $random(seed);
            #1 clk = 1; #1 clk = 0;
            if (t > 20) begin
                if (want !== got) begin $display("FAIL LANES %0d PLANES %0d cycle %0d: %h, expected %h", LANES, PLANES, t, got, want); $finish(1); end
                if (capture && shift) compared = compared + 1;
                if (want !== before) changed = changed + 1;
            end
            before = want;
        end
        if (compared < CYCLES / 8 || changed < CYCLES / 8 || (^want) === 1'bx) begin $display("FAIL nothing was compared"); $finish(1); end
        $display("LANES %0d PLANES %0d: %0d accumulators equal", LANES, PLANES, compared);
    end
endmodule
`default_nettype wire
