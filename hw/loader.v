// Brings the weight stream from external memory into the ring in front of the array (docs/formats.md, "External stream").
//
//   sdram words --> FIFO --> header | index word | payload --> [decoder] --> index memory, weight memory; `loaded`
//
// From `start` on it reads ahead through the whole stream, as far as FIFO and ring have room, until a segment END. A word is taken at most every
// second clock. It waits before the first word of an entry whose place in the ring is not free yet, and at a header until the decoder is empty.
// Latency: `loaded` counts an entry two clocks after its last word was taken, plus the decoder's delay; a word can be taken in the clock after s_valid.
//
// Parameters: SW address bits of the ring; WORDS 32-bit words of a weight word, CHUNK their address bits; LATE clocks from an entry's issue until
// its place may be taken again (the weight memory is read by then).
`default_nettype none
module loader #(
    parameter SW = 10,
    parameter WORDS = 4,
    parameter CHUNK = 2,
    parameter LATE = 2
) (
    input  wire                clk,
    input  wire                rst_n,
    input  wire                start,
    output reg                 stream,
    // words of the external memory
    input  wire                s_valid,
    input  wire [31:0]         s_data,
    output wire                room,
    input  wire                asked,
    // decoder
    output wire [3:0]          d_variant,
    output wire                d_load,
    output wire                d_valid,
    output wire [31:0]         d_data,
    input  wire [9:0]          d_words,     // of an entry in this format
    input  wire                d_busy,      // weight words are still to come; the next segment waits
    input  wire                d_out_valid,
    input  wire [31:0]         d_out_data,
    // the ring
    input  wire                freed,       // an entry was issued for the last time
    output reg  [SW:0]         loaded,      // entries that are there, since start, modulo twice the ring
    output reg                 i_we,
    output reg  [SW-1:0]       i_addr,
    output reg  [15:0]         i_data,
    output reg                 w_we,
    output reg  [SW+CHUNK-1:0] w_addr,
    output reg  [31:0]         w_data
);
`include "heddle_contract.vh"
    localparam S_HEADER = 2'd0, S_INDEX = 2'd1, S_WORDS = 2'd2, S_LOAD = 2'd3;
    localparam [31:0] WORDS32 = WORDS, LAST_WORD = WORDS - 1;

    // ---- FIFO: eight words; what is asked for has a place
    reg [31:0] fifo [0:7];
    reg [2:0]  in_at, out_at;
    reg [3:0]  held, credit;
    reg        taken;
    wire       take;
    wire [31:0] word = fifo[out_at];
    assign room = credit != 4'd0;
    always @(posedge clk) begin
        if (s_valid) fifo[in_at] <= s_data;
        if (start) begin
            in_at <= 3'd0; out_at <= 3'd0; held <= 4'd0; credit <= 4'd8; taken <= 1'b0;
        end else begin
            in_at <= in_at + {2'd0, s_valid};
            out_at <= out_at + {2'd0, take};
            held <= held + {3'd0, s_valid} - {3'd0, take};
            credit <= credit + {3'd0, take} - {3'd0, asked};
            taken <= take;
        end
    end

    // ---- the ring's places
    reg [SW:0] entry, free;             // entries whose words are all taken; entries whose place is free again
    wire       freed_late;
    wire       full = entry[SW] != free[SW] && entry[SW-1:0] == free[SW-1:0];
    delay #(.WIDTH(1), .N(LATE)) u_late (.clk(clk), .x(freed && rst_n && !start), .y(freed_late));

    // ---- the stream's grammar
    reg  [1:0]  state;
    reg  [3:0]  format, variant;
    reg  [23:0] left;                   // entries of the segment, or words of LOAD
    reg  [9:0]  left_words;             // words of this entry after the next one
    reg         first, second;          // first word of an entry; second entry of an index word
    reg  [15:0] index_first, index_second;
    wire        raw = format == HD_SEGMENT_RAW;
    wire [9:0]  words = raw ? WORDS32[9:0] : d_words;
    wire        begins = state == S_INDEX || (state == S_WORDS && first && second);
    wire        entry_end = first ? words == 10'd1 : left_words == 10'd0;
    wire [3:0]  new_format = word[HD_S_FORMAT +: HD_SW_FORMAT];
    wire [23:0] new_left = word[HD_S_ENTRIES +: HD_SW_ENTRIES];
    assign take = stream && held != 4'd0 && !taken && !(begins && full) && !(state == S_HEADER && d_busy);
    always @(posedge clk) begin
        if (!rst_n) stream <= 1'b0;
        else if (start) stream <= 1'b1;
        else if (take && state == S_HEADER && new_format == HD_SEGMENT_END) stream <= 1'b0;
        if (start) begin
            state <= S_HEADER; entry <= {(SW+1){1'b0}}; free <= {(SW+1){1'b0}};
        end else begin
            if (freed_late) free <= free + 1'b1;
            if (take) case (state)
                S_HEADER: begin
                    format <= new_format; variant <= word[HD_S_VARIANT +: HD_SW_VARIANT]; left <= new_left;
                    second <= 1'b0; first <= 1'b1;
                    if (new_left != 24'd0) state <= new_format == HD_SEGMENT_LOAD ? S_LOAD : S_INDEX;
                end
                S_INDEX: begin
                    index_first <= word[15:0]; index_second <= word[31:16];
                    state <= S_WORDS;
                end
                S_WORDS: begin
                    first <= entry_end;
                    left_words <= first ? words - 10'd2 : left_words - 1'b1;
                    if (entry_end) begin
                        entry <= entry + 1'b1; left <= left - 1'b1; second <= !second;
                        if (left == 24'd1) state <= S_HEADER;
                        else if (second) state <= S_INDEX;
                    end
                end
                default: begin
                    left <= left - 1'b1;
                    if (left == 24'd1) state <= S_HEADER;
                end
            endcase
        end
    end
    assign d_variant = variant;
    assign d_load = state == S_LOAD;
    assign d_valid = take && (d_load || (state == S_WORDS && !raw));
    assign d_data = word;

    // ---- writes, a clock later
    reg [SW-1:0] at;                    // entry that is written
    reg [CHUNK == 0 ? 0 : CHUNK-1:0] chunk;
    wire out = (take && state == S_WORDS && raw) || d_out_valid;
    wire last = WORDS == 1 || chunk == LAST_WORD[CHUNK == 0 ? 0 : CHUNK-1:0];
    reg  done;                          // the word being written is an entry's last
    always @(posedge clk) begin
        i_we <= take && state == S_WORDS && first;
        i_addr <= entry[SW-1:0];
        i_data <= second ? index_second : index_first;
        w_data <= d_out_valid ? d_out_data : word;
        if (!rst_n || start) begin
            w_we <= 1'b0; done <= 1'b0; loaded <= {(SW+1){1'b0}}; at <= {SW{1'b0}}; chunk <= 0;
        end else begin
            w_we <= out;
            done <= out && last;
            if (out) chunk <= last ? 0 : chunk + 1'b1;
            if (out && last) at <= at + 1'b1;
            if (done) loaded <= loaded + 1'b1;
        end
    end
    generate if (CHUNK == 0) begin : g_one
        always @(posedge clk) w_addr <= at;
    end else begin : g_many
        always @(posedge clk) w_addr <= {at, chunk};
    end endgenerate
endmodule
`default_nettype wire
