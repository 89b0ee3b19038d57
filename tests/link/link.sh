#!/bin/bash
# link.sh link|uart SOURCE_DIR [FIRST COUNT]: builds a part of hw/link with its testbench by Verilator and runs it. Exit 77 without Verilator.
set -eu
mode=$1 src=$2 rtl=$2/hw/link extra=()
command -v verilator >/dev/null || { echo "skipped: verilator is not installed"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

# bench DIR TOP TEST PARAMETER...
bench() {
    local dir=$work/$1 top=$2 test=$3
    shift 3
    verilator --cc --exe --build -O3 -Wall "$@" -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror -I$src/tests/link" -I"$src/hw/include" \
        --prefix "V$top" --top-module "$top" --Mdir "$dir" "$rtl"/*.v "${extra[@]}" "$src/tests/link/$test.cpp" -o "$test" >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
}

case $mode in
link) bench link link test_link -GTIMEOUT_BITS=10; "$work/link/test_link" "${3:-1}" "${4:-40}" ;;
uart)
    bench uart uart_link test_uart -GTIMEOUT_BITS=12 -GCLOCKS_PER_64_BITS=236
    "$work/uart/test_uart" 236
    extra=("$src/tests/link/uarts.v")
    bench uarts uarts test_uarts
    "$work/uarts/test_uarts" "${3:-4000}"
    # A sample a clock too late, bits of whole clocks, a start bit in one half of a clock taken for one in the other.
    n=0
    while read -r file broken; do
        n=$((n + 1))
        rm -rf "$work/broken" && mkdir "$work/broken" && cp "$src"/hw/link/*.v "$work/broken"
        sed -i "$broken" "$work/broken/$file"
        cmp -s "$work/broken/$file" "$src/hw/link/$file" && { echo "FAIL: mutant $n changes nothing"; exit 1; }
        rtl=$work/broken
        bench "b$n" uarts test_uarts
        if "$work/b$n/test_uarts" 200 >"$work/said"; then echo "FAIL: mutant $n passes"; exit 1; fi
        echo "mutant $n: $(grep -c FAIL "$work/said") of 48 fail"
    done <<'MUTANTS'
uart_rx.v s/MIDDLE32 = CLOCKS_PER_64_BITS \/ 2 - 64/MIDDLE32 = CLOCKS_PER_64_BITS \/ 2/
uart_tx.v s/STEP32 = CLOCKS_PER_64_BITS - 64/STEP32 = CLOCKS_PER_64_BITS \/ 64 * 64 - 64/
uart_rx.v s/first ? LATE/!first ? LATE/
MUTANTS
    ;;
esac
