// Runs a list of descriptors from `first` on: loads one, starts the units, waits for the layer's last write, records the
// performance counters, goes on to the next; stops at END.
//
// Timing: HD_DESC_EARLY words are loaded in HD_DESC_EARLY + 1 cycles of LOAD; `go` is high in the first cycle of RUN, while the last words,
// which only post reads, still arrive; `go_post` is high when the descriptor is whole. `desc` is then stable until the next LOAD. While the
// next descriptor loads, the counters of the one before are finished.
// Counters: eight sums in the performance memory. Events collect in a few bits each; every cycle one of the eight is added to its word, in turn,
// so that there is one adder and no 32-bit register. A layer's last events take 10 cycles to arrive; its words are set to 0 (CYCLES: to the
// cycles of LOAD) before it runs.
// Stall rule: `stall` holds LOAD back (tests only); nothing else waits here.
//
// What a unit needs only at a layer's start it takes from `word` itself, in the cycle in which `load` has the word's bit: then no register waits for it here.
// Until the layer starts such a bit may be high for several cycles.
//
// Parameters: DESCRIPTORS, how many the descriptor memory holds, a power of two, 2 or more; PERF 0 leaves the counters out (their words read as 0).
`default_nettype none
module control #(
    parameter DESCRIPTORS = 64,
    parameter PERF = 1,
    parameter DW = $clog2(DESCRIPTORS)
) (
    input  wire           clk,
    input  wire           rst_n,
    input  wire           start,        // one cycle, while not busy
    input  wire [DW-1:0]  first,        // the descriptor that a run begins with
    input  wire           stall,
    output reg            busy,
    output reg            done,
    output reg  [31:0]    cycles,       // of the whole run
    // host side of the memories
    input  wire           h_desc_we,
    input  wire [DW+4:0]  h_desc_addr,
    input  wire [31:0]    h_wdata,
    input  wire           h_perf_re,
    input  wire [DW+2:0]  h_perf_addr,
    output wire [31:0]    h_perf_rdata,
    // units
    output reg            go,
    output reg            go_post,
    output reg  [767:0]   desc,
    output wire [31:0]    word,
    output wire [23:0]    load,
    input  wire           layer_done,
    input  wire [7:0]     count         // one bit a counter: steps, wait_window, wait_drain, fetch_words (two), wait_buffer, writes, injected
);
`include "heddle_contract.vh"
    localparam S_IDLE = 2'd0, S_LOAD = 2'd1, S_RUN = 2'd2;
    localparam EARLY_K = HD_DESC_EARLY[4:0], LAST_K = HD_DESC_WORDS[4:0];

    reg [1:0]    state;
    reg [DW-1:0] index;
    reg [4:0]    k;
    reg          recorded;              // the counters belong to descriptor index - 1
    wire [31:0]  desc_word;
    reg          loading;               // words still to come; only the first EARLY_K can be held back
    wire         held = stall && state == S_LOAD;

    ram_sdp #(.WIDTH(32), .DEPTH(DESCRIPTORS * 32)) u_desc (
        .clk(clk), .we(h_desc_we), .waddr(h_desc_addr), .wdata(h_wdata),
        .re(loading && !held), .raddr({index, k}), .rdata(desc_word));

    assign word = desc_word;
    wire is_end = desc[HD_F_OPCODE +: HD_W_OPCODE] == HD_OP_END;

    // ---- counters: visit (t), add (t + 1), write (t + 2)
    generate if (PERF == 0) begin : g_no_counters
        assign h_perf_rdata = 32'd0;
        wire unused = &{1'b0, recorded, is_end, h_perf_re, h_perf_addr, count};
    end else begin : g_counters
        reg  [2:0]  visit, visit_1, visit_2;
        reg  [4:0]  since;                  // cycles since the layer before ended: 8 to finish its words, 8 to clear the next
        reg  [DW-1:0] record_1, record_2;
        reg         use_1, use_2, clear_1;
        reg  [4:0]  part;
        reg  [31:0] sum;
        wire        flushing = !since[3] && !since[4], clearing = since[3];
        wire        running = state == S_RUN;
        wire [DW-1:0] index_before = index - 1'b1;
        wire [39:0] few;                    // events of each counter not yet added
        genvar c;
        for (c = 0; c < 8; c = c + 1) begin : g_counter
            // CYCLES counts all of RUN; FETCH_WORDS by two when a slot brings two.
            wire [4:0] more = !running ? 5'd0 : c == HD_PERF_CYCLES ? 5'd1 : c == HD_PERF_FETCH_WORDS ? {3'd0, count[3] && count[4], count[3] && !count[4]}
                            : {4'd0, count[c == 0 ? 0 : c < HD_PERF_FETCH_WORDS ? c - 1 : c]};
            reg [4:0] some;
            always @(posedge clk)
                if (!rst_n) some <= 5'd0;
                else some <= (visit == c ? 5'd0 : some) + more;
            assign few[c*5 +: 5] = some;
        end
        always @(posedge clk) begin
            if (!rst_n) begin
                visit <= 3'd0; use_1 <= 1'b0; use_2 <= 1'b0;
            end else begin
                visit <= visit + 1'b1;
                use_1 <= busy && (flushing ? recorded : clearing ? !is_end : running);
                use_2 <= use_1;
            end
            if (state == S_IDLE || (running && layer_done)) since <= 5'd0;
            else if (!since[4] && !held) since <= since + 1'b1;
            visit_1 <= visit; visit_2 <= visit_1;
            record_1 <= flushing ? index_before : index; record_2 <= record_1;
            clear_1 <= clearing;
            part <= few[visit*5 +: 5];
            sum <= clear_1 ? (visit_1 == HD_PERF_CYCLES ? HD_DESC_EARLY + 32'd1 : 32'd0) : h_perf_rdata + {27'd0, part};
        end
        ram_sdp #(.WIDTH(32), .DEPTH(DESCRIPTORS * 8)) u_perf (
            .clk(clk), .we(use_2), .waddr({record_2, visit_2}), .wdata(sum),
            .re(busy || h_perf_re), .raddr(busy ? {flushing ? index_before : index, visit} : h_perf_addr), .rdata(h_perf_rdata));
    end endgenerate

    // Word w of the descriptor arrives in the cycle in which k is w + 1.
    genvar w;
    generate for (w = 0; w < 24; w = w + 1) begin : g_word
        always @(posedge clk)
            if (load[w]) desc[w*32 +: 32] <= desc_word;
        assign load[w] = loading && k == w + 1;
    end endgenerate

    always @(posedge clk) begin
        if (!rst_n) begin
            state <= S_IDLE; busy <= 1'b0; done <= 1'b0; go <= 1'b0; go_post <= 1'b0; recorded <= 1'b0; loading <= 1'b0;
            index <= {DW{1'b0}}; k <= 5'd0; cycles <= 32'd0;
        end else begin
            go <= 1'b0;
            go_post <= loading && k == LAST_K;
            if (loading && !held) begin
                k <= k + 1'b1;
                if (k == LAST_K) loading <= 1'b0;
            end
            if (busy) cycles <= cycles + 1'b1;
            case (state)
                S_IDLE: if (start) begin
                    state <= S_LOAD; busy <= 1'b1; done <= 1'b0; cycles <= 32'd0;
                    index <= first; k <= 5'd0; recorded <= 1'b0; loading <= 1'b1;
                end
                S_LOAD: if (!stall) begin
                    // END is known from k = 2 on; by k = 8 each counter was visited for the last time.
                    if (k == 5'd8 && is_end) begin
                        state <= S_IDLE; busy <= 1'b0; done <= 1'b1; loading <= 1'b0;
                    end else if (k == EARLY_K) begin
                        state <= S_RUN; go <= 1'b1;
                    end
                end
                default: if (layer_done) begin
                    state <= S_LOAD; index <= index + 1'b1; k <= 5'd0; recorded <= 1'b1; loading <= 1'b1;
                end
            endcase
        end
    end
endmodule
`default_nettype wire
