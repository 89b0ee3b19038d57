// Eight weights a beat in offset binary -> 32-bit words of pair codes {neg, sel}, a channel's most significant column first.
//
// The planes of a channel are rows of LANES bits, in the order in which a weight word holds them: columns from the most significant on, in a column the least
// plane first. A beat brings eight bits of every row. The first G - 1 beats of a channel wait in `early`; with the last one all rows move into `out`, which
// leaves by 32 bits a cycle while the next channel gathers. Beats are a cycle apart or, with 8 planes, two, so `out` is empty in time.
//
// Latency: the first word of a channel comes the cycle after its last beat. Throughput: a word a cycle. Stall rule: none.
// Parameters: LANES, PLANES as in decode.v; DEEP bits of a weight in x: 4, or 8, of which `deep` low takes the upper four.
`default_nettype none
module decode_channel #(
    parameter LANES  = 8,
    parameter PLANES = 2,
    parameter DEEP   = 4
) (
    input  wire              clk,
    input  wire              start,
    input  wire              valid,
    input  wire              deep,
    input  wire [8*DEEP-1:0] x,
    output wire              m_valid,
    output wire [31:0]       m_data
);
    localparam G = LANES / 8, BITS = LANES * DEEP, CB = $clog2(2 * G) + 1;
    wire [G*8*DEEP-1:0] all;              // beat g of the channel from bit g*8*DEEP on
    wire                last;
    generate
        if (G == 1) begin : g_one
            assign all = x;
            assign last = 1'b1;
        end else begin : g_gather
            reg [(G-1)*8*DEEP-1:0] early;
            reg [$clog2(G)-1:0]    count;
            assign all = {x, early};
            assign last = &count;
            always @(posedge clk) begin
                if (start) count <= {$clog2(G){1'b0}};
                else if (valid) count <= count + 1'b1;
                if (valid) early <= all[G*8*DEEP-1:8*DEEP];
            end
        end
    endgenerate

    wire [BITS-1:0] rows;
    genvar r, g, i;
    generate for (r = 0; r < DEEP; r = r + 1) begin : g_row
        localparam K = (DEEP / PLANES - 1 - r / PLANES) * PLANES + r % PLANES;
        for (g = 0; g < G; g = g + 1) begin : g_beat
            for (i = 0; i < 4; i = i + 1) begin : g_pair
                wire s0 = all[(8*g + 2*i)*DEEP + K], s1 = all[(8*g + 2*i + 1)*DEEP + K];
                assign rows[r*LANES + 8*g + 2*i] = s0 ^ s1;
                assign rows[r*LANES + 8*g + 2*i + 1] = ~s0;
            end
        end
    end endgenerate

    reg [BITS-1:0] out;
    reg [CB-1:0]   words;                 // of `out` not yet sent
    localparam [31:0] G32 = G;
    localparam [CB-1:0] WORDS4 = G32[CB-1:0], WORDS8 = WORDS4 << 1;
    assign m_valid = words != {CB{1'b0}};
    assign m_data = out[31:0];
    always @(posedge clk) begin
        if (start) words <= {CB{1'b0}};
        else if (valid && last) words <= deep ? WORDS8 : WORDS4;
        else if (m_valid) words <= words - 1'b1;
        out <= valid && last ? rows : out >> 32;
    end
endmodule
`default_nettype wire
