// The accelerator: control, fetch, sequencer, datapath (window memory, array), post, pool, activation memory, host port.
//
//   h_* --> memories, registers          control --desc, go--> fetch, sequencer, post, pool
//   activation memory --> fetch --> datapath --> post --> activation memory
//
// Host port: 32-bit words, addresses as in docs/contract.md. A write takes one cycle, with PUMP above 1 three: address and data hold for two more. Read data is on h_rdata two cycles after h_re, with PUMP above 1
// three, with SLOT above 1 four, and then stays until the next h_re; then with SLOT above 1 the address must hold as long. While busy, only REG may be read and nothing written.
// With EXTERN h_wait is high while external memory is at work (and for 200 us after power-up): then nothing may be written, read or started,
// and read data of space WEIGHT is on h_rdata two cycles after h_wait has fallen.
// `stall` holds back fetch (0), array (1) and descriptor load (2): tests inject random stalls; boards tie it to 0.
//
// Parameters, all published in capability registers:
//   ROWS       positions at once, 1..16                 Requires: ROWS <= LANES
//   COLS       weight columns, 1..64
//   LANES      inputs a step, bytes of a word, 4..64    Requires: a power of two
//   PLANES     weight bit-planes a column               Requires: 1, 2 or 4
//   HOP        columns between operand registers        Requires: HOP >= COLS or HOP*LANES*PLANES a multiple of 32
//   ACC_BITS   accumulator, 16..32                      Requires: one bit more than a step of a column, 10 + log2(LANES/2) + 0, 2 or 4 for PLANES 1, 2 or 4
//   ACT_WORDS, WINDOW_WORDS (one buffer, 16..4096), STREAM_WORDS, PARAM_WORDS, DESCRIPTORS: memory depths.  Requires: powers of two
//   TABLES     256-byte tables, 0..16                   Requires: 0 or a power of two
//   RESIDUAL   1 builds the residual adder
//   FETCH      activation words a fetch slot brings     Requires: 1 or 2 (2 halves the depth of activation and window banks and doubles their number)
//   POST       0: a post lane each row. 1, 2, 4, 8, 16: one lane for all rows, so many cycles a value; a column then takes ROWS*POST cycles to drain.
//              Requires: ROWS*POST not 1
//   EXTERN     0, or log2 of the 32-bit words of external memory from which the weights come, 10..23: sdram and loader are built, and
//              STREAM_WORDS is a ring in front of the array. EXTERN_MHZ the clock, 16..133, for the memory's timing.
//   DECODE     which codes of the external stream are decoded, as in decode/decode.v; 0 none, and without EXTERN always 0
//   PUMP       cycles of clk_fast in one of clk: the array takes a step in so many parts of LANES/PUMP lanes (datapath_pumped.v)
//              Requires: 1, 2 or 4; LANES/PUMP of 4 or more; above 1 FETCH 1, POOL 0, EXTERN 0, ROWS*POST of 4 or more, with SLOT 1 also POST of 4 or more and RESIDUAL 0; HOP*LANES*PLANES above: HOP*LANES/PUMP*PLANES
//   SLOT       cycles of a fetch slot: with LANES/2 the activation memory is 16 bits wide
//              Requires: 1, or LANES/2 with POST of 1 or more, FETCH 1, POOL 0 and EXTERN 0
//   POOL       1 builds the unit for MAXPOOL
//   GATHER     1: a window address for each pair of lanes of an entry               Requires: 0, or 1 with EXTERN 0, PUMP 1, SLOT 1
//   SUMS       1 adds up the activations of each row, which EVEN subtracts; with 0 no layer has EVEN
//   PERF       1 builds the performance counters; with 0 they read as 0
// clk_fast and fast_take (high in the cycle of clk_fast that ends in the middle of clk's) are used with PUMP above 1 only; else tie them to 0.
`default_nettype none
module heddle_core #(
    parameter ROWS         = 4,
    parameter COLS         = 8,
    parameter LANES        = 8,
    parameter PLANES       = 2,
    parameter HOP          = 8,
    parameter ACC_BITS     = 24,
    parameter ACT_WORDS    = 4096,
    parameter WINDOW_WORDS = 128,
    parameter STREAM_WORDS = 1024,
    parameter PARAM_WORDS  = 256,
    parameter DESCRIPTORS  = 64,
    parameter TABLES       = 4,
    parameter RESIDUAL     = 1,
    parameter FETCH        = 1,
    parameter POST         = 0,
    parameter EXTERN       = 0,
    parameter EXTERN_MHZ   = 50,
    parameter DECODE       = 0,
    parameter PUMP         = 1,
    parameter POOL         = 1,
    parameter SLOT         = 1,
    parameter GATHER       = 0,
    parameter SUMS         = 1,
    parameter PERF         = 1
) (
    input  wire        clk,
    input  wire        clk_fast,
    input  wire        fast_take,
    input  wire        rst_n,
    input  wire        h_we,
    input  wire        h_re,
    input  wire [2:0]  h_space,
    input  wire [23:0] h_addr,
    input  wire [31:0] h_wdata,
    output reg  [31:0] h_rdata,
    input  wire [2:0]  stall,
    output wire        busy,
    output wire        done,
    output wire        h_wait,
    // external memory (hw/sdram.v); idle without EXTERN
    output wire [3:0]  sd_cmd,
    output wire [1:0]  sd_bank,
    output wire [12:0] sd_addr,
    output wire        sd_dqm,
    output wire [15:0] sd_out,
    output wire        sd_oe,
    input  wire [15:0] sd_in
);
`include "heddle_contract.vh"
    // The view for simulation has no second clock; its results and cycles are the same.
`ifdef HD_FAST_ARRAY
    localparam PUMPED = 0;
`else
    localparam PUMPED = PUMP > 1 ? 1 : 0;
`endif
    localparam AW = $clog2(ACT_WORDS), WW = $clog2(WINDOW_WORDS), SW = $clog2(STREAM_WORDS);
    localparam PW = $clog2(PARAM_WORDS), DW = $clog2(DESCRIPTORS);
    localparam PART = LANES / PUMP, PB = $clog2(PUMP);  // lanes of a weight element, and address bits of a step's elements
    localparam WORDS = (COLS * PART * PLANES + 31) / 32, CHUNK = WORDS == 1 ? 0 : $clog2(WORDS);
    localparam IC = GATHER != 0 ? $clog2(1 + LANES / 4) : 0;    // address bits of an index element's words
    localparam LW = LANES / 4, LC = $clog2(LW);         // 32-bit words of an activation word, and their address bits
    localparam LOG = $clog2(PART / 2), COMB = PLANES == 1 ? 0 : PLANES == 2 ? 1 : 2;
    localparam HOPS = (COLS + HOP - 1) / HOP - 1;
    localparam LATA = PUMP == 1 ? 6 + LOG + COMB + HOPS : 1 + (PUMP + 5 + LOG + COMB + HOPS + PUMP - 1) / PUMP;
    localparam DRAIN = POST == 0 ? 1 : ROWS * POST;      // cycles of a column on the drain
    localparam SERIAL = POST == 0 ? 0 : 1, TURN = POST == 0 ? 1 : POST, OUT = SERIAL != 0 ? ACC_BITS : ROWS * ACC_BITS;    // with one lane each row has its turn on the drain
    localparam KEEP = PUMPED != 0 && POST < 4 ? 1 : 0;   // post keeps the activation sums of the pumped array, which come too early for it

    generate
        if (ROWS < 1 || ROWS > 16 || ROWS > LANES) begin : g_rule_rows ROWS_must_be_1_to_16_and_at_most_LANES bad(); end
        if (COLS < 1 || COLS > 64) begin : g_rule_cols COLS_must_be_1_to_64 bad(); end
        if (LANES < 4 || LANES > 64 || LANES != (1 << $clog2(LANES))) begin : g_rule_lanes LANES_must_be_a_power_of_two_from_4_to_64 bad(); end
        if (PLANES != 1 && PLANES != 2 && PLANES != 4) begin : g_rule_planes PLANES_must_be_1_2_or_4 bad(); end
        if (HOP < 1 || (HOP < COLS && (HOP * PART * PLANES) % 32 != 0)) begin : g_rule_hop HOP_times_LANES_times_PLANES_must_be_a_multiple_of_32 bad(); end
        if (ACC_BITS > 32 || ACC_BITS < 10 + $clog2(LANES / 2) + 2 * (PLANES / 2)) begin : g_rule_acc ACC_BITS_must_be_32_or_less_and_hold_a_step_of_a_column bad(); end
        if (ACT_WORDS != (1 << AW) || WINDOW_WORDS != (1 << WW) || STREAM_WORDS != (1 << SW) || PARAM_WORDS != (1 << PW) || DESCRIPTORS != (1 << DW)) begin : g_rule_depth
            memory_depths_must_be_powers_of_two bad();
        end
        if (WINDOW_WORDS < 16 || WINDOW_WORDS > 4096) begin : g_rule_window WINDOW_WORDS_must_be_16_to_4096 bad(); end
        if (ACT_WORDS < 64 || ACT_WORDS > 4194304 || STREAM_WORDS < 16 || STREAM_WORDS > 4194304) begin : g_rule_size
            ACT_WORDS_and_STREAM_WORDS_out_of_range bad();
        end
        if (PARAM_WORDS < 16 || PARAM_WORDS > 65536 || DESCRIPTORS < 2 || DESCRIPTORS > 1024) begin : g_rule_small
            PARAM_WORDS_and_DESCRIPTORS_out_of_range bad();
        end
        if (FETCH != 1 && FETCH != 2) begin : g_rule_fetch FETCH_must_be_1_or_2 bad(); end
        if (POST != 0 && (ROWS * POST < 2 || POST > 16 || POST != (1 << $clog2(POST)))) begin : g_rule_post
            POST_must_be_0_1_2_4_8_or_16_and_ROWS_times_POST_not_1 bad();
        end
        if ((PUMP != 1 && PUMP != 2 && PUMP != 4) || LANES < 4 * PUMP) begin : g_rule_pump PUMP_must_be_1_2_or_4_and_LANES_4_times_it bad(); end
        if (PUMP > 1 && (ROWS * POST < 4 || FETCH != 1 || POOL != 0 || EXTERN != 0 || (SLOT == 1 && (POST < 4 || RESIDUAL != 0)))) begin : g_rule_pumped
            PUMP_above_1_needs_POST_of_4_or_more_FETCH_1_RESIDUAL_0_POOL_0_EXTERN_0 bad();
        end
        if (SLOT != 1 && (SLOT != LANES / 2 || POST == 0 || FETCH != 1 || POOL != 0 || EXTERN != 0)) begin : g_rule_slot
            SLOT_must_be_1_or_half_of_LANES_with_POST_FETCH_1_POOL_0_EXTERN_0 bad();
        end
        if (GATHER != 0 && (GATHER != 1 || EXTERN != 0 || PUMP != 1 || SLOT != 1)) begin : g_rule_gather GATHER_must_be_0_or_1_with_EXTERN_0_PUMP_1_SLOT_1 bad(); end
        if (DECODE != 0 && SUMS == 0) begin : g_rule_sums DECODE_needs_SUMS bad(); end
        if (TABLES < 0 || TABLES > 16 || (TABLES > 0 && TABLES != (1 << $clog2(TABLES)))) begin : g_rule_tables TABLES_must_be_0_or_a_power_of_two_to_16 bad(); end
    endgenerate

    // ---- host decode
    wire we_act    = h_we && h_space == HD_SPACE_ACT;
    wire we_weight = h_we && h_space == HD_SPACE_WEIGHT;
    wire we_index  = h_we && h_space == HD_SPACE_INDEX;
    wire we_param  = h_we && h_space == HD_SPACE_PARAM;
    wire we_desc   = h_we && h_space == HD_SPACE_DESC;
    wire we_table  = h_we && h_space == HD_SPACE_TABLE;
    // Memories at clk_fast are written a cycle later, so that from the choice of a space to their address there is a register; where they are single-port RAM,
    // also from the link's choice of the low bits. The rest of the address comes from registers and holds.
    wire act_write, weight_write;
    // verilator lint_off UNUSEDSIGNAL
    wire [23:0] far_addr;
    // verilator lint_on UNUSEDSIGNAL
    wire unused_write = &{1'b0, act_write, weight_write};      // some memories need neither
    generate if (PUMPED != 0) begin : g_write_later
        reg [1:0] later;
        always @(posedge clk) later <= {we_act, we_weight};
        assign {act_write, weight_write} = later;
    end else begin : g_write_now
        assign {act_write, weight_write} = {we_act, we_weight};
    end
    if (PUMPED != 0 && SLOT > 1) begin : g_address_later
        reg [4:0] chosen;
        always @(posedge clk) chosen <= h_addr[4:0];
        assign far_addr = {h_addr[23:5], chosen};
    end else begin : g_address_now
        assign far_addr = h_addr;
    end endgenerate
    wire start     = h_we && h_space == HD_SPACE_REG && h_addr[4:0] == HD_REG_CONTROL && h_wdata[0] && !busy;

    // ---- units
    wire         go, go_post, go_pool;
    wire [767:0] desc;
    wire [31:0]  desc_word;
    wire [23:0]  desc_load;
    wire [31:0]  cycles, perf_rdata;
    wire         released, post_done, pool_done, post_we, pool_we, f_re;
    wire         w_buf, s_re, s_buf, s_valid, s_first, s_last, s_final, r_read;
    wire         p_valid, p_first, p_last, p_slice, p_over, post_word;
    wire         cnt_stream, freed, i_we, l_we;
    wire [SW-1:0] i_addr;
    wire [15:0]  i_data;
    wire [SW+PB+CHUNK-1:0] l_addr;
    wire [31:0]  l_data;
    wire [SW:0]  loaded;
    wire         cnt_step, cnt_window, cnt_drain, cnt_word, cnt_wait, stalled_fetch, stalled_array;
    wire [AW-1:0] f_addr, post_addr, pool_addr;
    localparam SB = SLOT < 2 ? 1 : $clog2(SLOT), DATA = SLOT > 1 ? 16 : FETCH * LANES * 8;      // pieces of a word
    wire [DATA-1:0] act_rdata, w_data;
    wire [SB-1:0]   f_piece, w_piece;
    wire [$clog2(LANES)-1:0] post_lane;
    wire [7:0]   post_value;
    wire         f_pad;
    wire [31:0]  act_word;
    wire [LANES*8-1:0] post_data, pool_data;
    wire [LANES-1:0] post_lanes;
    wire         w_pair, cnt_pair;
    wire [ROWS-1:0] w_en;
    wire [ROWS*WW-1:0] w_addr;
    wire [WW-1:0] s_addr, res_base;
    wire [WW:0]  fill;
    wire [1:0]   fills_done;
    wire [SW-1:0] s_pc;
    localparam RN = WINDOW_WORDS / 16, RB = ROWS < 2 ? 1 : $clog2(ROWS), NW = RN < 2 ? 1 : $clog2(RN);    // residual words a row with POST above 0
    wire         res_we, pass_over;
    wire [RB-1:0] res_w_row;
    wire [NW-1:0] res_word;
    wire [ROWS*LANES*8-1:0] word;
    wire [OUT-1:0] drain;
    wire [ROWS*ACC_BITS-1:0] row_sum, array_sum;
    assign row_sum = SUMS != 0 ? array_sum : {ROWS*ACC_BITS{1'b0}};

    wire [DW-1:0] first_desc;       // where a run begins
    control #(.DESCRIPTORS(DESCRIPTORS), .PERF(PERF)) u_control (
        .clk(clk), .rst_n(rst_n), .start(start), .first(first_desc), .stall(stall[2]), .busy(busy), .done(done), .cycles(cycles),
        .h_desc_we(we_desc), .h_desc_addr(h_addr[DW+4:0]), .h_wdata(h_wdata),
        .h_perf_re(h_re), .h_perf_addr(h_addr[DW+2:0]), .h_perf_rdata(perf_rdata),
        .go(go), .go_post(go_post), .desc(desc), .word(desc_word), .load(desc_load), .layer_done(post_done || pool_done),
        .count({stalled_fetch || stalled_array || cnt_stream, (post_we && post_word) || pool_we, cnt_wait, cnt_pair, cnt_word, cnt_drain, cnt_window, cnt_step}));

    fetch #(.ROWS(ROWS), .LANES(LANES), .FETCH(FETCH), .AW(AW), .WW(WW), .RESIDUAL(RESIDUAL), .OWN(POST != 0), .RN(RN), .POOL(POOL), .WORDS(SLOT > 1 ? 1 : 1 - PUMPED), .SLOT(SLOT)) u_fetch (
        .clk(clk), .rst_n(rst_n), .go(go), .desc(desc), .word(desc_word), .load(desc_load), .stall(stall[0]), .released(released),
        .a_re(f_re), .a_addr(f_addr), .a_piece(f_piece), .a_rdata(act_rdata),
        .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(w_pair), .w_piece(w_piece), .w_data(w_data), .a_pad(f_pad), .fill(fill), .fills_done(fills_done), .res_base(res_base),
        .res_we(res_we), .res_w_row(res_w_row), .res_word(res_word),
        .p_valid(p_valid), .p_first(p_first), .p_last(p_last), .p_slice(p_slice), .p_over(p_over),
        .cnt_word(cnt_word), .cnt_pair(cnt_pair), .cnt_wait(cnt_wait), .cnt_stall(stalled_fetch));

    sequencer #(.WW(WW), .SW(SW), .AW(AW), .COLS(COLS), .RES(GATHER != 0 ? LATA : LATA + 1), .DRAIN(DRAIN), .RESIDUAL(RESIDUAL == 0 ? 0 : POST == 0 ? 1 : 2), .EXTERN(EXTERN != 0 ? 1 : 0)) u_sequencer (
        .clk(clk), .rst_n(rst_n), .go(go), .desc(desc), .word(desc_word), .load(desc_load), .stall(stall[1]),
        .h_we(i_we), .h_addr(i_addr), .h_wdata(i_data), .loaded(loaded), .freed(freed),
        .fill(fill), .fills_done(fills_done), .res_base(res_base), .pass_over(pass_over), .released(released),
        .w_re(s_re), .w_buf(s_buf), .w_addr(s_addr), .s_valid(s_valid), .s_first(s_first), .s_last(s_last), .s_final(s_final),
        .s_pc(s_pc), .r_read(r_read),
        .cnt_step(cnt_step), .cnt_window(cnt_window), .cnt_drain(cnt_drain), .cnt_stream(cnt_stream), .cnt_stall(stalled_array));

`ifdef HD_FAST_ARRAY
    wire [$clog2(LANES/2)-1:0] piece_of_step;
    generate if (SLOT > 1) begin : g_piece
        assign piece_of_step = w_piece;
    end else begin : g_no_piece
        assign piece_of_step = {$clog2(LANES/2){1'b0}};
        wire unused = &{1'b0, w_piece};
    end endgenerate
    datapath_fast #(
        .SLOT(SLOT), .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .LATA(LATA), .PUMP(PUMP), .ACC_BITS(ACC_BITS), .FETCH(FETCH), .DRAIN(TURN), .SERIAL(SERIAL),
        .WW(WW), .SW(SW), .CHUNK(CHUNK), .GATHER(GATHER), .IC(IC)) u_datapath (
        .clk(clk), .x_we(we_index), .x_addr(h_addr[SW+IC-1:0]), .x_wdata(h_wdata), .w_piece(piece_of_step), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(w_pair), .w_data(w_data),
        .h_we(l_we), .h_addr(l_addr), .h_wdata(l_data),
        .re(s_re), .r_buf(s_buf), .r_addr(s_addr), .s_valid(s_valid), .s_first(s_first), .s_last(s_last), .s_pc(s_pc),
        .word(word), .drain(drain), .row_sum(array_sum));
`else
    // The shared lane leaves slack at both ends of the array.
    localparam LEAN = POST != 0 ? 1 : 0, EARLY = POST < 4 ? 0 : POST - 1 < 2 + COMB ? POST - 1 : 2 + COMB;
    wire [PART*8-1:0] part_data;                         // from act_memory_pumped.v
    wire [(SLOT > 1 ? 16 : PART*8)-1:0] window_data;
    generate if (SLOT > 1) begin : g_narrow
        assign window_data = w_data;
        assign part_data = {PART*8{1'b0}};
        wire unused = &{1'b0, part_data};
    end else begin : g_parts
        assign window_data = part_data;
    end endgenerate
    generate if (PUMPED == 0) begin : g_array
        wire [$clog2(LANES/2)-1:0] piece_of_step;
        if (SLOT > 1) begin : g_piece
            assign piece_of_step = w_piece;
        end else begin : g_no_piece
            assign piece_of_step = {$clog2(LANES/2){1'b0}};
            wire unused_piece = &{1'b0, w_piece};
        end
        datapath #(
            .SLOT(SLOT), .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .FETCH(FETCH), .DRAIN(TURN), .SERIAL(SERIAL), .LEAN(LEAN), .EARLY(EARLY), .SUMS(SUMS),
            .WW(WW), .SW(SW), .CHUNK(CHUNK), .GATHER(GATHER), .ONE(POST == 0 && RESIDUAL != 0 ? 1 : 0), .IC(IC)) u_datapath (
            .clk(clk), .x_we(we_index), .x_addr(h_addr[SW+IC-1:0]), .x_wdata(h_wdata), .w_clk(clk), .w_piece(piece_of_step), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_pair(w_pair), .w_data(w_data),
            .h_clk(clk), .h_we(l_we), .h_addr(l_addr), .h_wdata(l_data),
            .re(s_re), .r_buf(s_buf), .r_addr(s_addr), .s_valid(s_valid), .s_first(s_first), .s_last(s_last), .s_pc(s_pc),
            .word(word), .drain(drain), .row_sum(array_sum));
        if (SLOT == 1) begin : g_no_parts
            assign part_data = {PART*8{1'b0}};
        end
        wire unused = &{1'b0, window_data};
    end else begin : g_array_pumped
        datapath_pumped #(
            .SLOT(SLOT), .KEEP(KEEP), .PUMP(PUMP), .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .HOP(HOP), .ACC_BITS(ACC_BITS), .DRAIN(TURN), .SUMS(SUMS),
            .WW(WW), .SW(SW), .CHUNK(CHUNK)) u_datapath (
            .clk(clk), .clk_fast(clk_fast), .take(fast_take), .w_en(w_en), .w_buf(w_buf), .w_addr(w_addr), .w_piece(w_piece), .w_data(window_data),
            .h_we(l_we), .h_addr(l_addr), .h_wdata(l_data),
            .r_buf(s_buf), .r_addr(s_addr), .s_valid(s_valid), .s_first(s_first), .s_last(s_last), .s_pc(s_pc),
            .drain(drain), .row_sum(array_sum));
        assign word = {ROWS*LANES*8{1'b0}};
        wire unused = &{1'b0, s_re, w_pair, w_data};
    end endgenerate
`endif

    // ---- where weights and index entries come from
    wire [31:0] x_rdata;
    generate if (EXTERN == 0) begin : g_written
        assign {i_we, i_addr, i_data} = {we_index && (IC == 0 || h_addr[(IC == 0 ? 0 : IC - 1):0] == 0), h_addr[IC +: SW], h_wdata[15:0]};
        assign {l_we, l_addr, l_data} = {weight_write, far_addr[SW+PB+CHUNK-1:0], h_wdata};
        assign loaded = {(SW+1){1'b0}};
        assign first_desc = {DW{1'b0}};
        assign x_rdata = 32'd0;
        assign h_wait = 1'b0;
        assign {sd_cmd, sd_bank, sd_addr, sd_dqm, sd_out, sd_oe} = {4'b1111, 33'd0};
        wire unused = &{freed, sd_in};
    end else begin : g_loaded
        wire        stream, m_valid, room, asked;
        wire [31:0] m_data;
        // verilator lint_off UNUSEDSIGNAL
        wire [3:0]  d_variant;
        wire        d_load, d_valid;
        wire [31:0] d_data;
        wire        unused = we_index;
        // verilator lint_on UNUSEDSIGNAL
        wire        d_busy, d_out_valid;
        wire [9:0]  d_words;
        wire [31:0] d_out_data;
        if (DECODE != 0) begin : g_decode
            decode #(.COLS(COLS), .LANES(LANES), .PLANES(PLANES), .DECODE(DECODE)) u_decode (
                .clk(clk), .start(start || !rst_n), .cfg_variant(d_variant), .sts_words(d_words), .sts_busy(d_busy), .s_load(d_load), .s_valid(d_valid), .s_data(d_data),
                .m_valid(d_out_valid), .m_data(d_out_data));
        end else begin : g_no_decode
            assign {d_busy, d_words, d_out_valid, d_out_data} = {1'b0, 10'd1, 1'b0, 32'd0};
        end
        // Register START: programs that lie behind each other are run one by one.
        reg [DW-1:0]     first_q;
        reg [EXTERN-9:0] row_q;
        assign first_desc = first_q;
        always @(posedge clk) begin
            if (!rst_n) begin
                first_q <= {DW{1'b0}}; row_q <= {(EXTERN-8){1'b0}};
            end else if (h_we && h_space == HD_SPACE_REG && h_addr[4:0] == HD_REG_START) begin
                first_q <= h_wdata[DW-1:0]; row_q <= h_wdata[16 +: EXTERN-8];
            end
        end
        sdram #(.MHZ(EXTERN_MHZ), .EW(EXTERN)) u_sdram (
            .clk(clk), .start(start), .first_row(row_q), .stream(stream), .room(room), .asked(asked), .m_valid(m_valid), .m_data(m_data),
            .x_we(we_weight), .x_re(h_re && h_space == HD_SPACE_WEIGHT && !busy), .x_addr(h_addr[EXTERN-1:0]), .x_wdata(h_wdata), .x_rdata(x_rdata), .x_wait(h_wait),
            .sd_cmd(sd_cmd), .sd_bank(sd_bank), .sd_addr(sd_addr), .sd_dqm(sd_dqm), .sd_out(sd_out), .sd_oe(sd_oe), .sd_in(sd_in));
        loader #(.SW(SW), .WORDS(WORDS), .CHUNK(CHUNK), .LATE(HOPS + 2)) u_loader (
            .clk(clk), .rst_n(rst_n), .start(start), .stream(stream), .s_valid(m_valid), .s_data(m_data), .room(room), .asked(asked),
            .d_variant(d_variant), .d_load(d_load), .d_valid(d_valid), .d_data(d_data), .d_words(d_words), .d_busy(d_busy), .d_out_valid(d_out_valid), .d_out_data(d_out_data),
            .freed(freed), .loaded(loaded), .i_we(i_we), .i_addr(i_addr), .i_data(i_data), .w_we(l_we), .w_addr(l_addr), .w_data(l_data));
    end endgenerate

    wire c_start, c_final, r_next;
    delay #(.WIDTH(1), .N(GATHER != 0 ? 1 : 0)) u_next (.clk(clk), .x(r_read && rst_n), .y(r_next));
    generate if (POST == 0) begin : g_post
        delay #(.WIDTH(2), .N(LATA)) u_start (.clk(clk), .x({s_valid && s_last && rst_n, s_final}), .y({c_start, c_final}));
        post #(.ROWS(ROWS), .LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS), .PW(PW), .TABLES(TABLES), .AW(AW), .RESIDUAL(RESIDUAL)) u_post (
            .clk(clk), .rst_n(rst_n), .go(go_post), .desc(desc),
            .h_param_we(we_param), .h_param_addr(h_addr[PW:0]), .h_table_we(we_table), .h_table_addr(h_addr[9:0]), .h_wdata(h_wdata),
            .c_start(c_start), .c_final(c_final), .drain(drain), .row_sum(row_sum), .r_next(r_next), .r_word(word),
            .st_we(post_we), .st_addr(post_addr), .st_data(post_data), .layer_done(post_done));
        assign post_lanes = {LANES{1'b1}};
        assign pass_over = 1'b0;
        wire unused_residual = &{1'b0, res_we, res_w_row, res_word};
        assign post_word = 1'b1;
        assign post_lane = {$clog2(LANES){1'b0}};
        assign post_value = 8'd0;
    end else begin : g_post_shared
        wire unused_word = &{1'b0, r_next, word};
        // A cycle earlier, so that the unit starts from registers.
        delay #(.WIDTH(2), .N(LATA - 1)) u_start (.clk(clk), .x({s_valid && s_last && rst_n, s_final}), .y({c_start, c_final}));
        post_shared #(.POST(POST), .ROWS(ROWS), .COLS(COLS), .LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS), .PW(PW), .TABLES(TABLES), .AW(AW), .RESIDUAL(RESIDUAL),
            .FETCH(FETCH), .RN(RN), .SLOT(SLOT), .KEEP(KEEP), .SUMS(SUMS)) u_post (
            .clk(clk), .rst_n(rst_n), .go(go_post), .desc(desc), .word(desc_word), .load(desc_load),
            .h_param_we(we_param), .h_param_addr(h_addr[PW:0]), .h_table_we(we_table), .h_table_addr(h_addr[9:0]), .h_wdata(h_wdata),
            .c_next(c_start), .c_final(c_final), .drain(drain), .row_sum(row_sum),
            .res_we(res_we), .res_buf(w_buf), .res_w_row(res_w_row), .res_word(res_word), .res_pair(w_pair), .res_piece(w_piece), .res_data(w_data), .pass_over(pass_over),
            .st_we(post_we), .st_word(post_word), .st_addr(post_addr), .st_lanes(post_lanes), .st_data(post_data),
            .st_lane(post_lane), .st_value(post_value), .layer_done(post_done));
    end endgenerate

    generate if (POOL != 0 && SLOT == 1) begin : g_pool
        delay #(.WIDTH(1), .N(2)) u_go_pool (.clk(clk), .x(go && rst_n), .y(go_pool));
        pool #(.LANES(LANES), .AW(AW)) u_pool (
            .clk(clk), .rst_n(rst_n), .go(go_pool), .desc(desc), .valid(p_valid), .first(p_first), .last(p_last), .slice(p_slice), .over(p_over), .data(w_data[0 +: LANES*8]),
            .st_we(pool_we), .st_addr(pool_addr), .st_data(pool_data), .layer_done(pool_done));
    end else begin : g_no_pool
        assign {go_pool, pool_we, pool_addr, pool_data, pool_done} = {AW+LANES*8+3{1'b0}};
        wire unused = &{1'b0, go_pool, p_valid, p_first, p_last, p_slice, p_over};
    end endgenerate

    // ---- host reads: what was asked for
    reg [2:0]  space_q;
    // verilator lint_off UNUSEDSIGNAL
    reg [23:0] addr_q;          // only the low bits choose a register or a byte bank
    // verilator lint_on UNUSEDSIGNAL

    // ---- activation memory
    generate if (SLOT > 1) begin : g_act_narrow
        // Two reads make the host's word; its address stays.
        localparam LB = $clog2(LANES);
        reg  re_1, re_2;
        reg  [15:0] low;
        always @(posedge clk) begin
            re_1 <= h_re;
            re_2 <= re_1;
            if (re_2) low <= act_rdata;
        end
        ram_act #(.ADDR(AW + LB - 1)) u_act (
            .clk(clk), .clk_fast(clk_fast), .take(fast_take), .rdata(act_rdata),
            .raddr(busy ? {f_addr, f_piece} : {far_addr[AW+LC-1:0], !re_1}), .h_we(act_write), .we({2{post_we}} & {post_lane[0], !post_lane[0]}),
            .waddr(busy ? {post_addr, post_lane[LB-1:1]} : {far_addr[AW+LC-1:0], 1'b0}), .wdata(busy ? {4{post_value}} : h_wdata));
        assign act_word = {act_rdata, low};
        wire unused = &{1'b0, f_re, f_pad, post_lanes, post_data, pool_we, pool_addr, pool_data};
    end else if (PUMPED == 0) begin : g_act
        wire [AW-1:0] read_at  = busy ? f_addr : h_addr[LC +: AW];
        wire [AW-1:0] write_at = post_we ? post_addr : pool_we ? pool_addr : h_addr[LC +: AW];
        wire [LANES*8-1:0] wdata;
        wire [LANES-1:0]   we;
        genvar b;
        for (b = 0; b < LW; b = b + 1) begin : g_word
            wire host_here;
            if (LC == 0) begin : g_single
                assign host_here = we_act;
            end else begin : g_many
                assign host_here = we_act && h_addr[LC-1:0] == b;
            end
            assign wdata[b*32 +: 32] = post_we ? post_data[b*32 +: 32] : pool_we ? pool_data[b*32 +: 32] : h_wdata;
            assign we[b*4 +: 4] = {4{host_here || pool_we}} | (post_we ? post_lanes[b*4 +: 4] : 4'd0);
        end
        act_memory #(.LANES(LANES), .FETCH(FETCH), .AW(AW), .BYTES(POST == 0 ? 0 : 1)) u_act (
            .clk(clk), .re(f_re || h_re), .raddr(read_at), .rdata(act_rdata), .we(we), .waddr(write_at), .wdata(wdata));
        if (LC == 0) begin : g_pick_one
            assign act_word = act_rdata[31:0];
        end else begin : g_pick
            assign act_word = act_rdata[{{(27-LC){1'b0}}, addr_q[LC-1:0], 5'd0} +: 32];
        end
        wire unused = &{1'b0, f_pad, post_lane, post_value};
    end
`ifndef HD_FAST_ARRAY
    else begin : g_act_pumped
        act_memory_pumped #(.PUMP(PUMP), .LANES(LANES), .AW(AW)) u_act (
            .clk(clk), .clk_fast(clk_fast), .take(fast_take), .busy(busy),
            .f_addr(f_addr), .f_pad(f_pad), .f_pad_byte(desc[HD_F_PAD +: 8]), .part_data(part_data),
            .h_re(h_re), .h_we(we_act), .h_addr(h_addr[AW+LC-1:0]), .h_wdata(h_wdata), .h_word(act_word),
            .st_we(post_we), .st_word(post_word), .st_addr(post_addr), .st_lane(post_lane), .st_value(post_value), .st_fill(desc[HD_F_FILL +: 8]));
        assign act_rdata = {DATA{1'b0}};
        wire unused = &{1'b0, f_re, pool_we, pool_addr, pool_data, post_lanes, post_data};
    end
`endif
    endgenerate
    generate if (PUMPED == 0) begin : g_one_clock
        wire unused_clock = &{1'b0, clk_fast, fast_take};
    end
    if (SLOT == 1) begin : g_no_pieces
        wire unused_piece = &{1'b0, f_piece, w_piece};
    end endgenerate

    // ---- host reads: the answer
    reg [31:0] reg_word;
    always @* begin
        case (addr_q[4:0])
            HD_REG_MAGIC:        reg_word = HD_MAGIC_VALUE;
            HD_REG_CONTRACT:     reg_word = HD_CONTRACT_VERSION;
            HD_REG_ROWS:         reg_word = ROWS;
            HD_REG_COLS:         reg_word = COLS;
            HD_REG_LANES:        reg_word = LANES;
            HD_REG_PLANES:       reg_word = PLANES;
            HD_REG_HOP:          reg_word = HOP;
            HD_REG_ACC_BITS:     reg_word = ACC_BITS;
            HD_REG_ACT_WORDS:    reg_word = ACT_WORDS;
            HD_REG_WINDOW_WORDS: reg_word = WINDOW_WORDS;
            HD_REG_STREAM_WORDS: reg_word = STREAM_WORDS;
            HD_REG_PARAM_WORDS:  reg_word = PARAM_WORDS;
            HD_REG_DESCRIPTORS:  reg_word = DESCRIPTORS;
            HD_REG_TABLES:       reg_word = TABLES;
            HD_REG_FETCH:        reg_word = FETCH;
            HD_REG_POST:         reg_word = POST;
            HD_REG_RESIDUAL:     reg_word = RESIDUAL;
            HD_REG_EXTERN:       reg_word = EXTERN;
            HD_REG_DECODE:       reg_word = EXTERN == 0 ? 0 : DECODE;
            HD_REG_EXTERN_MHZ:   reg_word = EXTERN == 0 ? 0 : EXTERN_MHZ;
            HD_REG_PUMP:         reg_word = PUMP;
            HD_REG_POOL:         reg_word = POOL;
            HD_REG_SLOT:         reg_word = SLOT;
            HD_REG_GATHER:       reg_word = GATHER;
            HD_REG_SUMS:         reg_word = SUMS;
            HD_REG_PERF:         reg_word = PERF;
            HD_REG_STATUS:       reg_word = {30'd0, done, busy};
            HD_REG_CYCLES:       reg_word = cycles;
            default:             reg_word = 32'd0;
        endcase
    end
    always @(posedge clk) begin
        if (h_re) begin
            space_q <= h_space; addr_q <= h_addr;
        end
        h_rdata <= space_q == HD_SPACE_REG ? reg_word : space_q == HD_SPACE_PERF ? perf_rdata : EXTERN != 0 && space_q == HD_SPACE_WEIGHT ? x_rdata : act_word;
    end
endmodule
`default_nettype wire
