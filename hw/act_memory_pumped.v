// The activation memory beside datapath_pumped.v: PART = LANES/PUMP bytes wide and PUMP times as deep. Read at clk_fast, PUMP parts of an element in a
// cycle of clk; written at clk. Padding is chosen here, in the narrow word.
//
// Read latency: an address in cycle x (fetch: with `f_pad` in x+1) has its parts on `part_data` from the middle of cycle x+2 on, one a cycle of clk_fast.
// `h_word` is the host's word from the middle of cycle x+2 on, until the next address; so for the host an address in x holds until the next h_re.
// Writes: a byte of post in one cycle; the first byte of an element fills the other lanes, which takes PUMP cycles of clk.
// Stall rule: none; two bytes of post come PUMP cycles or more apart.
// Parameters: PUMP 2 or 4; LANES bytes of an element; AW address bits; LC address bits of a 32-bit word within an element.
`default_nettype none
module act_memory_pumped #(
    parameter PUMP  = 4,
    parameter LANES = 32,
    parameter AW    = 6,
    parameter LC    = $clog2(LANES / 4),
    parameter LB    = $clog2(LANES),
    parameter PART  = LANES / PUMP
) (
    input  wire              clk,
    input  wire              clk_fast,
    input  wire              take,          // datapath_pumped.v
    input  wire              busy,
    // fetch
    input  wire [AW-1:0]     f_addr,
    input  wire              f_pad,         // one cycle later
    input  wire [7:0]        f_pad_byte,
    output reg  [PART*8-1:0] part_data,
    // host, while not busy
    input  wire              h_re,
    input  wire              h_we,
    input  wire [AW+LC-1:0]  h_addr,
    input  wire [31:0]       h_wdata,
    output wire [31:0]       h_word,
    // post
    input  wire              st_we,
    input  wire              st_word,       // the first byte of an element
    input  wire [AW-1:0]     st_addr,
    input  wire [LB-1:0]     st_lane,
    input  wire [7:0]        st_value,
    input  wire [7:0]        st_fill
);
    localparam PB = $clog2(PUMP), BB = LC - PB;       // bits of a part, of a bank of the part
    localparam BANKS = PART / 4;
    localparam [31:0] LANE_MASK = PART - 1;

    // ---- the address: a register of clk, sampled in the middle of its cycle
    reg  [AW-1:0] addr;
    reg  [LC-1:0] h_at;
    reg           host;
    always @(posedge clk) begin
        host <= !busy;
        if (busy) addr <= f_addr;
        else if (h_re) addr <= h_addr[LC +: AW];
        if (h_re) h_at <= h_addr[LC-1:0];
    end
    localparam SAMPLE = AW + PB + 10;
    wire [SAMPLE-1:0] request = {addr, h_at[LC-1 -: PB], host, f_pad, f_pad_byte};
    // verilator lint_off UNUSEDSIGNAL
    wire [SAMPLE-1:0] sampled, next;    // what the memory reads by, and what that becomes after a cycle with `fresh`
    // verilator lint_on UNUSEDSIGNAL
    wire              fresh;
    reg  [SAMPLE-1:0] held;
    always @(posedge clk_fast) if (take) held <= request;
    generate if (PUMP == 2) begin : g_two
        assign sampled = held;
        assign next = request;
        assign fresh = take;
    end else begin : g_four
        // Two cycles more, so that the parts come with the window addresses that datapath_pumped.v samples a cycle of clk later.
        reg [SAMPLE-1:0] later;
        reg [1:0] taken;
        always @(posedge clk_fast) begin
            taken <= {taken[0], take};
            if (taken[1]) later <= held;
        end
        assign sampled = later;
        assign next = held;
        assign fresh = taken[1];
    end endgenerate
    reg  [PB-1:0] part;
    reg           pad;
    reg  [7:0]    pad_byte;
    always @(posedge clk_fast) begin
        if (fresh) part <= next[9] ? next[10 +: PB] : {PB{1'b0}};
        else if (!sampled[9]) part <= part + 1'b1;
        pad <= sampled[8] && !sampled[9]; pad_byte <= sampled[7:0];
    end

    // ---- writes
    localparam [PB-1:0] SECOND = 1;
    reg           filling;
    reg  [PB-1:0] fill_part;
    reg  [AW-1:0] fill_addr;
    always @(posedge clk) begin
        if (st_we) begin
            filling <= st_word; fill_part <= SECOND; fill_addr <= st_addr;
        end else begin
            if (&fill_part) filling <= 1'b0;
            fill_part <= fill_part + 1'b1;
        end
    end
    wire [AW+PB-1:0] write_at = !busy ? h_addr[LC+AW-1 -: AW+PB] : st_we ? {st_addr, st_lane[LB-1 -: PB]} : {fill_addr, fill_part};
    wire fills = st_we ? st_word : filling;

    wire [PART*8-1:0] q;
    genvar b, l;
    generate for (b = 0; b < BANKS; b = b + 1) begin : g_bank
        wire [3:0]  we;
        wire [31:0] data;
        wire        h_here;
        if (BB == 0) begin : g_one
            assign h_here = h_we;
        end else begin : g_many
            assign h_here = h_we && h_addr[BB-1:0] == b;
        end
        for (l = 0; l < 4; l = l + 1) begin : g_byte
            wire mine = ({{(32-LB){1'b0}}, st_lane} & LANE_MASK) == b*4 + l;
            assign we[l] = busy ? fills || (st_we && mine) : h_here;
            assign data[l*8 +: 8] = !busy ? h_wdata[l*8 +: 8] : st_we && mine ? st_value : st_fill;
        end
        ram_bytes #(.DEPTH(1 << (AW + PB))) u_ram (
            .clk(clk), .r_clk(clk_fast), .we(we), .waddr(write_at), .wdata(data), .re(1'b1), .raddr({sampled[SAMPLE-1 -: AW], part}), .rdata(q[b*32 +: 32]));
    end endgenerate
    always @(posedge clk_fast) part_data <= pad ? {PART{pad_byte}} : q;
    generate if (BB == 0) begin : g_word
        assign h_word = part_data;
    end else begin : g_pick
        assign h_word = part_data[{h_at[BB-1:0], 5'd0} +: 32];
    end endgenerate
endmodule
`default_nettype wire
