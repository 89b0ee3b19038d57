// A bank of the weight memory in two single-port RAMs of 16384 x 16 bits; same ports as hw/lib/ram_weight.v.
// UP5K has four of them, so two banks: 64 bits a cycle.
// Parameter: DEPTH words.  Requires: at most 16384; wdata holds for a cycle of clk after `we`, which hw/link does
`default_nettype none
module ram_weight #(
    parameter DEPTH = 256,
    parameter ADDR  = $clog2(DEPTH)
) (
    input  wire            clk,
    input  wire            h_clk,       // not used: a write is the same for as long as `we` lasts
    input  wire            we,
    input  wire [ADDR-1:0] waddr,
    input  wire [31:0]     wdata,
    input  wire [ADDR-1:0] raddr,
    output wire [31:0]     rdata
);
    generate if (DEPTH > 16384) begin : g_rule STREAM_WORDS_must_be_16384_or_less_in_single_port_RAM bad(); end endgenerate
    wire unused = h_clk;
    reg  [ADDR-1:0] at;         // one register for both: the memory lies at the edge of the device, and the way there takes a third of a cycle
    reg             write;
    always @(posedge clk) begin
        at <= we ? waddr : raddr;
        write <= we;
    end
    wire [13:0] address;
    assign address[ADDR-1:0] = at;
    generate if (ADDR < 14) begin : g_above
        assign address[13:ADDR] = {(14-ADDR){1'b0}};
    end endgenerate
    genvar i;
    generate for (i = 0; i < 2; i = i + 1) begin : g_half
        SB_SPRAM256KA u_ram (
            .CLOCK(clk), .ADDRESS(address), .DATAIN(wdata[i*16 +: 16]), .MASKWREN(4'b1111), .WREN(write), .CHIPSELECT(1'b1),
            .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(rdata[i*16 +: 16]));
    end endgenerate
endmodule
`default_nettype wire
