#!/bin/bash
# up5k.sh SOURCE_DIR: the modules that boards/icebreaker puts in place of those of hw/lib, with yosys' models of the cells, answer what the generic ones do.
# Exit 77 when a tool is missing.
set -u
src=$1
for tool in iverilog yosys; do command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }; done
cells=$(dirname "$(dirname "$(command -v yosys)")")/share/yosys/ice40/cells_sim.v
[ -r "$cells" ] || { echo "skipped: no $cells"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
failed=0
# compare MODULE LOW: LOW is a parameter of the bench
compare() {
    iverilog -g2005 -DDUT_$1 -DLOW="$2" -o "$work/generic" "$src"/tests/boards/up5k.v "$src"/hw/lib/*.v &&
        iverilog -g2005 -DNO_ICE40_DEFAULT_ASSIGNMENTS -DDUT_$1 -DLOW="$2" -o "$work/cells" "$src"/tests/boards/up5k.v "$src"/boards/icebreaker/{mul_high,mul_add,shift_saturate,merge_ring}.v \
            "$cells" 2>"$work/log" || { cat "$work/log"; failed=1; return; }
    vvp "$work/generic" >"$work/expected"
    vvp "$work/cells" >"$work/actual"
    if [ "$(wc -l <"$work/expected")" -lt 3900 ] || grep -q x "$work/expected"; then echo "FAIL $1 $2: the bench printed too little"; failed=1
    elif ! cmp -s "$work/expected" "$work/actual"; then echo "FAIL $1 $2:"; diff "$work/expected" "$work/actual" | head -6; failed=1
    else echo "$1 $2: $(wc -l <"$work/expected") answers equal"; fi
}
compare mul_high 16
compare mul_high 15
compare mul_add 0
compare shift_saturate 0
for rows in 1 2 3 4 11 12 13 14; do compare merge_ring $rows; done
exit $failed
