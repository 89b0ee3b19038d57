#!/bin/bash
# core.sh fs|ulpi SOURCE_DIR [FIRST COUNT]: builds a USB device of hw/usb with its testbench by Verilator and runs it. Exit 77 without Verilator.
set -eu
top=usb_$1 src=$2 options=()
[ "$1" = ulpi ] && options=(-GMS=6000 -GUS=6) define=-DULPI || define=
command -v verilator >/dev/null || { echo "skipped: verilator is not installed"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
verilator --cc --exe --build -O3 -Wall "${options[@]}" -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror $define -I$src/sim/board" -I"$src/hw/include" --prefix "V$top" \
    --top-module "$top" --Mdir "$work/v" "$src"/hw/usb/*.v "$src/hw/lib/fifo_commit.v" "$src/tests/usb/test_core.cpp" -o test_core >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"$work/v/test_core" "${3:-1}" "${4:-30}"
