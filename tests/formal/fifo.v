// A FIFO whose writes and reads can be taken back neither loses nor invents bytes, and never holds more than its size.
//
// `counts`: the four places of hw/lib/fifo_commit.v stay in order (forgotten, read, committed, written) and at most a FIFO apart, for every history; `whole`
// tells whether a write since the last commit found it full. `bytes`: every byte read is the one written, through commits and take-backs on both sides, against a
// list that nothing is ever removed from.
//@ files hw/lib/fifo_commit.v
//@ case counts induct:2 KIND=0
//@ case bytes bmc:9 KIND=1
//@ mutant counts hw/lib/fifo_commit.v s/fits = used != SIZE/fits = 1'b1/
//@ mutant counts hw/lib/fifo_commit.v s/if \(w_commit && !w_abandon\)/if (w_commit)/
//@ mutant bytes hw/lib/fifo_commit.v s/w_abandon \? w_done : w_next/w_next/
//@ mutant bytes hw/lib/fifo_commit.v s/r_abandon \? r_done : r_try \+/r_try +/
//@ mutant bytes hw/lib/fifo_commit.v s/fetched <= r_next != w_done/fetched <= r_try != w_done/
`default_nettype none
module proof #(
    parameter KIND = 0
) (
    input wire        clk,
    input wire        write, w_commit, w_abandon, read, r_commit, r_abandon, clear,
    input wire [7:0]  w_data
);
    reg begun = 0;
    always @(posedge clk) begun <= 1;

    localparam BITS = KIND == 0 ? 2 : 1;
    wire [BITS:0] free, waiting;
    wire whole, r_valid;
    wire [7:0] r_data;
    fifo_commit #(.BITS(BITS)) u_fifo (.clk(clk), .clear(!begun || clear), .write(write), .w_data(w_data), .w_commit(w_commit), .w_abandon(w_abandon), .free(free),
        .whole(whole), .read(read), .r_data(r_data), .r_valid(r_valid), .r_commit(r_commit), .r_abandon(r_abandon), .waiting(waiting));
    always @* assume (!read || r_valid);
    (* hierconn *) wire [BITS:0] \u_fifo.w_try , \u_fifo.w_done , \u_fifo.r_try , \u_fifo.r_done ;
    generate if (KIND == 0) begin : g_counts
        wire [BITS:0] written = \u_fifo.w_try - \u_fifo.r_done , committed = \u_fifo.w_done - \u_fifo.r_done ;
        wire [BITS:0] taken = \u_fifo.r_try - \u_fifo.r_done ;
        reg spilt;
        always @(posedge clk) begin
            if (!begun || clear || w_commit || w_abandon) spilt <= 0;
            else if (write && free == 0) spilt <= 1;
            if (begun) begin
                assert (taken <= committed && committed <= written && written <= 1 << BITS);
                assert (free == (1 << BITS) - written && waiting == committed);
                assert (!r_valid || taken != committed);
                assert (whole == !spilt);
            end
        end
    end else begin : g_bytes
        reg [7:0] list [0:15];
        reg [3:0] w_try = 0, w_done = 0, r_try = 0, r_done = 0;
        wire [3:0] w_next = w_try + (write && free != 0), r_next = r_abandon ? r_done : r_try + read;
        always @(posedge clk) begin
            if (!begun || clear) begin
                w_try <= 0; w_done <= 0; r_try <= 0; r_done <= 0;
            end else begin
                if (write && free != 0) list[w_try] <= w_data;
                w_try <= w_abandon ? w_done : w_next;
                if (w_commit && !w_abandon) w_done <= w_next;
                r_try <= r_next;
                if (r_commit) r_done <= r_next;
                if (r_valid) assert (r_data == list[r_try] && r_try != w_done);
            end
        end
    end endgenerate
endmodule
`default_nettype wire
