#!/bin/bash
# board.sh rtl BOARD GEOMETRY:MEMORY PROGRAMS SOURCE_DIR HEDDLE BOARD_SCRIPT JSON_GET: random programs through the UART pins of the
# board's top, the Verilog, against the instruction-level model. Exit 77 when a tool is missing.
set -eu
stage=$1 board=$2 geometry=${3%%:*} memory=${3#*:} programs=$4 src=$5 heddle=$6 script=$7 json_get=$8
need() { for tool; do command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }; done; }
need verilator
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
here=$src/tests/boards clocks=4
value() { local v=",$memory,"; v=${v#*,"$1"=}; echo "${v%%,*}"; }

case $stage in
rtl)
    IFS=x read -r rows cols lanes planes <<<"$geometry"
    files=()
    for f in "$src"/hw/*.v "$src"/hw/lib/*.v "$src"/hw/link/*.v "$src"/boards/common/*.v "$src/boards/$board"/*.v; do
        case $f in */datapath_fast.v) continue ;; */hw/lib/*) [ -e "$src/boards/$board/${f##*/}" ] && continue ;; esac
        files+=("$f")
    done
    options=(-Wall "-GROWS=$rows" "-GCOLS=$cols" "-GLANES=$lanes" "-GPLANES=$planes" "-GHOP=$(value hop)" "-GACC_BITS=$(value acc)" "-GACT_WORDS=$(value act)"
        "-GWINDOW_WORDS=$(value window)" "-GSTREAM_WORDS=$(value stream)" "-GPARAM_WORDS=$(value param)" "-GDESCRIPTORS=$(value descriptors)"
        "-GTABLES=$(value tables)" "-GRESIDUAL=$(value residual)" "-GFETCH=$(value fetch)" "-GPOST=$(value post)" "-GCLOCKS_PER_BIT=$clocks")
    # The cells' unused parameters and ports are those of the data sheet.
    printf '`verilator_config\nlint_off -rule UNUSED -file "*/cells.v"\nlint_off -rule UNUSEDPARAM -file "*/cells.v"\nlint_off -rule UNUSEDSIGNAL -file "*/cells.v"\nlint_off -rule DECLFILENAME -file "*/cells.v"\n' >"$work/cells.vlt"
    files=("$work/cells.vlt" "${files[@]}" "$here/cells.v")
    top=top ;;
esac

button=
[ "$board" = icebreaker ] && button=-DHAS_BUTTON
verilator --cc --exe --build -O3 "${options[@]}" -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror -DCLOCKS_PER_BIT=$clocks $button" -I"$src/hw/include" \
    --prefix Vboard --top-module "$top" --Mdir "$work/sim" "${files[@]}" "$here/board_bench.cpp" -o bench >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"$script" "$geometry:$memory" 1 "$programs" >"$work/script"
"$work/sim/bench" "$work/script"
