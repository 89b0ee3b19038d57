#!/bin/bash
# mocked.sh HEDDLE MOCKED: the unchanged program on a mocked USB (umockdev). Exit 77, with the reason, where something that it takes is missing.
set -eu
heddle=$(readlink -f "$1") mocked=${2:-}
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
umockdev-wrapper "$mocked" "$heddle" "$work" "$geometry:$memory"
