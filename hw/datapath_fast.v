// hw/datapath.v for simulation: the same ports, function and cycle of every output, written as one clocked block over private
// arrays so that Verilator's C++ vectorises (docs/hardware.md). Weights are decoded to small integers when the host writes them.
//
// Not for synthesis. Chosen by `define HD_FAST_ARRAY; the differential tests run both views.
// verilator lint_off BLKSEQ
// verilator lint_off WIDTH
// verilator lint_off UNUSEDSIGNAL
// (blocking assignments and 32-bit loop arithmetic are what makes it fast)
`default_nettype none
module datapath_fast #(
    parameter ROWS     = 4,
    parameter COLS     = 8,
    parameter LANES    = 8,
    parameter PLANES   = 2,
    parameter ACC_BITS = 24,
    parameter FETCH    = 1,
    parameter SLOT     = 1,
    parameter DATA     = SLOT > 1 ? 16 : FETCH * LANES * 8,
    parameter DRAIN    = 1,
    parameter SERIAL   = 0,            // rows of a column one after the other
    parameter OUT      = SERIAL != 0 ? ACC_BITS : ROWS * ACC_BITS,
    // verilator lint_off UNUSEDPARAM
    parameter HOP      = 8,            // no difference here but in LATA
    // verilator lint_on UNUSEDPARAM
    parameter LATA     = 10,           // cycles from a LAST step's issue to its first column on the drain
    parameter PUMP     = 1,            // elements of a weight word
    parameter WW       = 8,
    parameter SW       = 10,
    parameter CHUNK    = 2,
    parameter PB       = $clog2(PUMP),
    parameter GATHER   = 0,
    parameter IC       = 0,
    parameter SLOTS    = 32,           // tiles between capture and drain: at most LATA, 21 at the largest
    parameter ARITH    = 32            // bits of an accumulator here, ACC_BITS or more; proofs take fewer than simulation
) (
    input  wire                     clk,
    input  wire [ROWS-1:0]          w_en,
    input  wire                     w_buf,
    input  wire [ROWS*WW-1:0]       w_addr,
    input  wire                     w_pair,
    input  wire [$clog2(LANES/2)-1:0] w_piece,
    input  wire [DATA-1:0]          w_data,
    input  wire                     h_we,
    input  wire [SW+PB+CHUNK-1:0]   h_addr,
    input  wire [31:0]              h_wdata,
    input  wire                     x_we,
    input  wire [SW+IC-1:0]         x_addr,
    input  wire [31:0]              x_wdata,
    input  wire                     re,
    input  wire                     r_buf,
    input  wire [WW-1:0]            r_addr,
    input  wire                     s_valid,
    input  wire                     s_first,
    input  wire                     s_last,
    input  wire [SW-1:0]            s_pc,
    output reg  [ROWS*LANES*8-1:0]  word,
    output reg  [OUT-1:0]           drain,
    output reg  [ROWS*ACC_BITS-1:0] row_sum
);
    localparam PART = LANES / PUMP, LP = PART * PLANES, WORDS = (COLS * LP + 31) / 32;      // lanes, bits a position, host words of a weight element
    localparam TURNS = SERIAL != 0 ? ROWS * COLS : COLS;        // of the drain
    localparam BIAS = 16;               // above every weight of a lane, 2^PLANES - 1

    // One array dimension a loop: the compiler then sees that no index wraps, and vectorises.
    reg signed [7:0]  win  [0:2*ROWS-1][0:(1 << WW)-1][0:LANES-1];     // buffer and row, word, lane
    reg        [31:0] raw  [0:(PUMP << SW)-1][0:WORDS-1];
    reg        [15:0] wt   [0:(1 << SW)-1][0:LANES-1][0:COLS-1];       // entry, lane, drained position; plus BIAS: bytes without a sign are quicker to widen
    reg signed [15:0] part_ones [0:(PUMP << SW)-1][0:COLS-1];          // one's complements of an element's position
    reg signed [15:0] ones [0:(1 << SW)-1][0:COLS-1];                  // and of an entry's
    reg        [WW-1:0] pair [0:(1 << SW)-1][0:LANES/2-1];             // GATHER: entry, pair
    reg signed [ARITH-1:0] acc  [0:ROWS-1][0:COLS-1];
    reg signed [ARITH-1:0] sum  [0:ROWS-1];
    reg signed [ARITH-1:0] snap [0:SLOTS-1][0:ROWS-1][0:COLS-1];
    reg signed [ARITH-1:0] snap_sum [0:SLOTS-1][0:ROWS-1];
    reg [LATA-2:0] due;
    reg        sum_due;
    reg [31:0] in_slot, out_slot, sum_slot, col, stay;
    initial begin due = 0; slot = 0; sum_due = 0; sum_slot = 0; in_slot = 0; out_slot = 0; col = TURNS; stay = 0; end

    reg [ROWS*LANES*8-1:0] word_read;
    reg [31:0] r, l, d, p, at, row, slot, element, entry, lane, chunk, first_bit, bit_at, value_bits;
    reg signed [31:0] a, a0, a1, a2, a3, v, n, s;
    always @(posedge clk) begin
        r = 0; l = 0; d = 0; p = 0;
        // With GATHER window words come a cycle later.
        if (GATHER != 0) word <= word_read;

        // ---- drain: column 0 LATA cycles after the tile's last step
        // Outputs are nonblocking: other blocks read them at this edge.
        if (sum_due) for (r = 0; r < ROWS; r = r + 1) row_sum[r*ACC_BITS +: ACC_BITS] <= snap_sum[sum_slot][r];
        sum_due = due[LATA-2];
        if (due[LATA-2]) begin
            col = 0; stay = DRAIN - 1;
            sum_slot = out_slot;
            slot = out_slot;
            out_slot = (out_slot + 1) % SLOTS;
        end else if (DRAIN > 1 && stay != 0) begin
            stay = stay - 1;
        end else if (col < TURNS) begin
            col = col + 1; stay = DRAIN - 1;
        end
        if (SERIAL != 0 && col < TURNS) drain <= snap[slot][col % ROWS][col / ROWS];
        if (SERIAL == 0 && col < TURNS) for (r = 0; r < ROWS; r = r + 1) drain[(r*ACC_BITS) % OUT +: ACC_BITS] <= snap[slot][r][col];
        due = {due[LATA-3:0], s_valid && s_last};

        // ---- a step
        if (s_valid) begin
            if (s_first) begin
                for (r = 0; r < ROWS; r = r + 1) for (d = 0; d < COLS; d = d + 1) acc[r][d] = 0;
                for (r = 0; r < ROWS; r = r + 1) sum[r] = 0;
            end
            for (r = 0; r < ROWS; r = r + 1) begin
                row = r_buf ? ROWS + r : r;
                s = 0;
                // Four lanes (there is no fewer) for each time the accumulators are read and written.
                for (l = 0; l < LANES; l = l + 4) begin
                    a0 = win[row][GATHER != 0 ? pair[s_pc][l >> 1] : r_addr][l];
                    a1 = win[row][GATHER != 0 ? pair[s_pc][l >> 1] : r_addr][l + 1];
                    a2 = win[row][GATHER != 0 ? pair[s_pc][(l >> 1) + 1] : r_addr][l + 2];
                    a3 = win[row][GATHER != 0 ? pair[s_pc][(l >> 1) + 1] : r_addr][l + 3];
                    s = s + a0 + a1 + a2 + a3;
                    for (d = 0; d < COLS; d = d + 1)
                        acc[r][d] = acc[r][d] + a0 * $signed({16'd0, wt[s_pc][l][d]}) + a1 * $signed({16'd0, wt[s_pc][l + 1][d]}) + a2 * $signed({16'd0, wt[s_pc][l + 2][d]}) + a3 * $signed({16'd0, wt[s_pc][l + 3][d]});
                end
                for (d = 0; d < COLS; d = d + 1) acc[r][d] = acc[r][d] - s * BIAS - ones[s_pc][d];
                sum[r] = sum[r] + s;
            end
            if (s_last) begin
                for (r = 0; r < ROWS; r = r + 1) for (d = 0; d < COLS; d = d + 1) snap[in_slot][r][d] = acc[r][d];
                for (r = 0; r < ROWS; r = r + 1) snap_sum[in_slot][r] = sum[r];
                in_slot = (in_slot + 1) % SLOTS;
            end
        end else if (re) begin
            for (r = 0; r < ROWS; r = r + 1)
                for (l = 0; l < LANES; l = l + 1)
                    word_read[(r*LANES + l)*8 +: 8] = win[r_buf ? ROWS + r : r][r_addr][l];
            if (GATHER == 0) word <= word_read;
        end

        if (GATHER != 0 && x_we && x_addr % (1 << IC) != 0) begin
            l = 2 * (x_addr % (1 << IC) - 1);
            if (l < LANES / 2) for (p = 0; p < 2; p = p + 1) pair[x_addr >> IC][l + p] = x_wdata >> (16 * p);
        end

        // ---- window writes
        if (w_en != 0) begin
            for (r = 0; r < ROWS; r = r + 1) if (w_en[r]) begin
                row = w_buf ? ROWS + r : r;
                at = w_addr[r*WW +: WW];
                if (SLOT > 1) for (l = 0; l < 2; l = l + 1) win[row][at][2*w_piece + l] = w_data[l*8 +: 8];
                else for (l = 0; l < LANES; l = l + 1) win[row][at][l] = w_data[(l*8) % DATA +: 8];
                if (FETCH == 2 && w_pair) for (l = 0; l < LANES; l = l + 1) win[row][at + 1][l] = w_data[((FETCH-1)*LANES*8 + l*8) % DATA +: 8];
            end
        end

        // ---- weight writes: decode every position that the word touches
        if (h_we) begin
            element = h_addr >> CHUNK;
            entry = element >> PB;
            lane = (element % PUMP) * PART;
            chunk = CHUNK == 0 ? 0 : h_addr % (1 << CHUNK);
            if (chunk < WORDS) begin
                raw[element][chunk] = h_wdata;
                first_bit = chunk * 32;
                for (d = 0; d < COLS; d = d + 1) if (d * LP + LP > first_bit && d * LP < first_bit + 32) begin
                    n = 0;
                    for (l = 0; l < PART; l = l + 2) begin
                        a = 0; v = 0;
                        for (p = 0; p < PLANES; p = p + 1) begin
                            bit_at = d*LP + p*PART + l;
                            value_bits = raw[element][bit_at / 32] >> (bit_at % 32);
                            s = value_bits[1] ? -(32'sd1 <<< p) : (32'sd1 <<< p);
                            a = a + s;
                            v = v + (value_bits[0] ? -s : s);
                            if (value_bits[1]) n = n + (32'sd1 <<< p);
                        end
                        wt[entry][lane + l][d] = a + BIAS;
                        wt[entry][lane + l + 1][d] = v + BIAS;
                    end
                    part_ones[element][d] = n;
                    n = 0;
                    for (p = 0; p < PUMP; p = p + 1) n = n + part_ones[entry * PUMP + p][d];
                    ones[entry][d] = n;
                end
            end
        end
    end
endmodule
// verilator lint_on UNUSEDSIGNAL
// verilator lint_on WIDTH
// verilator lint_on BLKSEQ
`default_nettype wire
