// Controller of a 16-bit SDR SDRAM (4 banks, 8,192 rows, 512 columns) that reads one linear sequence of 32-bit words, for hw/loader.v,
// and single words for the host while nothing runs. One clock for all; sd_clk of a board is this clock, inverted.
//
// Schedule: a period of T clocks, t = 0 .. T-1. All banks close at t = 1, refresh is at t = REFRESH, rows open from t = OPEN on. READ stands at even t, all
// other commands of a run at odd t, so that the next bank's row opens while words of this one are read: a word every two clocks, the bus's limit,
// but for the refresh. Only that closes rows: no bank has its turn twice in a period. `start` sets t to T - S: a run's schedule is a
// function of the clocks since start and of nothing that was before. The words are READ only when `room` says so; rows open whether or not.
//
// Latency: m_valid comes 3 + CL clocks after `asked`; a host's word takes about 12 clocks, more at a refresh (x_wait). Start: first READ
// S + OPEN + 2 or 3 clocks after start. After power-up x_wait is high for 200 us; no reset but power, because refresh must go on while a host resets the core.
// sd_in is sampled at the end of the clock that is CL clocks after the one in which the READ stands on the pins.
//
// Parameters: MHZ the clock, 16..133, from which all times follow (contract: HD_SDRAM_*); EW bits of a word address, 10..23;
// POWER_UP clocks before the first command, 0: 200 us.
`default_nettype none
module sdram #(
    parameter MHZ = 75,
    parameter EW = 23,
    parameter POWER_UP = 0
) (
    input  wire          clk,
    // the stream
    input  wire          start,      // one clock; stream is low before and high after it
    input  wire [EW-9:0] first_row,  // of 256 words: the stream begins with it; taken at start
    input  wire          stream,
    input  wire          room,       // a word asked for now will find room
    output wire          asked,
    output wire          m_valid,
    output wire [31:0]   m_data,
    // the host; while x_wait is high nothing is taken
    input  wire          x_we,
    input  wire          x_re,
    input  wire [EW-1:0] x_addr,
    input  wire [31:0]   x_wdata,
    output reg  [31:0]   x_rdata,
    output wire          x_wait,
    // the memory
    output reg  [3:0]    sd_cmd,     // cs_n, ras_n, cas_n, we_n
    output reg  [1:0]    sd_bank,
    output reg  [12:0]   sd_addr,
    output reg           sd_dqm,
    output reg  [15:0]   sd_out,
    output reg           sd_oe,
    input  wire [15:0]   sd_in
);
`include "heddle_contract.vh"
    // ---- times in clocks
    localparam TRP = (HD_SDRAM_TRP_NS * MHZ + 999) / 1000, TRFC = (HD_SDRAM_TRFC_NS * MHZ + 999) / 1000;
    localparam TRCD = (HD_SDRAM_TRCD_NS * MHZ + 999) / 1000, TRAS = (HD_SDRAM_TRAS_NS * MHZ + 999) / 1000;
    localparam TWR_NS = (HD_SDRAM_TWR_NS * MHZ + 999) / 1000, TWR = TWR_NS < 2 ? 2 : TWR_NS;
    localparam CL = MHZ > HD_SDRAM_CL2_MHZ ? 3 : 2;
    // A host's READ closes its row two clocks later, which must leave it TRAS.
    localparam READY = TRCD + 2 > TRAS ? TRCD : TRAS - 2;
    localparam [31:0] REFRESH = 1 + (TRP + 1) / 2 * 2, OPEN = REFRESH + (TRFC + 1) / 2 * 2;
    localparam S = (TRFC + 3) / 2 * 2;                               // a refresh that began before start is over
    localparam T = (HD_SDRAM_REFRESH_NS * MHZ / 1000 - S - 2) / 2 * 2;
    localparam [31:0] LAST_OPEN = T + 1 - TRAS;
    // A host's word: row, command READY clocks later, the row closed after two data and write recovery, and again usable.
    localparam [31:0] X_FIRST = READY, X_SECOND = READY + 1, X_END = READY + 2 + TWR + TRP + 3, LAST_HOST = T - X_END;
    localparam BOOT = POWER_UP == 0 ? HD_SDRAM_POWER_UP_US * MHZ : POWER_UP;
    localparam TB = $clog2(T);
    localparam [31:0] T_LAST = T - 1, T_START = T - S;
    localparam [3:0] C_NOP = 4'b0111, C_OPEN = 4'b0011, C_READ = 4'b0101, C_WRITE = 4'b0100, C_CLOSE = 4'b0010, C_REFRESH = 4'b0001, C_MODE = 4'b0000;
    localparam [12:0] ALL = 13'h400;                                 // A10: all banks; with READ or WRITE: close afterwards
    localparam [2:0] CL_FIELD = CL;
    generate
        if (MHZ < HD_EXTERN_MIN_MHZ || MHZ > HD_SDRAM_MAX_MHZ) begin : g_rule_mhz EXTERN_MHZ_must_be_16_to_133 bad(); end
        if (EW < 10 || EW > HD_EXTERN_MAX) begin : g_rule_size EXTERN_must_be_0_or_10_to_23 bad(); end
    endgenerate

    // ---- power-up: close all, eight refreshes, mode
    reg        up = 1'b0;
    reg [3:0]  boot_step = 4'd0;
    reg [15:0] boot_wait = BOOT[15:0];
    wire       boot_now = !up && boot_wait == 16'd0;
    always @(posedge clk) begin
        if (!up) boot_wait <= boot_wait - 1'b1;
        if (boot_now) begin
            boot_wait <= TRFC[15:0] - 1'b1;                          // longer than TRP and the mode's two clocks
            boot_step <= boot_step + 1'b1;
            if (boot_step == 4'd10) up <= 1'b1;
        end
    end

    // ---- the period
    reg [TB-1:0] t = {TB{1'b0}};
    reg          shut = 1'b0;                                        // rows stay closed until the next refresh
    reg          stream_q = 1'b0;
    wire         stop = stream_q && !stream;
    always @(posedge clk) begin
        stream_q <= stream && !start;
        if (!up) t <= {TB{1'b0}};
        else if (start || stop) t <= T_START[TB-1:0];
        else t <= t == T_LAST[TB-1:0] ? {TB{1'b0}} : t + 1'b1;
        if (start || stop) shut <= 1'b1;
        else if (t == 1) shut <= 1'b0;
    end
    wire other = t[0], close_now = up && t == 1, refresh_now = up && t == REFRESH[TB-1:0];
    wire may_open = up && other && !shut && t >= OPEN[TB-1:0];

    // ---- the stream
    reg  [EW-1:0] at;
    wire [22:0]   at_full = {{(23-EW){1'b0}}, at};
    wire [14:0]   after = at_full[22:8] + 1'b1;                      // row and bank that follow
    reg           here, next;                                        // this row, the next one is open
    reg  [3:0]    settle;                                            // clocks until the row opened last can be read
    reg           for_next;                                          // that row is the next one
    wire          open_here = stream && may_open && t <= LAST_OPEN[TB-1:0] && !here;
    wire          open_next = stream && may_open && t <= LAST_OPEN[TB-1:0] && here && !next && settle == 4'd0;
    wire          row_end = &at[7:0];
    assign asked = stream && room && up && !other && t != 0 && here && (settle == 4'd0 || for_next);
    always @(posedge clk) begin
        if (start) at <= {first_row, 8'd0};
        else if (asked) at <= at + 1'b1;
        if (start || !stream || close_now) begin
            here <= 1'b0; next <= 1'b0;
        end else if (asked && row_end) begin
            here <= next; next <= 1'b0;
        end else begin
            if (open_here) here <= 1'b1;
            if (open_next) next <= 1'b1;
        end
        if (open_here || open_next) settle <= READY[3:0] - 1'b1;
        else if (settle != 4'd0) settle <= settle - 1'b1;
        if (open_next) for_next <= 1'b1;
        else if (open_here || (asked && row_end)) for_next <= 1'b0;
    end

    // ---- a host's word
    reg          x_busy = 1'b0, x_run = 1'b0, x_write;
    reg  [4:0]   x_step;
    reg  [EW-1:0] x_at;
    reg  [31:0]  x_word;
    wire [22:0]  x_full = {{(23-EW){1'b0}}, x_at};
    wire         x_open = x_busy && !x_run && !stream && may_open && t <= LAST_HOST[TB-1:0];
    wire         x_now = x_run && x_step == X_FIRST[4:0], x_second = x_run && x_step == X_SECOND[4:0];
    assign x_wait = x_busy || !up;
    always @(posedge clk) begin
        if (!x_wait && (x_we || x_re)) begin
            x_busy <= 1'b1; x_write <= x_we; x_at <= x_addr; x_word <= x_wdata;
        end else if (x_run && x_step == X_END[4:0]) begin
            x_busy <= 1'b0; x_run <= 1'b0;
        end else if (x_open) begin
            x_run <= 1'b1; x_step <= 5'd1;
        end else x_step <= x_step + 1'b1;
    end

    // ---- what comes back: the low half first
    reg  [15:0] in_q, low;
    wire        in_host;
    reg  [CL+2:0] due, due_host;
    always @(posedge clk) begin
        in_q <= sd_in; low <= in_q;
        due <= start ? {(CL+3){1'b0}} : {due[CL+1:0], asked};
        due_host <= {due_host[CL+1:0], x_now && !x_write};
        if (in_host) x_rdata <= m_data;
    end
    assign m_valid = due[CL+2];
    assign in_host = due_host[CL+2];
    assign m_data = {in_q, low};

    // ---- the pins
    initial begin
        sd_cmd = C_NOP; sd_dqm = 1'b1; sd_oe = 1'b0;
    end
    always @(posedge clk) begin
        sd_cmd <= C_NOP;
        sd_oe <= (x_now || x_second) && x_write;
        sd_out <= x_now ? x_word[15:0] : x_word[31:16];
        sd_dqm <= !up;
        sd_bank <= at_full[9:8];
        sd_addr <= ALL;
        if (boot_now) begin
            case (boot_step)
                4'd0: sd_cmd <= C_CLOSE;
                4'd9: begin
                    sd_cmd <= C_MODE; sd_bank <= 2'd0; sd_addr <= {6'd0, CL_FIELD, 4'b0001};    // bursts of two
                end
                4'd10: ;
                default: sd_cmd <= C_REFRESH;
            endcase
        end else if (close_now) sd_cmd <= C_CLOSE;
        else if (refresh_now) sd_cmd <= C_REFRESH;
        else if (open_here) begin
            sd_cmd <= C_OPEN; sd_addr <= at_full[22:10];
        end else if (open_next) begin
            sd_cmd <= C_OPEN; sd_bank <= after[1:0]; sd_addr <= after[14:2];
        end else if (asked) begin
            sd_cmd <= C_READ; sd_addr <= {4'd0, at_full[7:0], 1'b0};
        end else if (x_open) begin
            sd_cmd <= C_OPEN; sd_bank <= x_full[9:8]; sd_addr <= x_full[22:10];
        end else if (x_now) begin
            sd_cmd <= x_write ? C_WRITE : C_READ; sd_bank <= x_full[9:8]; sd_addr <= {2'd0, 1'b1, 1'b0, x_full[7:0], 1'b0};
        end
    end
endmodule
`default_nettype wire
