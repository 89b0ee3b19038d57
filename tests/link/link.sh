#!/bin/bash
# link.sh link|uart SOURCE_DIR [FIRST COUNT]: builds a part of hw/link with its testbench by Verilator and runs it. Exit 77 without Verilator.
set -eu
mode=$1 src=$2
command -v verilator >/dev/null || { echo "skipped: verilator is not installed"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

# bench DIR TOP TEST PARAMETER...
bench() {
    local dir=$work/$1 top=$2 test=$3
    shift 3
    verilator --cc --exe --build -O3 -Wall "$@" -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror -I$src/tests/link" -I"$src/hw/include" \
        --prefix "V$top" --top-module "$top" --Mdir "$dir" "$src"/hw/link/*.v "$src/tests/link/$test.cpp" -o "$test" >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
}

case $mode in
link) bench link link test_link -GTIMEOUT_BITS=10; "$work/link/test_link" "${3:-1}" "${4:-40}" ;;
uart)
    for clocks in 3 4; do
        bench "uart$clocks" uart_link test_uart -GTIMEOUT_BITS=12 -GCLOCKS_PER_BIT=$clocks
        "$work/uart$clocks/test_uart" $clocks
    done ;;
esac
