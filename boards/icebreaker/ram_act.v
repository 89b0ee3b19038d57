// hw/lib/ram_act.v in one single-port RAM of 16384 x 16 bits at twice the clock: in the middle of a cycle of clk it writes, at its end it reads (or writes the
// host's upper half). What it read is taken in the next middle, before it may be written again; so clk may lag behind clk_fast (hw/datapath_pumped.v).
// Parameter: ADDR address bits.  Requires: 14 or less; clk_fast is twice clk (PUMP 2)
`default_nettype none
module ram_act #(
    parameter ADDR = 12
) (
    input  wire            clk,
    input  wire            clk_fast,
    input  wire            take,
    input  wire [ADDR-1:0] raddr,
    output reg  [15:0]     rdata,
    input  wire            h_we,
    input  wire [1:0]      we,
    input  wire [ADDR-1:0] waddr,
    input  wire [31:0]     wdata
);
    generate if (ADDR > 14) begin : g_rule ACT_WORDS_times_LANES_must_be_32768_or_less_in_single_port_RAM bad(); end endgenerate
    wire [13:0] address;
    wire [15:0] q;
    assign address[ADDR-1:0] = take || h_we ? {waddr[ADDR-1:1], waddr[0] || !take && h_we} : raddr;
    generate if (ADDR < 14) begin : g_above
        assign address[13:ADDR] = {(14-ADDR){1'b0}};
    end endgenerate
    wire unused = &{1'b0, clk};
    SB_SPRAM256KA u_ram (
        .CLOCK(clk_fast), .ADDRESS(address), .DATAIN(take ? wdata[15:0] : wdata[31:16]), .MASKWREN({{2{we[1] || h_we}}, {2{we[0] || h_we}}}),
        .WREN(take ? h_we || |we : h_we), .CHIPSELECT(1'b1), .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(q));
    always @(posedge clk_fast) if (take) rdata <= q;
endmodule
`default_nettype wire
