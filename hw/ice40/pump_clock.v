// The clock of everything but the array: clk_fast divided by PUMP, through a global buffer.
//
// clk lags behind clk_fast by the way from a flip-flop through the buffer. The crossings allow that (hw/datapath_pumped.v): they happen in the middle
// of clk's cycle, so the lag and the crossing path together may take a cycle of clk_fast (PUMP 2) or two (PUMP 4).
// Parameter: PUMP 2 or 4.
`default_nettype none
module pump_clock #(
    parameter PUMP = 4
) (
    input  wire clk_fast,
    output wire clk,
    output reg  fast_take       // high in the cycle of clk_fast that ends in the middle of clk's
);
    reg a = 1'b0, b = 1'b0;     // a rises with clk; with PUMP 4 b follows it
    always @(posedge clk_fast) begin
        a <= PUMP == 2 ? !a : !b;
        b <= a;
        fast_take <= PUMP == 2 ? !a : a && !b;
    end
    SB_GB u_buffer (.USER_SIGNAL_TO_GLOBAL_BUFFER(a), .GLOBAL_BUFFER_OUTPUT(clk));
endmodule
`default_nettype wire
