// The window memory: for each row two buffers of activation words, written by fetch, read by the array.
// All rows read the same address, each row is written at its own; with GATHER each pair of lanes is a memory of its own that all rows read at the pair's address. With FETCH 2 a row's memory is two banks, even and odd words, so that two
// neighbouring words can be written at once.
//
// With SLOT above 1 words are written in pieces of 16 bits, each into a memory of its own.
//
// Latency: `q` one cycle after `re`.
// Parameters: ROWS; LANES bytes of a word; FETCH 1 or 2; SLOT 1, or more: pieces; GATHER 1: an address a pair (SLOT 1); WW address bits of one buffer.
`default_nettype none
module window #(
    parameter ROWS  = 4,
    parameter LANES = 8,
    parameter FETCH = 1,
    parameter SLOT  = 1,
    parameter DATA  = SLOT > 1 ? 16 : FETCH * LANES * 8,
    parameter PB    = $clog2(LANES / 2),
    parameter GATHER = 0,
    parameter PARTS  = GATHER != 0 ? LANES / 2 : 1,     // of a word that are read at addresses of their own
    parameter WW    = 8
) (
    input  wire                    clk,
    input  wire                    w_clk,       // writes
    input  wire [ROWS-1:0]         w_en,
    input  wire                    w_buf,
    input  wire [ROWS*WW-1:0]      w_addr,
    input  wire                    w_pair,      // two words, the first at an even address
    input  wire [PB-1:0]           w_piece,     // SLOT above 1: which 16 bits of the word
    input  wire [DATA-1:0]         w_data,
    input  wire                    re,
    input  wire                    r_buf,
    input  wire [PARTS*WW-1:0]     r_addr,
    output wire [ROWS*LANES*8-1:0] q
);
    genvar r;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_row
        wire [WW-1:0] at = w_addr[r*WW +: WW];
        if (SLOT > 1) begin : g_pieces
            genvar p;
            for (p = 0; p < LANES / 2; p = p + 1) begin : g_piece
                (* no_rw_check *) reg [15:0] mem [0:(2 << WW)-1];
                reg [15:0] out;
                always @(posedge w_clk) if (w_en[r] && w_piece == p) mem[{w_buf, at}] <= w_data;
                always @(posedge clk) if (re) out <= mem[{r_buf, r_addr}];
                assign q[(r*LANES + 2*p)*8 +: 16] = out;
            end
        end else begin : g_words
            localparam PW = LANES * 8 / PARTS;
            genvar p;
            for (p = 0; p < PARTS; p = p + 1) begin : g_part
                wire [WW-1:0] from = r_addr[p*WW +: WW];
                if (FETCH == 1) begin : g_one
                    ram_sdp #(.WIDTH(PW), .DEPTH(2 << WW)) u_ram (
                        .clk(clk), .we(w_en[r]), .waddr({w_buf, at}), .wdata(w_data[p*PW +: PW]),
                        .re(re), .raddr({r_buf, from}), .rdata(q[r*LANES*8 + p*PW +: PW]));
                end else begin : g_two
                    wire [PW-1:0] even, odd;
                    reg pick;
                    ram_sdp #(.WIDTH(PW), .DEPTH(1 << WW)) u_even (
                        .clk(clk), .we(w_en[r] && (w_pair || !at[0])), .waddr({w_buf, at[WW-1:1]}), .wdata(w_data[p*PW +: PW]),
                        .re(re), .raddr({r_buf, from[WW-1:1]}), .rdata(even));
                    ram_sdp #(.WIDTH(PW), .DEPTH(1 << WW)) u_odd (
                        .clk(clk), .we(w_en[r] && (w_pair || at[0])), .waddr({w_buf, at[WW-1:1]}), .wdata(w_pair ? w_data[LANES*8 + p*PW +: PW] : w_data[p*PW +: PW]),
                        .re(re), .raddr({r_buf, from[WW-1:1]}), .rdata(odd));
                    always @(posedge clk) if (re) pick <= from[0];
                    assign q[r*LANES*8 + p*PW +: PW] = pick ? odd : even;
                end
            end
        end
    end endgenerate
    wire unused = &{1'b0, w_clk, w_pair, w_piece};
endmodule
`default_nettype wire
