#!/bin/bash
# place.sh NAME=VALUE...: synthesises and places the whole core for iCE40 HX8K (yosys, nextpnr-ice40) with the given Verilog parameters and prints
# LUT4, flip-flops, block RAM, logic cells and clock. The host port hangs on two shift registers (about 150 logic cells), so that no pin counts.
# FREQ is the clock asked for in MHz (100), SEED the placer's. KEEP names a folder for netlist and reports.
#   hw/place.sh ROWS=2 COLS=8 HOP=8 ACC_BITS=18 ACT_WORDS=256 STREAM_WORDS=256 PARAM_WORDS=128 DESCRIPTORS=8 TABLES=0 RESIDUAL=0 POST=8
set -eu
hw=$(cd "$(dirname "$0")" && pwd)
for tool in yosys nextpnr-ice40; do command -v $tool >/dev/null || { echo "place.sh: $tool is not installed" >&2; exit 77; }; done
[ $# -gt 0 ] || { sed -n 2,5p "$0"; exit 1; }
dir=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir"
parameters=
for set in "$@"; do parameters+="${parameters:+, }.${set%%=*}(${set#*=})"; done
cat >"$dir/top.v" <<END
module top(input clk, input rst, input si, input load, output reg so, output busy, output done);
    reg [60:0] in, held;
    reg [31:0] out;
    reg        rst_n, load_q;
    wire [31:0] rdata;
    always @(posedge clk) begin
        in <= {in[59:0], si}; rst_n <= rst; load_q <= load;
        if (load) held <= in;
        out <= load_q ? rdata : {out[30:0], 1'b0};
        so <= out[31];
    end
    heddle_core #($parameters) u_core (.clk(clk), .clk_fast(1'b0), .fast_take(1'b0), .rst_n(rst_n), .h_we(held[0]), .h_re(held[1]), .h_space(held[4:2]), .h_addr(held[28:5]),
        .h_wdata(held[60:29]), .h_rdata(rdata), .stall(3'b0), .busy(busy), .done(done));
endmodule
END
sources=$(ls "$hw"/*.v "$hw"/lib/*.v | grep -v datapath_fast | tr '\n' ' ')
yosys -q -l "$dir/yosys.log" -p "read_verilog -I$hw/include $sources $dir/top.v; synth_ice40 -abc9 -device hx -top top -json $dir/top.json; tee -q -o $dir/cells.txt stat" >/dev/null 2>&1
awk '/SB_LUT4/ {lut = $2} /SB_DFF/ {ff += $2} /SB_RAM40_4K/ {ram = $2} END {printf "LUT4 %d, flip-flops %d, block RAM %d\n", lut, ff, ram}' "$dir/cells.txt"
status=0
nextpnr-ice40 --hx8k --package ct256 --json "$dir/top.json" --freq "${FREQ:-100}" --seed "${SEED:-1}" --timing-allow-fail --pcf-allow-unconstrained \
    --report "$dir/report.json" >"$dir/nextpnr.log" 2>&1 || status=1
grep -E "ICESTORM_LC|ICESTORM_RAM" "$dir/nextpnr.log" | tail -2 | sed 's/^Info: *//'
grep "Max frequency for clock" "$dir/nextpnr.log" | tail -1 | sed 's/^.*: \([0-9.]* MHz\).*/clock \1/'
grep ERROR "$dir/nextpnr.log" || true
exit $status
