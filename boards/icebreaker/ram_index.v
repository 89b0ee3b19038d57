// The index memory in one single-port RAM of 16384 x 16 bits; same ports as hw/lib/ram_index.v. It holds its output while it is not selected.
// Parameter: DEPTH words.  Requires: at most 16384
`default_nettype none
module ram_index #(
    parameter DEPTH = 256,
    parameter ADDR  = $clog2(DEPTH)
) (
    input  wire            clk,
    input  wire            we,
    input  wire [ADDR-1:0] waddr,
    input  wire [15:0]     wdata,
    input  wire            re,
    input  wire [ADDR-1:0] raddr,
    output wire [15:0]     rdata
);
    generate if (DEPTH > 16384) begin : g_rule STREAM_WORDS_must_be_16384_or_less_in_single_port_RAM bad(); end endgenerate
    wire [13:0] address;
    assign address[ADDR-1:0] = we ? waddr : raddr;
    generate if (ADDR < 14) begin : g_above
        assign address[13:ADDR] = {(14-ADDR){1'b0}};
    end endgenerate
    SB_SPRAM256KA u_ram (
        .CLOCK(clk), .ADDRESS(address), .DATAIN(wdata), .MASKWREN(4'b1111), .WREN(we), .CHIPSELECT(we || re),
        .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(rdata));
endmodule
`default_nettype wire
