// A FIFO of bytes whose writes become visible at `w_commit` and whose reads are forgotten at `r_commit`; `w_abandon` and `r_abandon` take back what came since. A side
// that needs none of this ties its commit to 1.
//
// Latency: a byte can be read two cycles after its commit; `r_data` goes with `r_valid`, and in the cycle after `read` it is the next byte: one a cycle.
// `free` counts bytes that can still be written, `waiting` committed bytes that are not yet forgotten. `whole`: nothing since the last commit or
// abandon was written into a full FIFO.
// Parameter: BITS, 2^BITS bytes (one block RAM at 9).
`default_nettype none
module fifo_commit #(
    parameter BITS = 9
) (
    input  wire          clk,
    input  wire          clear,
    input  wire          write,
    input  wire [7:0]    w_data,
    input  wire          w_commit,
    input  wire          w_abandon,
    output wire [BITS:0] free,
    output reg           whole,
    input  wire          read,
    output reg  [7:0]    r_data,
    output wire          r_valid,
    input  wire          r_commit,
    input  wire          r_abandon,
    output wire [BITS:0] waiting
);
    (* no_rw_check *) reg [7:0] mem [0:(1 << BITS)-1];
    localparam [BITS:0] SIZE = 1 << BITS;
    // One bit more than an address: their differences are counts.
    reg [BITS:0] w_try, w_done, r_try, r_done;
    wire [BITS:0] used = w_try - r_done;
    assign free = SIZE - used;
    assign waiting = w_done - r_done;
    wire fits = used != SIZE;
    reg fetched;                        // r_data is the byte at r_try
    assign r_valid = fetched;
    wire [BITS:0] r_next = r_abandon ? r_done : r_try + {{BITS{1'b0}}, read};
    wire [BITS:0] w_next = w_try + {{BITS{1'b0}}, write && fits};
    always @(posedge clk) begin
        if (write && fits) mem[w_try[BITS-1:0]] <= w_data;
        r_data <= mem[r_next[BITS-1:0]];
        if (clear) begin
            w_try <= {(BITS+1){1'b0}}; w_done <= {(BITS+1){1'b0}}; r_try <= {(BITS+1){1'b0}}; r_done <= {(BITS+1){1'b0}}; fetched <= 1'b0; whole <= 1'b1;
        end else begin
            w_try <= w_abandon ? w_done : w_next;
            if (w_commit && !w_abandon) w_done <= w_next;
            whole <= w_abandon || w_commit || (whole && !(write && !fits));
            r_try <= r_next;
            if (r_commit) r_done <= r_next;
            fetched <= r_next != w_done;
        end
    end
endmodule
`default_nettype wire
