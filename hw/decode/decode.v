// Codes of the external weight stream -> words of weight entries, bit-planes as the array takes them (docs/formats.md, "Coded entries").
//
//   words --> word register --> one 16-bit beat a cycle --> table | e8p | books --> channel buffer --> weight words
//
// Every code holds a weight word in half its size, so a word of codes becomes two words of weights. A beat gives eight weights of a channel in
// offset binary, whose bits are the planes' signs: DEEP bits a weight, most significant first. The channel buffer collects the LANES / 8 beats of a channel
// and sends them out plane by plane. Words with `s_load` fill the table or the books of `cfg_variant` instead, in order, all of them.
//
// Latency: with G = LANES / 8, the last weight word of an entry comes 4 + G cycles after its last word of codes, 3 + 2 G cycles with TABLE16.
// Throughput: a word of codes every second cycle, a weight word every cycle. Stall rule: none; words come at least two cycles apart, and the first of
// another segment only when `sts_busy` is low. `start` forgets what is under way, and the loading address.
//
// Parameters: COLS, LANES, PLANES of the array; LANES a power of two from 8 to 64; DECODE which codes exist, the sum of 1 tables, 2 E8P, 4 additive
// books. Requires: COLS * LANES * PLANES a multiple of 64, COLS * PLANES one of 4. TABLE16 needs COLS * PLANES a multiple of 8, as only the
// compiler knows (hd_code_fits).
`default_nettype none
module decode #(
    parameter COLS   = 8,
    parameter LANES  = 8,
    parameter PLANES = 2,
    parameter DECODE = 7
) (
    input  wire        clk,
    input  wire        start,
    input  wire [3:0]  cfg_variant,    // HD_CODE_*
    output wire [9:0]  sts_words,      // words of codes of an entry
    output wire        sts_busy,       // from the clock after a word to the last weight word that it brings
    input  wire        s_load,         // the word belongs to a table, else to an entry
    input  wire        s_valid,
    input  wire [31:0] s_data,
    output wire        m_valid,
    output wire [31:0] m_data
);
`include "heddle_contract.vh"
    generate
        if (LANES < 8 || LANES > 64 || (LANES & (LANES - 1)) != 0) begin : g_lanes
            decode_LANES_must_be_a_power_of_two_from_8_to_64 bad();
        end
        if (DECODE < 1 || DECODE > 7) begin : g_decode
            DECODE_must_be_1_to_7_here bad();
        end
        if ((COLS * LANES * PLANES) % 64 != 0 || (COLS * PLANES) % 4 != 0 || COLS * LANES * PLANES > 32768) begin : g_cols
            decode_COLS_must_be_whole_channels_of_four_planes_and_64_to_32768_bits bad();
        end
    endgenerate
    localparam TABLES = DECODE & 1, E8P = (DECODE >> 1) & 1, BOOKS = (DECODE >> 2) & 1;
    localparam DEEP = TABLES != 0 ? 8 : 4;
    localparam [31:0] HALF = COLS * LANES * PLANES / 64;
    assign sts_words = HALF[9:0];

    // ---- word register: two beats a word
    reg         first, second;             // beats
    reg  [31:0] word;
    reg         load;
    reg  [3:0]  code;
    wire        beat = first || second;
    always @(posedge clk) begin
        first <= s_valid && !start;
        second <= first && !start;
        word <= s_valid ? s_data : word >> 16;
        if (s_valid) begin
            load <= s_load; code <= cfg_variant;
        end
    end

    // ---- what the beat is; loading addresses count beats, from 0 after a word that was no load or another code
    wire is_deep = TABLES != 0 && code == HD_CODE_TABLE16;
    wire decodes = !load && (first || (second && !is_deep));    // TABLE16 takes the whole word in its first beat
    reg [9:0] at;
    always @(posedge clk)
        if (start || (s_valid && (!load || cfg_variant != code))) at <= 10'd0;
        else if (beat) at <= at + 1'b1;
    reg v1, v2, deep1, deep2;
    always @(posedge clk) begin
        v1 <= decodes && !start; v2 <= v1 && !start;
        deep1 <= is_deep; deep2 <= deep1;
    end

    // ---- the codes: each gives zeros for a beat that is not its own
    wire [8*DEEP-1:0] x_table, x_e8p, x_books;
    generate
        if (TABLES != 0) begin : g_table
            wire is_table = is_deep || code == HD_CODE_TABLE4;
            decode_table u_table (
                .clk(clk), .we(beat && load && is_table), .waddr({is_deep ? at[7:4] : 4'd0, at[3:0]}), .deep(is_deep),
                .own(decodes && is_table), .code(word), .x(x_table));
        end else begin : g_no_table
            assign x_table = {8*DEEP{1'b0}};
        end
        if (E8P != 0) begin : g_e8p
            decode_e8p #(.DEEP(DEEP)) u_e8p (.clk(clk), .own(decodes && code == HD_CODE_E8P), .code(word[15:0]), .x(x_e8p));
        end else begin : g_no_e8p
            assign x_e8p = {8*DEEP{1'b0}};
        end
        if (BOOKS != 0) begin : g_books
            decode_books #(.DEEP(DEEP)) u_books (
                .clk(clk), .we(first && load && code == HD_CODE_BOOKS), .waddr(at[9:1]), .own(decodes && code == HD_CODE_BOOKS), .code(word), .x(x_books));
        end else begin : g_no_books
            assign x_books = {8*DEEP{1'b0}};
        end
    endgenerate

    decode_channel #(.LANES(LANES), .PLANES(PLANES), .DEEP(DEEP)) u_channel (
        .clk(clk), .start(start), .valid(v2), .deep(deep2), .x(x_table | x_e8p | x_books), .m_valid(m_valid), .m_data(m_data));
    assign sts_busy = first || second || v1 || v2 || m_valid;
endmodule
`default_nettype wire
