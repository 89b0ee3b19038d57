#!/bin/bash
# core.sh SOURCE_DIR [FIRST COUNT]: builds hw/usb/usb_fs.v with its testbench by Verilator and runs it. Exit 77 without Verilator.
set -eu
src=$1
command -v verilator >/dev/null || { echo "skipped: verilator is not installed"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
verilator --cc --exe --build -O3 -Wall -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror -I$src/tests/usb" -I"$src/hw/include" --prefix Vusb_fs --top-module usb_fs \
    --Mdir "$work/v" "$src"/hw/usb/*.v "$src/hw/lib/fifo_commit.v" "$src/tests/usb/test_core.cpp" -o test_core >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"$work/v/test_core" "${2:-1}" "${3:-30}"
