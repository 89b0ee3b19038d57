// Issues the entries of the weight stream to the array, one a cycle, pass after pass.
//
// An entry waits for its window word, a tile's last entry also for the drain of the tile before; after issue nothing waits.
// The index entry and its position `pc` are two steps ahead: a memory read and a register. With RESIDUAL 1, RES cycles after a tile's last entry the
// window memory is read for post instead (`r_read`), and nothing issues in that cycle.
//
// Latency: first entry three cycles after `go`. Stall rule: `stall` holds back issue (tests only).
// Parameters: WW address bits of a window buffer, 4 to 12; SW address bits of the stream; AW of the activation memory; COLS; RES cycles from a LAST entry to its residual read, 2 or more;
// DRAIN cycles of a column on the drain; RESIDUAL 0: no residuals, 1: post reads them in the window memory, 2: in a memory of its own, and hands the pass's buffers
// back by `pass_over`. EXTERN 1: the stream memory is a ring that hw/loader.v fills, and an entry also waits until it is loaded.
`default_nettype none
module sequencer #(
    parameter WW  = 8,
    parameter SW  = 10,
    parameter AW  = 12,
    parameter COLS = 8,
    parameter RES = 10,
    parameter DRAIN = 1,
    parameter RESIDUAL = 1,
    parameter EXTERN = 0
) (
    // verilator lint_off UNUSEDSIGNAL
    // Fields are as wide as the contract, small memories use fewer bits; where residual words lie decides what is read.
    input  wire          clk,
    input  wire          rst_n,
    input  wire          go,
    input  wire [767:0]  desc,
    input  wire [31:0]   word,         // of the descriptor, as it loads (control.v)
    input  wire [23:0]   load,
    input  wire          stall,
    // the writer of the index memory: the host or the loader
    input  wire          h_we,
    input  wire [SW-1:0] h_addr,
    input  wire [15:0]   h_wdata,
    input  wire [SW:0]   loaded,       // EXTERN: entries loaded since the run began, modulo twice the ring
    output wire          freed,        // EXTERN: an entry was issued for the last time
    // from fetch
    input  wire [WW:0]   fill,
    input  wire [1:0]    fills_done,
    input  wire [WW-1:0] res_base,
    input  wire          pass_over,    // RESIDUAL 2: post has read a pass's residuals
    output wire          released,
    // to window memory and array
    output wire          w_re,
    output wire          w_buf,
    output wire [WW-1:0] w_addr,
    output wire          s_valid,
    output wire          s_first,      // first step of a tile
    output wire          s_last,
    output wire          s_final,      // with s_last: final tile of the pass
    output wire [SW-1:0] s_pc,
    output wire          r_read,
    // counters
    output wire          cnt_step,
    output wire          cnt_window,
    output wire          cnt_drain,
    output wire          cnt_stream,
    output wire          cnt_stall
);
`include "heddle_contract.vh"
    // With EXTERN entries are counted over the whole program; the low bits are the place in the ring.
    localparam PC = EXTERN != 0 ? HD_W_STREAM_LAST : SW;
    wire [PC-1:0] f_first = desc[HD_F_STREAM_FIRST +: PC], f_last = desc[HD_F_STREAM_LAST +: PC];
    localparam TCB = $clog2(COLS + 1);
    wire [TCB-1:0] f_tile_cols = desc[HD_F_TILE_COLS +: TCB], f_last_cols = desc[HD_F_LAST_COLS +: TCB];
    wire [7:0]    f_res_tiles = desc[HD_F_RES_TILES +: 8];
    wire          f_residual = RESIDUAL != 0 && desc[HD_F_RESIDUAL];
    wire          f_conv = desc[HD_F_OPCODE +: HD_W_OPCODE] == HD_OP_CONV;

    // ---- read ahead
    reg           reading, rd_valid, rd_end, ix_valid, ix_end;
    reg [PC-1:0]  pc;
    reg [SW-1:0]  rd_pc, ix_pc;
    reg           rd_over, ix_over;     // of the layer's last pass
    reg [AW:0]    passes_left;
    wire          one_pass = passes_left == {{AW{1'b0}}, 1'b1};
    wire [15:0]   rd;
    reg  [15:0]   ix;                 // a register: the memory's output is too late for the choice to issue
    wire          issue;
    wire          move = rd_valid && (!ix_valid || issue);
    wire          there_to_read;
    wire          advance = reading && there_to_read && (!rd_valid || move);
    generate if (EXTERN != 0) begin : g_extern
        reg [1:0] began;
        assign there_to_read = pc[SW:0] != loaded;
        assign freed = issue && ix_over;
        assign cnt_stream = began[1] && (reading || rd_valid) && !ix_valid && !stall;
        always @(posedge clk) began <= go || !rst_n ? 2'd0 : {began[0], 1'b1};
    end else begin : g_intern
        assign there_to_read = 1'b1;
        assign freed = 1'b0;
        assign cnt_stream = 1'b0;
        wire unused = &loaded;
    end endgenerate

    ram_index #(.DEPTH(1 << SW)) u_index (
        .clk(clk), .we(h_we), .waddr(h_addr), .wdata(h_wdata), .re(advance), .raddr(pc[SW-1:0]), .rdata(rd));

    always @(posedge clk) begin
        if (!rst_n) begin
            reading <= 1'b0; rd_valid <= 1'b0; ix_valid <= 1'b0;
        end else if (go) begin
            reading <= f_conv; rd_valid <= 1'b0; ix_valid <= 1'b0;
        end else begin
            if (advance && pc == f_last && one_pass) reading <= 1'b0;
            if (advance) rd_valid <= 1'b1;
            else if (move) rd_valid <= 1'b0;
            if (move) ix_valid <= 1'b1;
            else if (issue) ix_valid <= 1'b0;
        end
        if (go) begin
            pc <= f_first;
        end else if (advance) begin
            pc <= pc == f_last ? f_first : pc + 1'b1;
            if (pc == f_last) passes_left <= passes_left - 1'b1;
            rd_pc <= pc[SW-1:0]; rd_end <= pc == f_last; rd_over <= one_pass;
        end
        if (load[HD_F_PASSES / 32]) passes_left <= word[HD_F_PASSES % 32 +: AW+1];      // no more than the memory has words for
        if (move) begin
            ix <= rd; ix_pc <= rd_pc; ix_end <= rd_end; ix_over <= rd_over;
        end
    end

    // ---- issue
    wire [WW-1:0] ix_addr = ix[HD_I_ADDRESS +: WW];
    wire        ix_last = ix[HD_I_LAST], ix_final = ix[HD_I_FINAL];
    reg [1:0]   pass;                   // passes issued, modulo 4
    reg [TCB-1:0] spacing;                // columns, and cycles of the current one, until the next LAST may issue
    wire        column_over;
    reg         first;
    // A pass ends only with its window complete (the buffer is handed back whole); a residual is read after its tile's LAST.
    wire        whole = ix_end || (ix_last && f_residual);
    wire        there = fills_done != pass || (!whole && {1'b0, ix_addr} < fill);
    wire        drained = !ix_last || (spacing == {TCB{1'b0}} && column_over);
    wire        res_now;
    assign issue = ix_valid && there && drained && !res_now && !stall;

    always @(posedge clk) begin
        if (!rst_n || go) begin
            pass <= 2'd0; spacing <= {TCB{1'b0}}; first <= 1'b1;
        end else begin
            if (issue) first <= ix_last;
            if (issue && ix_end) pass <= pass + 1'b1;
            if (issue && ix_last) spacing <= (ix_final ? f_last_cols : f_tile_cols) - 1'b1;
            else if (spacing != {TCB{1'b0}} && column_over) spacing <= spacing - 1'b1;
        end
    end
    generate if (DRAIN == 1) begin : g_fast_drain
        assign column_over = 1'b1;
    end else begin : g_slow_drain
        localparam DB = $clog2(DRAIN);
        localparam [31:0] MORE32 = DRAIN - 1;
        localparam [DB-1:0] MORE = MORE32[DB-1:0];
        reg [DB-1:0] more;
        assign column_over = more == {DB{1'b0}};
        always @(posedge clk)
            if (!rst_n || go) more <= {DB{1'b0}};
            else if ((issue && ix_last) || (spacing != {TCB{1'b0}} && column_over)) more <= MORE;
            else if (!column_over) more <= more - 1'b1;
    end endgenerate

    // ---- residual reads, RES cycles after each LAST
    generate if (RESIDUAL == 1) begin : g_residual
        reg [RES-1:0] res_due, res_final;
        reg [7:0]     res_tile;
        reg [WW-1:0]  res_word;
        reg           res_buf;
        assign res_now = res_due[RES-1];
        always @(posedge clk) begin
            if (!rst_n || go) begin
                res_due <= {RES{1'b0}}; res_tile <= 8'd0; res_word <= {WW{1'b0}}; res_buf <= 1'b0;
            end else begin
                res_due <= {res_due[RES-2:0], issue && ix_last && f_residual};
                if (res_now && res_final[RES-1]) begin
                    res_tile <= 8'd0; res_word <= {WW{1'b0}}; res_buf <= ~res_buf;
                end else if (res_now) begin
                    if (res_tile + 1'b1 == f_res_tiles) begin
                        res_tile <= 8'd0; res_word <= res_word + 1'b1;
                    end else res_tile <= res_tile + 1'b1;
                end
            end
            res_final <= {res_final[RES-2:0], ix_final};
        end
        assign released = f_residual ? res_now && res_final[RES-1] : issue && ix_end;
        assign w_buf = res_now ? res_buf : pass[0];
        assign w_addr = res_now ? res_base + res_word : ix_addr;
    end else begin : g_no_window_residual
        assign res_now = 1'b0;
        assign released = f_residual ? pass_over : issue && ix_end;
        assign w_buf = pass[0];
        assign w_addr = ix_addr;
    end endgenerate
    assign w_re = issue || res_now;
    assign r_read = res_now;
    assign s_valid = issue;
    assign s_first = first;
    assign s_last = ix_last;
    assign s_final = ix_final;
    assign s_pc = ix_pc;

    assign cnt_step = issue;
    assign cnt_window = ix_valid && !there && !stall;
    assign cnt_drain = ix_valid && there && !(drained && !res_now) && !stall;
    assign cnt_stall = ix_valid && stall;
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
