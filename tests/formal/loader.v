// The loader of the external stream: no word lost, doubled or out of order, never more asked for than there is room for; docs/formats.md's segments of RAW entries come to the ring as that page
// says, entry n to place n modulo the ring's size, each word once, index and weights; an entry counts as loaded two clocks after its last word was taken; no place is written before it is free again.
//
// `queue` follows one word, whichever it is, from its arrival to the clock in which it is taken. `segments` reads the words taken by a second reading of the page: after the header blocks of one
// index word and the words of one or two entries. The memory behind may answer late and at any clock; the array issues what was loaded at any clock.
//@ files hw/loader.v hw/lib/delay.v
//@ read -mem2reg
//@ case queue satinduct:3 PART=0
//@ case segments satinduct:20 PART=1
//@ mutant queue hw/loader.v s/credit \+ \{3'd0, take\} - \{3'd0, asked\}/credit + {3'd0, taken} - {3'd0, asked}/
//@ mutant queue hw/loader.v s/credit <= 4'd8/credit <= 4'd9/
//@ mutant queue hw/loader.v s/out_at <= out_at \+ \{2'd0, take\}/out_at <= out_at + {2'd0, taken}/
//@ mutant segments hw/loader.v s/!\(begins && full\)/1'b1/
//@ mutant segments hw/loader.v s/else if \(second\) state <= S_INDEX/else if (!second) state <= S_INDEX/
//@ mutant segments hw/loader.v s/second \? index_second : index_first/first ? index_second : index_first/
//@ mutant segments hw/loader.v s/words - 10'd2/words - 10'd1/
//@ mutant segments hw/loader.v s/ left <= left - 1'b1; second <= !second/ left <= left - 2'd2; second <= !second/
//@ mutant segments hw/loader.v s/N\(LATE\)\) u_late/N(LATE - 1)) u_late/
//@ mutant segments hw/loader.v s/if \(done\) loaded/if (out \&\& last) loaded/
`default_nettype none
module proof #(
    parameter PART = 0
) (
    input wire        clk, s_valid, asked, freed, pick,
    input wire [31:0] s_data
);
`include "heddle_contract.vh"
    localparam SW = 1, WORDS = 3, CHUNK = 2, LATE = 2, RING = 1 << SW;
    reg [2:0] age = 0;
    always @(posedge clk) if (age != 7) age <= age + 1;
    wire rst_n = age >= 3, start = age == 3;         // reset for as long as LATE asks
    wire idle = age <= 3;
    wire stream, room, d_load, d_valid, i_we, w_we;
    wire [3:0] d_variant;
    wire [31:0] d_data, w_data;
    wire [SW:0] loaded;
    wire [SW-1:0] i_addr;
    wire [15:0] i_data;
    wire [SW+CHUNK-1:0] w_addr;
    loader #(.SW(SW), .WORDS(WORDS), .CHUNK(CHUNK), .LATE(LATE)) u_loader (
        .clk(clk), .rst_n(rst_n), .start(start), .stream(stream), .s_valid(s_valid), .s_data(s_data), .room(room), .asked(asked),
        .d_variant(d_variant), .d_load(d_load), .d_valid(d_valid), .d_data(d_data), .d_words(10'd1), .d_busy(1'b0), .d_out_valid(1'b0), .d_out_data(32'd0),
        .freed(freed), .loaded(loaded), .i_we(i_we), .i_addr(i_addr), .i_data(i_data), .w_we(w_we), .w_addr(w_addr), .w_data(w_data));
    (* hierconn *) wire        \u_loader.take , \u_loader.taken , \u_loader.first , \u_loader.second , \u_loader.done , \u_loader.full ;
    (* hierconn *) wire [31:0] \u_loader.word ;
    (* hierconn *) wire [2:0]  \u_loader.in_at , \u_loader.out_at ;
    (* hierconn *) wire [3:0]  \u_loader.held , \u_loader.credit , \u_loader.format ;
    (* hierconn *) wire [1:0]  \u_loader.state ;
    (* hierconn *) wire [23:0] \u_loader.left ;
    (* hierconn *) wire [9:0]  \u_loader.left_words ;
    (* hierconn *) wire [15:0] \u_loader.index_first , \u_loader.index_second ;
    (* hierconn *) wire [SW:0] \u_loader.entry , \u_loader.free ;
    (* hierconn *) wire [SW-1:0] \u_loader.at ;
    (* hierconn *) wire [CHUNK-1:0] \u_loader.chunk ;
    (* hierconn *) wire [LATE-1:0] \u_loader.u_late.g_shift.q ;
    (* hierconn *) wire [31:0] \u_loader.fifo[0] , \u_loader.fifo[1] , \u_loader.fifo[2] , \u_loader.fifo[3] , \u_loader.fifo[4] , \u_loader.fifo[5] , \u_loader.fifo[6] , \u_loader.fifo[7] ;
    wire take = \u_loader.take && !idle;
    wire [31:0] word = \u_loader.word ;

    // The memory: words on their way, none that was not asked for.
    reg [3:0] coming = 0;
    always @(posedge clk) coming <= coming + asked - s_valid;
    always @* begin
        assume (!s_valid || coming != 0);
        assume (!asked || (room && !idle));
    end

    generate if (PART == 0) begin : g_queue
        reg        follow = 0;
        reg [31:0] data;
        reg [2:0]  ahead;
        always @(posedge clk)
            if (!idle) begin
                if (!follow && pick && s_valid) begin
                    follow <= 1; data <= s_data; ahead <= \u_loader.held - take;
                end else if (follow && take) begin
                    assert (ahead != 0 || word == data);
                    if (ahead == 0) follow <= 0;
                    else ahead <= ahead - 1;
                end
            end
        wire [255:0] all = {\u_loader.fifo[7] , \u_loader.fifo[6] , \u_loader.fifo[5] , \u_loader.fifo[4] , \u_loader.fifo[3] , \u_loader.fifo[2] , \u_loader.fifo[1] , \u_loader.fifo[0] };
        wire [2:0] place = \u_loader.out_at + ahead;
        always @* if (idle) assert (coming == 0 && !follow);
        always @* if (!idle) begin
            assert ({2'b00, coming} + \u_loader.held + \u_loader.credit == 6'd8);
            assert (\u_loader.in_at == \u_loader.out_at + \u_loader.held [2:0]);
            assert (!take || \u_loader.held != 0);
            assert (!follow || (ahead < \u_loader.held && all[place*32 +: 32] == data));
        end
    end else begin : g_segments
        // ---- a second reading of the stream
        reg [1:0]  phase = 0;           // header, index word, words of a block
        reg [23:0] left = 0;            // entries of the segment from this block on
        reg [SW:0] block = 0;           // its first entry, modulo twice the ring
        reg [2:0]  k = 0;               // word of the block
        reg [31:0] index = 0;
        reg        over = 0;
        wire       second = phase == 2 && k >= WORDS;
        wire [2:0] chunk = second ? k - WORDS : k;
        wire [SW:0] entry = block + second;
        wire       block_end = k == (left == 1 ? WORDS : 2 * WORDS) - 1;
        wire       complete = take && phase == 2 && chunk == WORDS - 1;
        always @(posedge clk) if (take) begin
            if (phase == 0) begin
                left <= word[HD_S_ENTRIES +: HD_SW_ENTRIES];
                if (word[HD_S_FORMAT +: HD_SW_FORMAT] == HD_SEGMENT_END) over <= 1;
                else if (word[HD_S_ENTRIES +: HD_SW_ENTRIES] != 0) phase <= 1;
            end else if (phase == 1) begin
                index <= word; k <= 0; phase <= 2;
            end else if (block_end) begin
                block <= entry + 1'b1;
                left <= left == 1 ? 0 : left - 2;
                phase <= left <= 2 ? 0 : 1;
            end else k <= k + 1;
        end
        always @* if (take && phase == 0) begin
            assume (word[HD_S_FORMAT +: HD_SW_FORMAT] == HD_SEGMENT_RAW || (word[HD_S_FORMAT +: HD_SW_FORMAT] == HD_SEGMENT_END && word[HD_S_ENTRIES +: HD_SW_ENTRIES] == 0));
        end

        // ---- the array issues for the last time what is loaded; a place is free LATE clocks later
        reg [SW:0] issued = 0, free = 0;
        reg [LATE-1:0] late = 0;
        always @* assume (!freed || (!idle && issued != loaded));
        always @(posedge clk) begin
            if (freed) issued <= issued + 1;
            late <= {late[LATE-2:0], freed};
            if (late[LATE-1]) free <= free + 1;
        end

        // ---- what is written, a clock after it was taken
        reg        due = 0, due_index = 0, due_end = 0;
        reg [SW:0] due_entry = 0, count = 0;
        reg [2:0]  due_chunk = 0;
        reg [31:0] due_word = 0;
        reg [15:0] due_half = 0;
        reg        in_room = 1;
        wire [SW:0] ahead = entry - free, begun = \u_loader.entry - free, behind = \u_loader.entry - issued, there = count - issued;
        always @(posedge clk) begin
            due <= take && phase == 2; due_index <= take && phase == 2 && chunk == 0; due_end <= complete;
            due_entry <= entry; due_chunk <= chunk; due_word <= word; due_half <= second ? index[31:16] : index[15:0];
            // The first word of an entry, and the index word before it, are taken when its place is free.
            in_room <= !(take && ((phase == 2 && chunk == 0) || phase == 1)) || ahead < RING;
            if (due_end) count <= count + 1;
        end
        always @* if (idle) assert (coming == 0 && phase == 0 && block == 0 && count == 0 && issued == 0 && free == 0 && late == 0 && !due && !due_index && !due_end && in_room && !over);
        always @* if (!idle) begin
            assert (w_we == due && i_we == due_index);
            if (due) assert (w_addr == {due_entry[SW-1:0], due_chunk[CHUNK-1:0]} && w_data == due_word);
            if (due_index) assert (i_addr == due_entry[SW-1:0] && i_data == due_half);
            assert (in_room);
            assert (loaded == count);
            assert (stream == !over);
            // What holds the two readings together.
            assert (phase != 3 && phase == \u_loader.state && (phase == 0 || (left != 0 && !over)));
            assert (phase == 0 || \u_loader.format == HD_SEGMENT_RAW);
            assert (\u_loader.entry == (phase == 2 ? entry : block) && \u_loader.free == free && \u_loader.u_late.g_shift.q == late);
            assert (phase == 0 || \u_loader.left == left - second);
            assert (phase == 0 || (\u_loader.second == second && \u_loader.first == (phase == 1 || chunk == 0)));
            assert (phase != 2 || (k < 2 * WORDS && (left != 1 || k < WORDS) && (chunk == 0 || \u_loader.left_words == WORDS - 1 - chunk)));
            assert (phase != 2 || {\u_loader.index_second , \u_loader.index_first } == index);
            assert (\u_loader.at == \u_loader.entry [SW-1:0] && \u_loader.chunk == (phase == 2 ? chunk : 0) && \u_loader.done == due_end);
            // Counts: freed <= issued <= loaded <= begun <= freed + the ring.
            assert (late == 0 ? free == issued : free + late[0] + late[1] == issued);
            assert (count + due_end == \u_loader.entry );
            assert (begun <= RING && behind <= begun && there <= behind && (phase != 2 || (second && chunk == 0) || ahead < RING));
        end
    end endgenerate
endmodule
`default_nettype wire
