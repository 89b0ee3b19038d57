#!/bin/bash
# synth_ulx3s.sh HEDDLE JSON_GET: heddle synth makes a bitstream of a small design for ULX3S, with SDRAM, and says what it takes.
# Exit 77 when the tools are missing (./bootstrap ecp5 brings them).
set -eu
heddle=$1 json_get=$2
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work"
small=(--board ulx3s --geometry 1x1x8x2 --memory act=128,window=32,stream=64,param=64,descriptors=8,tables=0,hop=1,acc=18,fetch=1,post=16,residual=0,extern=20,mhz=40 --clock 40000000)
fail() { echo "FAILED: $*"; exit 1; }
if ! "$heddle" synth "${small[@]}" --json -o x.bit >x.json 2>error; then
    grep -q 'is not installed' error && { sed 's/^/skipped: /' error; exit 77; }
    cat error
    exit 1
fi
get() { "$json_get" "$@" <x.json; }
[ "$(get placed)" = true ] || fail "placed is $(get placed)"
awk -v reached="$(get reached_mhz)" 'BEGIN {exit !(reached > 40)}' || fail "reached $(get reached_mhz) MHz"
[ -n "$(get critical_path)" ] || fail "no critical path"
grep -aq 'Part: LFE5U-85F' x.bit || fail "no bitstream of an LFE5U-85F"
[ "$(od -An -tx1 -N4096 x.bit | tr -d ' \n' | grep -c ffffbdb3)" = 1 ] || fail "no preamble in the bitstream"
# The cache has it: the same bytes again, at once.
"$heddle" synth "${small[@]}" --json -o again.bit >again.json
[ "$("$json_get" cached <again.json)" = true ] && cmp x.bit again.bit || fail "the second run is no copy of the first"
echo "reached $(get reached_mhz) MHz, $(stat -c %s x.bit) bytes"
