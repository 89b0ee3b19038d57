#!/bin/bash
# ecp5.sh SOURCE_DIR: what hw/ecp5 puts in the place of hw, on yosys' models of ECP5's cells.
#   1. merged_add with carry cells equals its definition, for all inputs (SAT), every kind, odd and even widths.
#   2. the processing element with carry cells equals hw/pe.v in simulation, over lanes and planes.
#   3. its cells in an array stay within the budget: LUT4 + 2 CCU2C an op of a further row.
# Exit code: 0 good, 1 not, 77 a tool is missing.
set -eu
src=$1
for tool in yosys iverilog; do command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }; done
cells=$(dirname "$(command -v yosys)")/../share/yosys/ecp5/cells_sim.v
[ -r "$cells" ] || { echo "skipped: yosys' cells of ECP5 are missing ($cells)"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
failed=0

for kind in 0 1 2 3; do for width in 4 9 12; do for carry in 0 1; do
    # Without CARRY the input is 0 by contract: neither file looks at it.
    cat <<END
design -reset
log case KIND=$kind WIDTH=$width CARRY=$carry
read_verilog $src/hw/lib/merged_add.v
rename merged_add gold
chparam -set WIDTH $width -set KIND $kind -set CARRY $carry gold
read_verilog $src/hw/ecp5/merged_add.v
chparam -set WIDTH $width -set KIND $kind -set CARRY $carry merged_add
read_verilog -D NO_SPECIFY $cells
hierarchy -check
proc
miter -equiv -flatten -make_assert gold merged_add miter
sat -verify -prove-asserts miter
END
done; done; done >"$work/equal.ys"
if yosys "$work/equal.ys" >"$work/log" 2>&1; then echo "merged_add: $(grep -c '^SAT proof finished - no model found: SUCCESS' "$work/log") cases equal the definition"
else echo "FAIL merged_add differs from its definition: $(grep '^case' "$work/log" | tail -n 1)"; failed=1; fi

sed 's/^module pe /module pe_ecp5 /' "$src/hw/ecp5/pe.v" >"$work/pe_ecp5.v"
for row in "4 1 16" "4 2 16" "8 1 20" "8 2 18" "8 4 24" "16 2 20" "32 1 24" "32 2 24" "64 4 32"; do
    read -r lanes planes acc <<<"$row"
    cycles=$((lanes > 16 ? 400 : 2000))
    iverilog -g2005 -Wall -Wno-timescale -s ecp5_pe -Pecp5_pe.LANES="$lanes" -Pecp5_pe.PLANES="$planes" -Pecp5_pe.ACC_BITS="$acc" -Pecp5_pe.CYCLES="$cycles" -o "$work/sim" \
        "$src/tests/rtl/ecp5_pe.v" "$src/hw/pe.v" "$src/hw/lib/add_tree.v" "$src/hw/lib/delay.v" "$work/pe_ecp5.v" "$src/hw/ecp5/merged_add.v" "$cells" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    vvp "$work/sim" >"$work/out" || failed=1
    grep -v '\$finish' "$work/out"
    grep -q FAIL "$work/out" && failed=1
done

# Rows share what depends on weights only, so a row's price is what a further row adds.
count() {
    cat >"$work/rows.v" <<END
module rows #(parameter LANES = 32, PLANES = 2, ACC = 24, ROWS = $1) (input clk, en, first, capture, shift, input [ROWS*LANES*8-1:0] act, input [LANES*PLANES-1:0] w, input [ROWS*ACC-1:0] in, output [ROWS*ACC-1:0] out);
    genvar r, i;
    generate for (r = 0; r < ROWS; r = r + 1) begin : g_row
        wire [LANES/2*9-1:0] s, d;
        for (i = 0; i < LANES / 2; i = i + 1) begin : g_pair    // stand for the sums: as many different bits, parity shared
            assign s[i*9 +: 9] = {act[(r*LANES + 2*i)*8], act[(r*LANES + 2*i)*8 +: 8]};
            assign d[i*9 +: 9] = {act[(r*LANES + 2*i + 1)*8], act[(r*LANES + 2*i + 1)*8 + 1 +: 7], act[(r*LANES + 2*i)*8]};
        end
        pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC)) u_pe (.clk(clk), .s(s), .d(d), .w(w), .en(en), .first(first), .capture(capture), .shift(shift),
            .drain_in(in[r*ACC +: ACC]), .drain(out[r*ACC +: ACC]));
    end endgenerate
endmodule
END
    yosys -q -p "read_verilog $src/hw/ecp5/pe.v $src/hw/ecp5/merged_add.v $src/hw/lib/delay.v $work/rows.v; synth_ecp5 -nowidelut -top rows; tee -q -o $work/cells stat" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
    awk '$1 == "LUT4" {n += $2} $1 == "CCU2C" {n += 2 * $2} $1 == "PFUMX" {n += 1000} END {print n}' "$work/cells"
}
one=$(count 1) three=$(count 3)
awk -v cells=$(((three - one) / 2)) -v most=9.0 'BEGIN {printf "LANES 32 PLANES 2 ACC_BITS 24 with drain: %d LUT4 a further row, %.2f an op (at most %.1f)\n", cells, cells / 64, most; exit cells / 64 > most}' || failed=1
exit $failed
