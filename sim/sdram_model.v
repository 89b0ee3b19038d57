// A 16-bit SDR SDRAM for simulation: keeps data, answers READ after CL clocks, and checks every rule of the data sheet that a controller can
// break. The first broken rule stays in `fault` as text (0: none) with the clock it was broken in.
//
// Commands are sampled at the rising edge. Data of a READ sampled at one edge can be sampled by the controller CL edges later. Bursts are of two; what
// a burst of other length or order would do is not modelled: such a mode is a fault.
// Parameters: MHZ the clock; EW bits of a 32-bit word's address; POWER_UP clocks before the first command, 0: as the data sheet asks.
// verilator lint_off BLKSEQ
// verilator lint_off WIDTH
// verilator lint_off UNUSEDSIGNAL
`default_nettype none
module sdram_model #(
    parameter MHZ = 75,
    parameter EW = 23,
    parameter POWER_UP = 0
) (
    input  wire         clk,
    input  wire [3:0]   sd_cmd,
    input  wire [1:0]   sd_bank,
    input  wire [12:0]  sd_addr,
    input  wire         sd_dqm,
    input  wire [15:0]  sd_out,
    input  wire         sd_oe,
    output reg  [15:0]  sd_in,
    output reg  [127:0] fault,
    output reg  [63:0]  fault_at
);
`include "heddle_contract.vh"
    localparam [31:0] POWER = POWER_UP == 0 ? HD_SDRAM_POWER_UP_US * MHZ : POWER_UP;
    localparam CL = MHZ > HD_SDRAM_CL2_MHZ ? 3 : 2;

    reg [15:0] mem [0:(2 << EW)-1];
    reg [63:0] now, refreshed, opened_any, last_burst, mode_set;
    reg [63:0] opened [0:3];
    reg [63:0] closed [0:3];            // when the bank began to close
    reg [63:0] data_in [0:3];           // last datum written
    reg [3:0]  open;
    reg [12:0] row [0:3];
    reg [3:0]  refreshes;               // since power-up, up to 8
    reg        all_closed, moded, writing;
    reg [23:0] write_at;
    // Data on the way: what is on the pins CL - 1 edges after this one.
    reg [15:0] out_1, out_2;
    reg        busy_0, busy_1, busy_2;
    reg [15:0] out_0;
    reg        second;                  // the second datum of a READ follows
    reg [23:0] second_at;
    reg [23:0] place;
    reg [1:0]  b;
    integer    k;
    initial begin
        now = 64'd0; refreshed = 64'd0; opened_any = 64'd0; last_burst = 64'd0; mode_set = 64'd0; open = 4'd0; refreshes = 4'd0; all_closed = 1'b0; moded = 1'b0;
        writing = 1'b0; second = 1'b0; busy_0 = 1'b0; busy_1 = 1'b0; busy_2 = 1'b0; fault = 128'd0; fault_at = 64'd0; sd_in = 16'd0; out_0 = 16'd0; out_1 = 16'd0; out_2 = 16'd0;
        for (k = 0; k < 4; k = k + 1) begin opened[k] = 64'd0; closed[k] = 64'd0; data_in[k] = 64'd0; row[k] = 13'd0; end
    end

    // Fewer than ns nanoseconds from `since` to now? An event that never was has the time 0.
    function early(input [63:0] since, input [31:0] ns);
        early = since != 64'd0 && (since > now || (now - since) * 64'd1000 < {32'd0, ns} * MHZ);
    endfunction
    task check(input broken, input [127:0] what);
        if (broken && fault == 128'd0) begin
            fault = what; fault_at = now;
        end
    endtask
    task close_bank(input [1:0] bank, input [63:0] when);
        begin
            check((when - opened[bank]) * 64'd1000 < HD_SDRAM_TRAS_NS * MHZ, "tRAS");
            open[bank] = 1'b0;
            closed[bank] = when;
        end
    endtask

    always @(posedge clk) begin
        now = now + 64'd1;
        b = sd_bank;
        busy_0 = 1'b0;
        // The second datum of what was sampled a clock ago.
        if (second) begin
            out_0 = mem[second_at]; busy_0 = 1'b1; second = 1'b0;
        end
        if (writing) begin
            check(!sd_oe, "no data");
            mem[write_at] = sd_out;
            writing = 1'b0;
        end else if (sd_cmd != 4'b0100) check(sd_oe && (busy_1 || busy_2 || busy_0), "bus");
        check(moded && (now - refreshed) * 64'd1000 > HD_SDRAM_REFRESH_NS * MHZ + 64'd1000, "refresh late");
        if (sd_cmd != 4'b0111 && !sd_cmd[3]) begin
            check(now <= {32'd0, POWER}, "power-up");
            check(early(refreshed, HD_SDRAM_TRFC_NS), "tRFC");
            check(mode_set != 64'd0 && now - mode_set < 64'd2, "tMRD");
        end
        case (sd_cmd)
            4'b0010: begin              // close one bank or all
                check(now - last_burst < 64'd2, "cut burst");
                for (k = 0; k < 4; k = k + 1)
                    if ((sd_addr[10] || b == k) && open[k]) begin
                        check(early(data_in[k], HD_SDRAM_TWR_NS) || (data_in[k] != 64'd0 && now - data_in[k] < 64'd2), "tWR");
                        close_bank(k, now);
                    end
                if (sd_addr[10]) all_closed = 1'b1;
            end
            4'b0001: begin              // refresh
                check(!all_closed || open != 4'd0, "refresh open");
                for (k = 0; k < 4; k = k + 1) check(early(closed[k], HD_SDRAM_TRP_NS), "tRP");
                refreshed = now;
                if (refreshes != 4'd8) refreshes = refreshes + 1'b1;
            end
            4'b0000: begin              // mode
                check(refreshes != 4'd8, "init");
                check(open != 4'd0, "mode open");
                check(sd_addr != {6'd0, CL[2:0], 4'b0001} || sd_bank != 2'd0, "mode");
                moded = 1'b1; mode_set = now;
            end
            4'b0011: begin              // open
                check(!moded, "init");
                check(open[b], "open twice");
                check(early(closed[b], HD_SDRAM_TRP_NS), "tRP");
                check(early(opened[b], HD_SDRAM_TRC_NS), "tRC");
                check(early(opened_any, HD_SDRAM_TRRD_NS), "tRRD");
                open[b] = 1'b1; row[b] = sd_addr; opened[b] = now; opened_any = now;
            end
            4'b0101, 4'b0100: begin     // read, write
                check(!open[b], "row closed");
                check(early(opened[b], HD_SDRAM_TRCD_NS), "tRCD");
                check(last_burst != 64'd0 && now - last_burst < 64'd2, "cut burst");
                check(sd_dqm, "dqm");
                check(sd_addr[0], "column");
                last_burst = now;
                // {row, bank, column}: the order in which the controller counts.
                place = {row[b], b, sd_addr[8:0]};
                if (sd_cmd[0]) begin
                    out_0 = mem[place[EW:0]]; busy_0 = 1'b1;
                    second = 1'b1; second_at = {1'b0, place[EW:0]} + 24'd1;
                    if (sd_addr[10]) close_bank(b, now + 64'd2);
                end else begin
                    check(!sd_oe, "no data");
                    check(busy_1 || busy_2, "bus");
                    mem[place[EW:0]] = sd_out;
                    writing = 1'b1; write_at = {1'b0, place[EW:0]} + 24'd1;
                    data_in[b] = now + 64'd1;
                    if (sd_addr[10]) close_bank(b, now + 64'd1 + (MHZ * HD_SDRAM_TWR_NS > 2000 ? (MHZ * HD_SDRAM_TWR_NS + 999) / 1000 : 2));
                end
            end
            4'b0110: check(1'b1, "burst stop");
            default: ;
        endcase
        sd_in <= CL == 2 ? out_1 : out_2;
        out_2 = out_1; busy_2 = busy_1;
        out_1 = busy_0 ? out_0 : 16'hdead; busy_1 = busy_0;
    end
endmodule
// verilator lint_on UNUSEDSIGNAL
// verilator lint_on WIDTH
// verilator lint_on BLKSEQ
`default_nettype wire
