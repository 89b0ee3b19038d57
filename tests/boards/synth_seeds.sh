#!/bin/bash
# synth_seeds.sh HEDDLE JSON_GET: heddle synth takes the board's seed, tries as many as it is told until one closes, and keeps the best; a placer that takes too
# long is stopped. Exit 77 when a tool is missing.
set -eu
heddle=$1 json_get=$2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work"
export HEDDLE_CACHE=$work/cache
mkdir cache
small=(--board hx8k --geometry 1x1x4x2 --memory act=64,window=16,stream=64,param=16,descriptors=4,tables=0,hop=1,acc=18,fetch=1,post=16,residual=0,pump=1,pool=0,slot=1,sums=0,perf=0)
fail() { echo "FAILED: $*"; exit 1; }
# No seed reaches the clock: the better of two, and exit code 1.
if "$heddle" synth "${small[@]}" --clock 200000000 --seed 3 --seeds 2 --json -o x.bin >x.json 2>error; then fail "closes at 200 MHz"; fi
grep -q 'is not installed' error && { sed 's/^/skipped: /' error; exit 77; }
grep -q 'wanted; try more --seeds' error || fail "$(cat error)"
[ ! -e x.bin ] || fail "a bitstream that is too slow was written"
get() { "$json_get" "$1" <x.json; }
[ "$(get seeds.#)" = 2 ] && [ "$(get seeds.0.seed)" = 3 ] && [ "$(get seeds.1.seed)" = 4 ] || fail "seeds tried: $(get seeds)"
a=$(get seeds.0.reached_mhz) b=$(get seeds.1.reached_mhz)
best=$(awk -v a="$a" -v b="$b" 'BEGIN {print (b > a) ? 4 : 3}')
[ "$a" != "$b" ] && [ "$(get seed)" = "$best" ] && [ "$(get reached_mhz)" = "$(get seeds.$((best - 3)).reached_mhz)" ] || fail "reached $a and $b, kept seed $(get seed)"
# yosys ran once.
[ "$(stat -c %i cache/board-hx8k-*/top.json | sort -u | wc -l)" = 1 ] || fail "the netlist was made twice"
# The first seed closes: no other is tried, and it is the board's.
"$heddle" synth "${small[@]}" --clock 16000000 --json -o x.bin >x.json
[ "$(get seeds.#)" = 1 ] && [ "$(get seed)" = 2 ] && [ -s x.bin ] || fail "tried $(get seeds)"
# A second is too short for any placer here.
if "$heddle" synth "${small[@]}" --clock 16000000 --seed 9 --limit 1 >report 2>error; then fail "placed within a second"; fi
grep -q 'not placed and routed within 1 s' error || fail "$(cat error)"
echo "seeds 3 and 4 reach $a and $b MHz"
