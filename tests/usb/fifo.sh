#!/bin/bash
# fifo.sh SOURCE_DIR: hw/lib/fifo_async.v with its testbench by Verilator, and that the testbench sees what would be wrong with it. Exit 77 without Verilator.
set -eu
src=$1
command -v verilator >/dev/null || { echo "skipped: verilator is not installed"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
# bench FOLDER FILE
bench() {
    verilator --cc --exe --build -O3 -Wall -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror" --top-module fifo_async --Mdir "$work/$1" "$2" "$src/tests/usb/test_fifo.cpp" \
        -o test_fifo >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
}
bench right "$src/hw/lib/fifo_async.v"
"$work/right/test_fifo"
# Full at the wrong count, and a reader's count that is shown a clock late.
n=0
for broken in 's/w_gray != {~w_other\[BITS:BITS-1\], w_other\[BITS-2:0\]}/w_gray != {w_other[BITS], ~w_other[BITS-1], w_other[BITS-2:0]}/' 's/r_next ^ (r_next >> 1)/r_at ^ (r_at >> 1)/'; do
    n=$((n + 1))
    mkdir -p "$work/m$n"
    sed "$broken" "$src/hw/lib/fifo_async.v" >"$work/m$n/fifo_async.v"
    cmp -s "$work/m$n/fifo_async.v" "$src/hw/lib/fifo_async.v" && { echo "FAIL: mutant $n changes nothing"; exit 1; }
    bench "b$n" "$work/m$n/fifo_async.v"
    if "$work/b$n/test_fifo" >"$work/said"; then echo "FAIL: mutant $n passes"; exit 1; fi
    echo "mutant $n: $(cat "$work/said")"
done
