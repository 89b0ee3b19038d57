// The board's side of docs/link.md: frames of a byte stream become accesses of the accelerator's host port.
//
//   s_byte --> bits --> header (64 bits), word (32 bits), crc --> host port --> word --> bits, crc --> m_byte
//
// Bytes are taken and given a bit a clock, so that header, word and CRCs are shift registers: 8 clocks a byte. The header is a ring: a turn of
// 64 clocks counts COUNT down and ADDRESS up with one adder bit after each word, and gives COUNT and the nonce back to a reply. A turn
// ends before the next word does, when bytes come at most every 16 clocks; else the stream waits.
//
// The reader waits (s_byte_ready low) at a header while a reply of READ or SYNC uses the ring, and at a decision while any reply is under way.
// On a pipe that cannot wait (a UART) the host therefore sends nothing behind a READ or a SYNC until its reply is there; other requests may
// follow each other, because their replies are not longer than a request.
// core_rst_n is low while SYNC is answered (more than a hundred clocks): a run that was under way is gone, the memories stay.
//
// Parameter: TIMEOUT_BITS, a frame is forgotten after 2^TIMEOUT_BITS clocks without a byte.
`default_nettype none
module link #(
    parameter TIMEOUT_BITS = 20
) (
    input  wire        clk,
    input  wire        rst_n,
    // bytes
    input  wire        s_byte_valid,
    output wire        s_byte_ready,
    input  wire [7:0]  s_byte_data,
    output reg         m_byte_valid,
    input  wire        m_byte_ready,
    output reg  [7:0]  m_byte_data,
    // the accelerator
    output reg         core_rst_n,
    output wire        h_we,
    output wire        h_re,
    output wire [2:0]  h_space,
    output wire [23:0] h_addr,
    output wire [31:0] h_wdata,
    input  wire [31:0] h_rdata,
    input  wire        busy,
    input  wire        h_wait      // the port takes nothing and read data is not there yet
);
`include "heddle_contract.vh"
    localparam R_HUNT = 3'd0, R_HEAD = 3'd1, R_DECIDE = 3'd2, R_BODY = 3'd3, R_FINISH = 3'd4;
    localparam T_IDLE = 3'd0, T_HEAD = 3'd1, T_FETCH = 3'd2, T_WORD = 3'd3, T_CRC = 3'd4;
    localparam [7:0] REQUEST = HD_LINK_REQUEST[7:0], REPLY = HD_LINK_REPLY[7:0];

    // ---- what both directions share
    reg [63:0] ring;            // a header, op in the lowest bits
    reg [31:0] word;
    reg        more;            // the ring's COUNT is not 0
    reg [3:0]  expected;        // number of the next request
    reg        running;         // RUN was taken and its reply is not sent
    reg [3:0]  run_number;
    reg        run_pulse, write_pulse;
    reg [2:0]  r_state, t_state;

    // ---- turning the ring: COUNT - 1, ADDRESS + 1
    reg        turning, carry;
    reg [1:0]  turn_soon;       // the word that was written, and its place, hold for two cycles more (heddle_core.v)
    reg [5:0]  turn;
    wire       in_count = turn[5:3] == 3'd1 || turn[5:3] == 3'd2, in_address = turn[5];
    wire       turned = ring[0] ^ (carry && (in_count || in_address));
    wire       counted = !turning || turn[5] || turn[5:3] == 3'd3;      // `more` is that of the new COUNT

    // ---- reader
    reg  [2:0] r_bit;
    reg  [3:0] r_byte;
    reg        r_bad, r_skip;
    reg  [TIMEOUT_BITS-1:0] idle;
    wire       t_ring, t_idle, ended, r_crc_bit;
    wire       data_bit = s_byte_data[r_bit];
    wire       in_head = r_state == R_HEAD, in_body = r_state == R_BODY;
    wire       byte_end = r_bit == 3'd7, group_end = byte_end && r_byte[1:0] == 2'd3;
    wire       step = s_byte_valid && turn_soon == 2'd0 && !(h_wait && in_body && group_end) && ((in_head && !turning && !t_ring) || (in_body && counted && !(turning && group_end)));
    wire       checking = in_head ? r_byte[3] : !more;          // these bits are a CRC
    wire       wrong = r_bad || (checking && data_bit != r_crc_bit);
    assign s_byte_ready = r_state == R_HUNT || (step && byte_end);

    wire [3:0] op = ring[HD_LF_OP +: HD_LW_OP], number = ring[HD_LF_NUMBER +: HD_LW_NUMBER];
    wire       is_sync = op == HD_LINK_OP_SYNC, is_write = op == HD_LINK_OP_WRITE, is_read = op == HD_LINK_OP_READ, is_run = op == HD_LINK_OP_RUN;
    wire       in_order = number == expected;
    wire       known = is_run || ((is_write || is_read) && more && ring[HD_LF_SPACE + 3 +: HD_LW_SPACE - 3] == 5'd0);
    wire       register = ring[HD_LF_SPACE +: 3] == HD_SPACE_REG;
    wire       blocked = (running || busy) && !(is_read && register);
    wire       decide = r_state == R_DECIDE && t_idle && !ended && !h_wait, finish = r_state == R_FINISH && t_idle && !ended;
    wire       take = decide && !is_sync && in_order && known && !blocked;
    wire [3:0] status = finish ? (r_bad ? HD_LINK_STATUS_DATA : HD_LINK_STATUS_OK) : is_sync || take ? HD_LINK_STATUS_OK :
                        !in_order ? HD_LINK_STATUS_NUMBER : !known ? HD_LINK_STATUS_REQUEST : HD_LINK_STATUS_BUSY;
    wire       reply = finish || (decide && !(take && (is_write || is_run)));
    wire       r_crc_init = r_state == R_HUNT || r_state == R_DECIDE;
    crc32 u_r_crc (.clk(clk), .init(r_crc_init), .en(step), .feed(!checking), .data_bit(data_bit), .crc_bit(r_crc_bit));

    always @(posedge clk) begin
        if (!rst_n) begin
            r_state <= R_HUNT; run_pulse <= 1'b0; write_pulse <= 1'b0; expected <= 4'd1;
        end else begin
            run_pulse <= take && is_run;
            write_pulse <= in_body && step && group_end && more && !r_skip;
            case (r_state)
                R_HUNT: if (s_byte_valid && s_byte_data == REQUEST) r_state <= R_HEAD;
                R_HEAD: if (step && byte_end && r_byte == 4'd11) r_state <= wrong ? R_HUNT : R_DECIDE;
                        else if (&idle) r_state <= R_HUNT;
                R_DECIDE: if (decide) r_state <= is_write && more ? R_BODY : R_HUNT;
                R_BODY: if (step && group_end && !more) r_state <= r_skip ? R_HUNT : R_FINISH;
                        else if (&idle) r_state <= R_HUNT;
                default: if (finish) r_state <= R_HUNT;
            endcase
            if (decide && is_sync) expected <= 4'd1;
            else if (take && !is_write || finish && !r_bad) expected <= expected + 1'b1;
        end
        if (r_crc_init) begin
            r_bit <= 3'd0; r_byte <= 4'd0; r_bad <= 1'b0;
        end else if (step) begin
            r_bit <= r_bit + 1'b1;
            if (byte_end) r_byte <= r_byte + 1'b1;
            r_bad <= wrong;
        end
        if (decide) r_skip <= !take;
        if (take && is_run) run_number <= number;
        idle <= (in_head || in_body) && !s_byte_valid ? idle + 1'b1 : {TIMEOUT_BITS{1'b0}};
    end

    // ---- sender
    reg  [2:0] t_bit;
    reg  [3:0] t_byte, t_op, t_number, t_status;
    reg        t_read, t_run;           // a READ that is answered with words; RUN's reply
    wire       t_crc_bit;
    wire       t_sync = t_op == HD_LINK_OP_SYNC;
    wire       t_out = (t_state == T_HEAD || t_state == T_WORD || t_state == T_CRC) && !m_byte_valid;
    wire       t_end = t_out && t_bit == 3'd7;
    wire       t_fields = t_state == T_HEAD && t_out && t_byte >= 4'd1 && t_byte <= 4'd8, t_words = t_state == T_WORD && t_out;
    wire       t_address = t_byte[3] || (t_byte[2] && t_byte[1:0] != 2'd0);     // bytes 5 to 8
    wire       t_group_end = t_end && t_byte[1:0] == 2'd3;
    wire       loaded = t_state == T_FETCH && t_bit == 3'd7 && !h_wait;
    reg        t_value;
    assign t_idle = t_state == T_IDLE;
    assign t_ring = !t_idle && (t_read || t_sync);
    assign ended = t_idle && running && !busy && (r_state == R_HUNT || in_head);
    always @* begin
        if (t_state == T_WORD) t_value = word[0];
        else if (t_state == T_CRC || (t_byte[3] && t_byte != 4'd8)) t_value = t_crc_bit;
        else if (t_byte == 4'd0) t_value = REPLY[t_bit];
        else if (t_byte == 4'd1) t_value = t_bit[2] ? t_number[t_bit[1:0]] : t_status[t_bit[1:0]];
        else if (t_address) t_value = t_run ? word[0] : t_sync && ring[0];
        else if (t_byte == 4'd4) t_value = !t_bit[2] && t_op[t_bit[1:0]];
        else t_value = t_read && ring[0];
    end
    crc32 u_t_crc (.clk(clk), .init(t_idle || (t_state == T_FETCH && !t_run && t_byte[3])), .en(t_fields || t_words || t_out && (t_state == T_CRC || t_byte[3])),
                   .feed(t_fields || t_words), .data_bit(t_value), .crc_bit(t_crc_bit));
    always @(posedge clk) begin
        if (!rst_n) begin
            t_state <= T_IDLE; m_byte_valid <= 1'b0; running <= 1'b0; core_rst_n <= 1'b0;
        end else begin
            case (t_state)
                T_IDLE: if (reply) t_state <= T_HEAD;
                        else if (ended) t_state <= T_FETCH;
                T_HEAD: if (t_end && t_byte == 4'd12) t_state <= t_read ? T_FETCH : T_IDLE;
                T_FETCH: if (loaded) t_state <= t_run ? T_HEAD : T_WORD;
                T_WORD: if (t_group_end) t_state <= more ? T_FETCH : T_CRC;
                default: if (t_group_end) t_state <= T_IDLE;
            endcase
            if (t_end) m_byte_valid <= 1'b1;
            else if (m_byte_ready) m_byte_valid <= 1'b0;
            if (run_pulse) running <= 1'b1;
            else if ((decide && is_sync) || (t_run && t_state == T_HEAD && t_end && t_byte == 4'd12)) running <= 1'b0;
            core_rst_n <= !(t_sync && !t_idle);
        end
        if (t_idle) begin
            t_op <= ended ? HD_LINK_OP_RUN : op;
            t_status <= ended ? HD_LINK_STATUS_OK : status;
            t_number <= ended ? run_number : is_sync ? number : expected;
            t_read <= !ended && take && is_read;
            t_run <= ended;
        end
        if (t_idle) t_bit <= 3'd0;
        else if (t_out || (t_state == T_FETCH && !h_wait && !(turning && t_bit == 3'd0))) t_bit <= t_bit + 1'b1;
        if (t_idle || (t_state == T_FETCH && loaded)) t_byte <= 4'd0;
        else if (t_end) t_byte <= t_byte + 1'b1;
        if (t_out) m_byte_data <= {t_value, m_byte_data[7:1]};
    end

    // ---- the registers that both directions move
    wire turn_start = (in_body && step && group_end && more) || (loaded && t_read);
    wire ring_in = in_head && step && !r_byte[3], ring_out = t_fields && t_ring;
    always @(posedge clk) begin
        turn_soon <= {turn_soon[0], turn_start} & {2{rst_n}};
        if (!rst_n) turning <= 1'b0;
        else if (turn_soon[1]) turning <= 1'b1;
        else if (&turn) turning <= 1'b0;
        if (turning) turn <= turn + 1'b1;
        else turn <= 6'd0;
        if (turning && (turn == 6'd7 || turn == 6'd31)) carry <= 1'b1;
        else carry <= carry && (ring[0] != in_count);
        if (ring_in || ring_out || turning) ring <= {ring_in ? data_bit : turning ? turned : ring[0], ring[63:1]};
        if ((ring_in && r_byte == 4'd0) || (turning && turn == 6'd7)) more <= 1'b0;
        else if (turning ? in_count && turned : ring_in && (r_byte == 4'd1 || r_byte == 4'd2) && data_bit) more <= 1'b1;
        if (loaded) word <= h_rdata;
        else if ((in_body && step && !r_skip) || t_words || (t_fields && t_run && t_address)) word <= {data_bit, word[31:1]};
    end

    // ---- host port
    assign h_we = write_pulse || run_pulse;
    assign h_re = t_state == T_FETCH && t_bit == 3'd0 && !turning && !h_wait;
    assign h_space = run_pulse || t_run ? HD_SPACE_REG : ring[HD_LF_SPACE +: 3];
    assign h_addr = {ring[HD_LF_ADDRESS + 5 +: 19], run_pulse ? HD_REG_CONTROL : t_run ? HD_REG_CYCLES : ring[HD_LF_ADDRESS +: 5]};
    assign h_wdata = {word[31:1], word[0] || run_pulse};
endmodule
`default_nettype wire
