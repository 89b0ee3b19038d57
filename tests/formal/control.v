// Control runs each descriptor once and in order, from `first` on: all its words reach the units, each in its own cycle, before they are needed, and stay; it ends at END and nowhere else; the counters
// of a layer are the events of its RUN, none lost and none of another layer.
//
// Two descriptors of any content, one word of which is followed. Layers end when they like, from the eighth cycle of RUN on (a pass takes longer). A run is searched for 56 cycles from reset:
// two layers and END, or one layer that lasts. `counters`: each of the eight, with any events; its word in the memory when
// the next layer begins.
//@ files hw/control.v
//@ case opcode abc:54 KIND=0 INDEX=0 K=0
//@ case early abc:54 KIND=0 INDEX=1 K=17
//@ case last abc:58 KIND=0 INDEX=1 K=23
//@ case held abc:25 KIND=1 INDEX=0 K=5
//@ case counters abc:52 KIND=2 INDEX=0 K=0
//@ mutant early hw/control.v s/loading && k == w \+ 1/loading \&\& k == w/
//@ mutant early hw/control.v s/else if \(k == EARLY_K\)/else if (k == EARLY_K - 1)/
//@ mutant last hw/control.v s/index <= first;/index <= 1'b0;/
//@ mutant last hw/control.v s/state <= S_LOAD; index <= index \+ 1'b1/state <= S_LOAD; index <= index/
//@ mutant opcode hw/control.v s/k == 5'd8 && is_end/k == 5'd1 \&\& is_end/
//@ mutant held hw/control.v s/loading && !held\), .raddr/loading), .raddr/
//@ mutant counters hw/control.v s/count\[c == 0 \? 0 : c < HD_PERF_FETCH_WORDS \? c - 1 : c\]/count[c == 0 ? 0 : c <= HD_PERF_FETCH_WORDS ? c - 1 : c - 1]/
//@ mutant counters hw/control.v s/HD_DESC_EARLY \+ 32'd1 : 32'd0/HD_DESC_EARLY : 32'd0/
//@ mutant counters hw/control.v s/\(visit == c \? 5'd0 : some\) \+ more/visit == c ? 5'd0 : some + more/
`default_nettype none
module proof #(
    parameter KIND  = 0,            // 1: with LOAD held back; 2: counters
    parameter INDEX = 0,            // the followed word: its descriptor and place
    parameter K     = 0
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
    (* anyconst *) reg first;       // where the run begins
    wire [7:0] count = KIND == 2 ? any_count : 8'd0;
    control #(.DESCRIPTORS(2), .PERF(KIND == 2 ? 1 : 0)) u_control (
        .clk(clk), .rst_n(rst_n), .start(start), .first(first), .stall(held), .busy(busy), .done(done), .cycles(cycles),
        .h_desc_we(1'b0), .h_desc_addr(6'd0), .h_wdata(32'd0), .h_perf_re(1'b0), .h_perf_addr(4'd0), .h_perf_rdata(unread),
        .go(go), .go_post(go_post), .desc(desc), .word(word), .load(load), .layer_done(layer_done), .count(count));

    // ---- the followed word
    localparam [4:0] K_W = K;
    (* anyconst *) reg [31:0] value_w;
    (* hierconn *) wire [31:0] \u_control.u_desc.any ;
    (* hierconn *) wire [5:0] \u_control.u_desc.raddr ;
    (* hierconn *) wire       \u_control.u_desc.re ;
    always @* begin
        if (\u_control.u_desc.re && \u_control.u_desc.raddr == {INDEX[0], K_W}) assume (\u_control.u_desc.any == value_w);
    end

    // ---- the run as the page has it: 19 cycles of LOAD, RUN until the layer is done
    reg       loading = 0, running = 0, index, ended = 0;
    reg [5:0] at;                   // cycle of LOAD; of RUN, up to 63
    reg [5:0] run_at;
    reg [31:0] total;
    wire      is_end = desc[HD_F_OPCODE +: HD_W_OPCODE] == HD_OP_END;
    assign layer_done = running && run_at >= 8 && ((KIND != 2 && any_done) || run_at == 9);
    wire [31:0] held_word = desc[K*32 +: 32];
    wire load_w = load[K];
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
            if (K < HD_DESC_EARLY) begin
                assert (load_w == (at == K + 1));
                if (load_w && index == INDEX[0]) assert (word == value_w);
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
                if (K >= HD_DESC_EARLY) assert (load_w == (run_at == K - HD_DESC_EARLY));
            end else assert (load == 0);
            // All that units read at go is there, and all of it once go_post came; it stays.
            if (index == INDEX[0] && (K < HD_DESC_EARLY || run_at >= HD_DESC_WORDS - HD_DESC_EARLY)) assert (held_word == value_w);
            // END never runs.
            assert (!is_end);
            if (layer_done) begin
                running <= 0; loading <= 1; at <= 0; index <= index + 1;
            end
        end
        if (!busy && start) begin
            loading <= 1; at <= 0; index <= first; ended <= 0; total <= 0;
        end
        // What ends a run is END in the descriptor's own word.
        if (ended && K == 0 && index == INDEX[0] && !$past(ended)) assert (value_w[3:0] == HD_OP_END);
    end

    (* hierconn *) wire [2:0] \u_control.g_counters.u_perf.which ;
    (* hierconn *) wire \u_control.g_counters.u_perf.we ;
    (* hierconn *) wire [3:0] \u_control.g_counters.u_perf.waddr ;
    (* hierconn *) wire [31:0] \u_control.g_counters.u_perf.wdata ;
    generate if (KIND == 2) begin : g_counters
        (* anyconst *) reg [2:0] c;
        always @* assume (\u_control.g_counters.u_perf.which == c);
        wire [7:0] begins = c == HD_PERF_CYCLES ? HD_DESC_EARLY + 1 : 0;   // LOAD
        wire event_1 = c == HD_PERF_CYCLES ? 1'b1 : c == HD_PERF_STEPS ? count[0] : c == HD_PERF_WAIT_WINDOW ? count[1] : c == HD_PERF_WAIT_DRAIN ? count[2]
                     : c == HD_PERF_FETCH_WORDS ? count[3] : count[c], event_2 = c == HD_PERF_FETCH_WORDS && count[3] && count[4];
        reg [7:0] tally, due;           // of this layer; of the one before
        reg [7:0] kept;                 // what the memory has for the one before
        reg       due_index, have = 0;
        always @(posedge clk) if (rst_n) begin
            if (go) tally <= begins + event_1 + event_2;
            else if (running) tally <= tally + event_1 + event_2;
            if (layer_done) begin
                due <= tally + event_1 + event_2; due_index <= index; have <= 1;
            end
            if (\u_control.g_counters.u_perf.we && \u_control.g_counters.u_perf.waddr == {due_index, c} && loading) kept <= \u_control.g_counters.u_perf.wdata [7:0];
            if (have && go) assert (kept == due);
        end
    end endgenerate
endmodule

// Stands for the descriptor memory, which is not written here: what it reads is anything, but for the followed word. Of the counters' memory the followed one is kept.
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
    (* anyconst *) reg [2:0] which;
    generate if (DEPTH == 64) begin : g_any
        always @(posedge clk) if (re) rdata <= any;
    end else begin : g_words
        // The counter that is followed, of either record.
        reg [WIDTH-1:0] word_0, word_1;
        always @(posedge clk) begin
            if (we && waddr[2:0] == which) begin
                if (waddr[3]) word_1 <= wdata; else word_0 <= wdata;
            end
            if (re) rdata <= raddr[2:0] != which ? any : raddr[3] ? word_1 : word_0;
        end
    end endgenerate
endmodule
`default_nettype wire
