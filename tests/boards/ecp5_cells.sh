#!/bin/bash
# ecp5_cells.sh SOURCE_DIR: the models of ECP5's cells in cells_ecp5.v, in place of what synth_ecp5 makes of ecp5_cells.v, answer what that says; each
# model with one line broken does not. Exit 77 when a tool is missing.
set -eu
here=$(realpath "$1")/tests/boards
for tool in iverilog yosys; do command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }; done
cells=$(dirname "$(dirname "$(command -v yosys)")")/share/yosys/ecp5/cells_sim.v
[ -r "$cells" ] || { echo "skipped: no $cells"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work"
for width in 1 2 4 9 18 36 64; do
    awk -v w=$width 'BEGIN {n = w < 18 ? 16384 / (w < 9 ? w : 8) : w == 18 ? 1024 : w == 36 ? 512 : 256
        for (i = 0; i < n; i++) {x = (i * 40503 + int(i / 8)) % 65536; printf "%x\n", w < 16 ? x % 2 ^ w : x}}' >$width.hex
done
yosys -q -p "read_verilog -DDUT_ONLY $here/ecp5_cells.v; synth_ecp5 -nowidelut -top dut; write_verilog -noattr netlist.v; tee -q -o count stat"
for cell in 'DP16KD +10' 'MULT18X18D +3'; do
    grep -qE "$cell" count || { echo "FAIL: wanted cells $cell:"; cat count; exit 1; }
done
sed '/^module dut/,/^endmodule/d' "$here/ecp5_cells.v" >bench.v
sed '/^(\* blackbox \*)/d; /^module DP16KD/,/^endmodule/d' "$cells" >others.v
iverilog -g2005 -o written "$here/ecp5_cells.v"
vvp written >expected
[ "$(wc -l <expected)" -gt 590 ] && ! grep -q x expected || { echo "FAIL: the bench prints too little"; exit 1; }

# run CELLS: what they answer, in `actual`
run() {
    iverilog -g2012 -DNO_INCLUDES -o cells bench.v netlist.v "$1" others.v && vvp -n cells >actual 2>&1
}
run "$here/cells_ecp5.v" || { cat actual; exit 1; }
cmp -s expected actual || { echo "FAIL: the cells answer otherwise:"; diff expected actual | head -6; exit 1; }
echo "$(wc -l <expected) answers equal"

mutants=0
while read -r expression; do
    sed -E "$expression" "$here/cells_ecp5.v" >mutant.v
    [ "$(diff "$here/cells_ecp5.v" mutant.v | grep -c '^>')" = 1 ] || { echo "FAIL: changes not one line: $expression"; exit 1; }
    run mutant.v && cmp -s expected actual && { echo "FAIL: not seen: $expression"; exit 1; }
    mutants=$((mutants + 1))
done <<'SED'
s/di_wide = \{di_b, di_a\}/di_wide = {di_a, di_b}/
s/do_b = DATA_WIDTH_B == 36 \? q_b\[35:18\]/do_b = DATA_WIDTH_B == 36 ? q_b[17:0]/
s/\{ad\[13:5\], 2'b00\}/{1'b0, ad[12:5], 2'b00}/
s/\{ad\[13:4\], 1'b0\}/{ad[13:4], 1'b1}/
s/\{1'b0, ad\[2\], 2'b00\}/{1'b0, ad[1], 2'b00}/
s/\{1'b0, ad\[2:1\], 1'b0\}/{1'b0, ad[1], ad[2], 1'b0}/
s/\{1'b0, ad\[2:0\]\}/{2'b00, ad[1:0]}/
s/width == 36 \? ad\[3:0\]/width == 36 ? 4'b1111/
s/width == 18 \? \{2'b00, ad\[1:0\]\}/width == 18 ? 4'b0011/
s/\(i % 2\) \* 9/(i % 2) * 10/
s/(assign do_b = .*q_b\[35:18\] : )q_b\[17:0\]/\1q_a[17:0]/
s/on_b = CEB \&\&/on_b = 1'b1 \&\&/
s/WRITEMODE_B == "READBEFOREWRITE"/WRITEMODE_B == "NORMAL"/
s/SIGNEDA \&\& a\[17\]/1'b0/
SED
echo "$mutants broken models seen"
