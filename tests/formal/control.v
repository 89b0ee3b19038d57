// Control runs each descriptor once and in order: all its words reach the units, each in its own cycle, before they are needed, and stay; it ends at END and nowhere else; the counters
// of a layer are the events of its RUN, none lost and none of another layer.
//
// Two descriptors of any content, one word of which, any, is followed. Layers end when they like, from the eighth cycle of RUN on (a pass takes longer). A run is searched for 56 cycles from reset:
// two layers and END, or one layer that lasts. `counters`: one counter of the eight, any, with any events; its word in the memory when the next layer begins.
//@ files hw/control.v
//@ smtbmc --unroll
//@ case order bmc:56 KIND=0
//@ case held bmc:40 KIND=1
//@ case counters bmc:52 KIND=2
//@ mutant order hw/control.v s/loading && k == w \+ 1/loading \&\& k == w/
//@ mutant order hw/control.v s/else if \(k == EARLY_K\)/else if (k == EARLY_K - 1)/
//@ mutant order hw/control.v s/state <= S_LOAD; index <= index \+ 1'b1/state <= S_LOAD; index <= index/
//@ mutant order hw/control.v s/k == 5'd8 && is_end/k == 5'd1 \&\& is_end/
//@ mutant held hw/control.v s/loading && !held\), .raddr/loading), .raddr/
//@ mutant counters hw/control.v s/\(visit == c \? 5'd0 : some\) \+ more/visit == c ? 5'd0 : some + more/
//@ mutant counters hw/control.v s/record_1 <= flushing \? index_before : index;/record_1 <= index;/
`default_nettype none
module proof #(
    parameter KIND = 0              // 1: with LOAD held back; 2: counters
) (
    input wire       clk,
    input wire       stall, any_done,
    input wire [7:0] any_count
);
`include "heddle_contract.vh"
    reg [6:0] age = 0;
    always @(posedge clk) if (age != 127) age <= age + 1;
    wire rst_n = age != 0, start = age == 1, held = KIND == 1 && stall;
    wire busy, done, go, go_post;
    wire [31:0] cycles, word, unread;
    wire [767:0] desc;
    wire [23:0] load;
    wire layer_done;
    wire [7:0] count = KIND == 2 ? any_count : 8'd0;
    control #(.DESCRIPTORS(2), .PERF(KIND == 2 ? 1 : 0)) u_control (
        .clk(clk), .rst_n(rst_n), .start(start), .stall(held), .busy(busy), .done(done), .cycles(cycles),
        .h_desc_we(1'b0), .h_desc_addr(6'd0), .h_wdata(32'd0), .h_perf_re(1'b0), .h_perf_addr(4'd0), .h_perf_rdata(unread),
        .go(go), .go_post(go_post), .desc(desc), .word(word), .load(load), .layer_done(layer_done), .count(count));

    // ---- the followed word
    (* anyconst *) reg        index_w;
    (* anyconst *) reg [4:0]  k_w;
    (* anyconst *) reg [31:0] value_w;
    (* hierconn *) wire [31:0] \u_control.u_desc.any ;
    (* hierconn *) wire [5:0] \u_control.u_desc.raddr ;
    (* hierconn *) wire       \u_control.u_desc.re ;
    always @* begin
        assume (k_w < HD_DESC_WORDS);
        if (\u_control.u_desc.re && \u_control.u_desc.raddr == {index_w, k_w}) assume (\u_control.u_desc.any == value_w);
    end

    // ---- the run as the page has it: 19 cycles of LOAD, RUN until the layer is done
    reg       loading = 0, running = 0, index, ended = 0;
    reg [5:0] at;                   // cycle of LOAD; of RUN, up to 63
    reg [5:0] run_at;
    reg [31:0] total;
    wire      is_end = desc[HD_F_OPCODE +: HD_W_OPCODE] == HD_OP_END;
    assign layer_done = running && run_at >= 8 && (any_done || run_at == 9);
    reg [31:0] held_word;
    reg        load_w;
    integer w;
    always @* begin
        held_word = 0; load_w = 0;
        for (w = 0; w < 24; w = w + 1) if (k_w == w) begin
            held_word = desc[w*32 +: 32]; load_w = load[w];
        end
    end
    always @(posedge clk) if (rst_n) begin
        assert (busy == (loading || running));
        assert (go == (running && run_at == 0));
        assert (go_post == (running && run_at == HD_DESC_WORDS - HD_DESC_EARLY));
        assert (done == ended);
        if (busy || done) assert (cycles == total);
        total <= !busy ? (start ? 0 : total) : total + 1;
        if (loading && !held) begin
            at <= at + 1;
            // The followed word: once, in its cycle.
            if (k_w < HD_DESC_EARLY) begin
                assert (load_w == (at == k_w + 1));
                if (load_w && index == index_w) assert (word == value_w);
            end
            if (at == 8 && is_end) begin
                loading <= 0; ended <= 1;
            end else if (at == HD_DESC_EARLY) begin
                loading <= 0; running <= 1; run_at <= 0;
            end
        end
        if (running) begin
            if (run_at != 63) run_at <= run_at + 1;
            if (run_at < HD_DESC_WORDS - HD_DESC_EARLY) begin
                if (k_w >= HD_DESC_EARLY) assert (load_w == (run_at == k_w - HD_DESC_EARLY));
            end else assert (load == 0);
            // All that units read at go is there, and all of it once go_post came; it stays.
            if (index == index_w && (k_w < HD_DESC_EARLY || run_at >= HD_DESC_WORDS - HD_DESC_EARLY)) assert (held_word == value_w);
            // END never runs.
            assert (!is_end);
            if (layer_done) begin
                running <= 0; loading <= 1; at <= 0; index <= index + 1;
            end
        end
        if (!busy && start) begin
            loading <= 1; at <= 0; index <= 0; ended <= 0; total <= 0;
        end
        // What ends a run is END in the descriptor's own word.
        if (ended && k_w == 0 && index == index_w && !$past(ended)) assert (value_w[3:0] == HD_OP_END);
    end

    generate if (KIND == 2) begin : g_counters
        (* anyconst *) reg [2:0] c;
        (* hierconn *) wire \u_control.g_counters.u_perf.we ;
        (* hierconn *) wire [3:0] \u_control.g_counters.u_perf.waddr ;
        (* hierconn *) wire [31:0] \u_control.g_counters.u_perf.wdata ;
        wire event_1 = c == HD_PERF_CYCLES || count[c < HD_PERF_FETCH_WORDS ? c - 1 : c == HD_PERF_FETCH_WORDS ? 3 : c];
        wire event_2 = c == HD_PERF_FETCH_WORDS && count[3] && count[4];
        reg [7:0] tally, due;           // of this layer; of the one before
        reg [7:0] kept;                 // what the memory has for the one before
        reg       due_index, have = 0;
        always @(posedge clk) if (rst_n) begin
            if (go) tally <= (c == HD_PERF_CYCLES ? HD_DESC_EARLY + 1 : 0) + event_1 + event_2;
            else if (running) tally <= tally + event_1 + event_2;
            if (layer_done) begin
                due <= tally + event_1 + event_2; due_index <= index; have <= 1;
            end
            if (\u_control.g_counters.u_perf.we && \u_control.g_counters.u_perf.waddr == {due_index, c} && loading) kept <= \u_control.g_counters.u_perf.wdata [7:0];
            if (have && go) assert (kept == due);
        end
    end endgenerate
endmodule

// Stands for the descriptor memory, which is not written here: what it reads is anything, but for the followed word. The counters' memory is one.
module ram_sdp #(
    parameter WIDTH = 32,
    parameter DEPTH = 64
) (
    input  wire                     clk,
    input  wire                     we,
    input  wire [$clog2(DEPTH)-1:0] waddr,
    input  wire [WIDTH-1:0]         wdata,
    input  wire                     re,
    input  wire [$clog2(DEPTH)-1:0] raddr,
    output reg  [WIDTH-1:0]         rdata
);
    (* anyseq *) wire [WIDTH-1:0] any;
    generate if (DEPTH == 64) begin : g_any
        always @(posedge clk) if (re) rdata <= any;
    end else begin : g_memory
        reg [WIDTH-1:0] mem [0:DEPTH-1];
        always @(posedge clk) begin
            if (we) mem[waddr] <= wdata;
            if (re) rdata <= mem[raddr];
        end
    end endgenerate
endmodule
`default_nettype wire
