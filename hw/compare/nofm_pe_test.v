// nofm_pe against its definition: random activations, places and weight codes, tiles of random length; every captured sum is
// sum over steps, planes p and lanes l of 2^p * sign(p, l) * activation(group of l, place of l), less what one's complement leaves out (formats.md section 2).
`default_nettype none
module nofm_pe_test;
    parameter LANES = 8, PLANES = 2, ACC_BITS = 24, N = 2, M = 4, TILES = 300;
    localparam MB = $clog2(M), LATE = 3 + $clog2(LANES / 2) + (PLANES == 1 ? 0 : PLANES == 2 ? 1 : 2);
    reg clk = 0;
    always #1 clk = !clk;
    reg  [LANES/N*M*8-1:0]  a;
    reg  [LANES*MB-1:0]     at;
    reg  [LANES*PLANES-1:0] w;
    reg  valid = 0, first = 0, last = 0;
    wire en, first_late, capture;
    delay #(.WIDTH(2), .N(LATE)) u_en (.clk(clk), .x({valid, first}), .y({en, first_late}));
    delay #(.WIDTH(1), .N(LATE + 1)) u_capture (.clk(clk), .x(valid && last), .y(capture));
    wire [ACC_BITS-1:0] drain;
    nofm_pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS), .N(N), .M(M)) u_pe (
        .clk(clk), .a(a), .at(at), .w(w), .en(en === 1'b1), .first(first_late), .capture(capture === 1'b1), .shift(1'b1), .drain_in({ACC_BITS{1'b0}}), .drain(drain));

    integer sum, tile, step, steps, l, p, x, i, place, failed = 0, seen = 0, told = 0;
    integer want [0:TILES-1];
    reg sel, neg, negative, captured = 0;
    initial begin
        for (tile = 0; tile < TILES; tile = tile + 1) begin
            steps = 1 + {$random} % 7;
            sum = 0;
            for (step = 0; step < steps; step = step + 1) begin
                for (i = 0; i < LANES/N*M; i = i + 1) a[i*8 +: 8] = $random;
                for (i = 0; i < LANES; i = i + 1) at[i*MB +: MB] = $random;
                for (i = 0; i < LANES*PLANES; i = i + 1) w[i] = $random;
                for (p = 0; p < PLANES; p = p + 1)
                    for (l = 0; l < LANES; l = l + 1) begin
                        sel = w[p*LANES + l/2*2]; neg = w[p*LANES + l/2*2 + 1];
                        negative = l % 2 ? neg ^ sel : neg;
                        place = l/N*M + at[l*MB +: MB];
                        x = a[place*8 +: 8]; if (x > 127) x = x - 256;
                        sum = sum + (negative ? -x : x) * (1 << p);
                        if (l % 2 == 0 && neg) sum = sum - (1 << p);
                    end
                valid = 1; first = step == 0; last = step == steps - 1;
                @(negedge clk);
            end
            want[told] = sum; told = told + 1;
            valid = 0; first = 0; last = 0;
            if ({$random} % 3 == 0) @(negedge clk);
        end
        repeat (LATE + 8) @(negedge clk);
        if (seen != TILES) begin $display("FAIL %0d of %0d tiles came out", seen, TILES); failed = 1; end
        $display("nofm_pe LANES %0d PLANES %0d, %0d of %0d: %0d tiles", LANES, PLANES, N, M, seen);
        $finish;
    end
    always @(negedge clk) begin
        // The cycle after a capture the shadow register holds the tile's sum.
        if (captured) begin
            if ($signed(drain) !== want[seen]) begin
                if (!failed) $display("FAIL tile %0d: %0d, definition %0d", seen, $signed(drain), want[seen]);
                failed = 1;
            end
            seen = seen + 1;
        end
        captured = capture === 1'b1;
    end
endmodule
`default_nettype wire
