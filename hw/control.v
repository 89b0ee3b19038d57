// Runs a list of descriptors: loads one, starts the units, waits for the layer's last write, records the
// performance counters, goes on to the next; stops at END.
//
// Timing: HD_DESC_EARLY words are loaded in HD_DESC_EARLY + 1 cycles of LOAD; `go` is high in the first cycle of RUN, while the last words,
// which only post reads, still arrive; `go_post` is high when the descriptor is whole. `desc` is then stable until the next LOAD. While the
// next descriptor loads, the counters of the one before are written to the performance memory.
// Stall rule: `stall` holds LOAD back (tests only); nothing else waits here.
//
// Parameters: DESCRIPTORS, how many the descriptor memory holds, a power of two, 2 or more.
`default_nettype none
module control #(
    parameter DESCRIPTORS = 64,
    parameter DW = $clog2(DESCRIPTORS)
) (
    input  wire           clk,
    input  wire           rst_n,
    input  wire           start,        // one cycle, while not busy
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
    reg [31:0]   layer_cycles;
    reg [31:0]   c_steps, c_window, c_drain, c_fetch, c_buffer, c_writes, c_injected;
    wire [31:0]  desc_word;
    reg          loading;               // words still to come; only the first EARLY_K can be held back
    wire         held = stall && state == S_LOAD;

    ram_sdp #(.WIDTH(32), .DEPTH(DESCRIPTORS * 32)) u_desc (
        .clk(clk), .we(h_desc_we), .waddr(h_desc_addr), .wdata(h_wdata),
        .re(loading && !held), .raddr({index, k}), .rdata(desc_word));

    reg [31:0] perf_word;
    always @* begin
        case (k[2:0])
            HD_PERF_CYCLES:      perf_word = layer_cycles;
            HD_PERF_STEPS:       perf_word = c_steps;
            HD_PERF_WAIT_WINDOW: perf_word = c_window;
            HD_PERF_WAIT_DRAIN:  perf_word = c_drain;
            HD_PERF_FETCH_WORDS: perf_word = c_fetch;
            HD_PERF_WAIT_BUFFER: perf_word = c_buffer;
            HD_PERF_WRITES:      perf_word = c_writes;
            default:             perf_word = c_injected;
        endcase
    end
    wire perf_we = state == S_LOAD && recorded && k < 5'd8 && !stall;
    wire [DW-1:0] index_before = index - 1'b1;
    ram_sdp #(.WIDTH(32), .DEPTH(DESCRIPTORS * 8)) u_perf (
        .clk(clk), .we(perf_we), .waddr({index_before, k[2:0]}), .wdata(perf_word),
        .re(h_perf_re), .raddr(h_perf_addr), .rdata(h_perf_rdata));

    // Word w of the descriptor arrives in the cycle in which k is w + 1.
    genvar w;
    generate for (w = 0; w < 24; w = w + 1) begin : g_word
        always @(posedge clk)
            if (loading && k == w + 1) desc[w*32 +: 32] <= desc_word;
    end endgenerate

    wire is_end = desc[HD_F_OPCODE +: HD_W_OPCODE] == HD_OP_END;

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
                    index <= {DW{1'b0}}; k <= 5'd0; recorded <= 1'b0; loading <= 1'b1;
                end
                S_LOAD: if (!stall) begin
                    // END is known from k = 2 on; k = 8 has recorded the counters.
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

    always @(posedge clk) begin
        if (state == S_LOAD && k == 5'd0 && !stall) layer_cycles <= 32'd1;
        else layer_cycles <= layer_cycles + 1'b1;
        if (go) begin
            c_steps <= 32'd0; c_window <= 32'd0; c_drain <= 32'd0; c_fetch <= 32'd0;
            c_buffer <= 32'd0; c_writes <= 32'd0; c_injected <= 32'd0;
        end else if (state == S_RUN) begin
            if (count[0]) c_steps    <= c_steps + 1'b1;
            if (count[1]) c_window   <= c_window + 1'b1;
            if (count[2]) c_drain    <= c_drain + 1'b1;
            if (count[3]) c_fetch    <= c_fetch + (count[4] ? 32'd2 : 32'd1);
            if (count[5]) c_buffer   <= c_buffer + 1'b1;
            if (count[6]) c_writes   <= c_writes + 1'b1;
            if (count[7]) c_injected <= c_injected + 1'b1;
        end
    end
endmodule
`default_nettype wire
