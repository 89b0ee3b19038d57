// The activation memory: a 32-bit bank for each word of the host's, with one write and one read port. With FETCH 2 there is one such row of banks
// for even and one for odd elements, so that a slot reads two neighbours at once.
//
// Latency: read data one cycle after `re`, held while `re` is low. Stall rule: none.
// Parameters: LANES bytes of an element; FETCH elements a read, 1 or 2; AW address bits; BYTES 1 gives every byte its own write enable.
`default_nettype none
module act_memory #(
    parameter LANES = 8,
    parameter FETCH = 1,
    parameter AW    = 12,
    parameter BYTES = 0
) (
    input  wire                     clk,
    input  wire                     re,
    input  wire [AW-1:0]            raddr,
    output wire [FETCH*LANES*8-1:0] rdata,      // the element at raddr, and the one after it
    input  wire [LANES-1:0]         we,
    input  wire [AW-1:0]            waddr,
    input  wire [LANES*8-1:0]       wdata
);
    localparam FB = FETCH == 2 ? 1 : 0;
    wire [FETCH*LANES*8-1:0] bank;
    genvar b, e;
    generate
        for (e = 0; e < FETCH; e = e + 1) begin : g_parity
            // The even bank holds the element after an odd address.
            wire [AW-FB-1:0] at;
            wire here;
            if (FETCH == 2) begin : g_two
                assign at = e == 0 ? raddr[AW-1:1] + {{(AW-2){1'b0}}, raddr[0]} : raddr[AW-1:1];
                assign here = waddr[0] == e;
            end else begin : g_one
                assign at = raddr;
                assign here = 1'b1;
            end
            for (b = 0; b < LANES / 4; b = b + 1) begin : g_bank
                if (BYTES == 0) begin : g_words
                    wire unused = &we[b*4+1 +: 3];
                    ram_sdp #(.WIDTH(32), .DEPTH(1 << (AW - FB))) u_ram (
                        .clk(clk), .we(we[b*4] && here), .waddr(waddr[AW-1:FB]), .wdata(wdata[b*32 +: 32]),
                        .re(re), .raddr(at), .rdata(bank[(e*LANES + b*4)*8 +: 32]));
                end else begin : g_bytes
                    ram_bytes #(.DEPTH(1 << (AW - FB))) u_ram (
                        .clk(clk), .r_clk(clk), .we(here ? we[b*4 +: 4] : 4'd0), .waddr(waddr[AW-1:FB]), .wdata(wdata[b*32 +: 32]),
                        .re(re), .raddr(at), .rdata(bank[(e*LANES + b*4)*8 +: 32]));
                end
            end
        end
        if (FETCH == 2) begin : g_swap
            reg odd;
            always @(posedge clk) if (re) odd <= raddr[0];
            assign rdata = odd ? {bank[0 +: LANES*8], bank[LANES*8 +: LANES*8]} : bank;
        end else begin : g_straight
            assign rdata = bank;
        end
    endgenerate
endmodule
`default_nettype wire
