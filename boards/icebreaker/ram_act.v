// hw/lib/ram_act.v in one single-port RAM of 16384 x 16 bits at twice the clock, behind registers: what is written is taken at the end of clk's cycle and stands in
// the memory after the next middle; a read address is taken in the middle, and the memory reads at the end. What it read is taken in the next middle, before it
// may be written again; so clk may lag behind clk_fast (hw/datapath_pumped.v).
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
    reg  [ADDR-1:0] at;
    reg  [15:0]     data;
    reg  [1:0]      bytes;
    reg             write;
    wire [13:0]     address;
    wire [15:0]     q;
    assign address[ADDR-1:0] = at;
    generate if (ADDR < 14) begin : g_above
        assign address[13:ADDR] = {(14-ADDR){1'b0}};
    end endgenerate
    wire unused = &{1'b0, clk};
    // The host's word: its upper half with the read address, which is that half's, then the lower one.
    always @(posedge clk_fast) begin
        at <= take ? raddr : waddr;
        data <= take ? wdata[31:16] : wdata[15:0];
        bytes <= we | {2{h_we}};
        write <= h_we || (!take && we != 2'd0);
        if (take) rdata <= q;
    end
    SB_SPRAM256KA u_ram (
        .CLOCK(clk_fast), .ADDRESS(address), .DATAIN(data), .MASKWREN({{2{bytes[1]}}, {2{bytes[0]}}}),
        .WREN(write), .CHIPSELECT(1'b1), .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(q));
endmodule
`default_nettype wire
