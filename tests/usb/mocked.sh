#!/bin/bash
# mocked.sh HEDDLE MOCKED PARTS_FILES: the unchanged program on a mocked USB (umockdev), with the default network and with one in parts. Exit 77, with the reason, where something that it takes is missing.
set -eu
heddle=$(readlink -f "$1") mocked=${3:+$2} files=${3:-$2}
. "$(dirname "$(readlink -f "$0")")/../e2e/network.sh"
for tool in umockdev-wrapper:umockdev verilator:verilator; do
    command -v "${tool%%:*}" >/dev/null || { echo "skipped: ${tool%%:*} is not installed (package ${tool#*:})"; exit 77; }
done
[ -f $images ] || { echo "skipped: $images is missing (package dataset-fashion-mnist)"; exit 77; }
[ -n "$mocked" ] || { echo "skipped: built without umockdev (package libumockdev-dev, then cmake again)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 TMPDIR=$work ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
make_network "$heddle" "$work" >"$work/log"
memory=$memory,window=256,tables=1,acc=20 # which the network in parts takes
(
    cd "$work"
    "$files" parts.onnx x.idx y.idx labels.idx 8
    "$heddle" compress parts.onnx --calib x.idx -o parts.hdm
    "$heddle" compile parts.hdm --geometry $geometry --memory "$memory" -o parts.hdp
    "$heddle" run parts.hdp --input x.idx --count 2 -o parts.ref
) >>"$work/log"
umockdev-wrapper "$mocked" "$heddle" "$work" "$geometry:$memory"
