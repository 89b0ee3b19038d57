#!/bin/bash
# board.sh rtl|netlist|bitstream BOARD GEOMETRY:MEMORY PROGRAMS SOURCE_DIR HEDDLE BOARD_SCRIPT JSON_GET: random programs through the UART pins of the
# board's top against the instruction-level model. rtl: the Verilog; netlist: what yosys made of it in `heddle synth`; bitstream: the packed
# file, read back with icebox_vlog. Exit 77 when a tool is missing.
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
netlist | bitstream)
    need yosys nextpnr-ice40 icepack icebox_vlog iceunpack
    "$heddle" synth --board "$board" --geometry "$geometry" --memory "$memory" --clock 24000000 --json >"$work/synth.json" || { cat "$work/synth.json"; exit 1; }
    folder=$("$json_get" folder <"$work/synth.json")
    clocks=$("$json_get" clocks_per_bit <"$work/synth.json")
    if [ "$stage" = netlist ]; then
        top=top
        yosys -q -l "$work/log" -p "read_json $folder/top.json; delete =A:blackbox; read_verilog -D NO_ICE40_DEFAULT_ASSIGNMENTS +/ice40/cells_sim.v; \
            delete SB_PLL40_PAD SB_PLL40_CORE SB_SPRAM256KA; read_verilog $here/cells.v; hierarchy -top top; proc; flatten; opt_clean; write_verilog -noattr $work/net.v" >/dev/null
    else
        top=top_bit
        iceunpack "$folder/top.bin" "$work/top.asc"
        # Pins by name; then SPRAM and DSP would be missing silently, so the netlist must have none.
        grep -q -E 'SB_SPRAM|SB_MAC16' "$folder/top.json" && { echo "FAIL: the design has cells that icebox_vlog leaves out"; exit 1; }
        icebox_vlog -s -c -p "$src/boards/$board/pins.pcf" -n top_bit "$work/top.asc" >"$work/raw.v"
        yosys -q -l "$work/log" -p "read_verilog $work/raw.v; read_verilog -D NO_ICE40_DEFAULT_ASSIGNMENTS +/ice40/cells_sim.v; \
            delete SB_PLL40_PAD SB_PLL40_CORE SB_SPRAM256KA; read_verilog $here/cells.v; hierarchy -top top_bit; proc; flatten; opt_clean; write_verilog -noattr $work/net.v" >/dev/null
    fi
    options=(-Wno-lint -Wno-fatal)
    files=("$work/net.v") ;;
esac

button=
[ "$board" = icebreaker ] && button=-DHAS_BUTTON
verilator --cc --exe --build -O3 "${options[@]}" -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror -DCLOCKS_PER_BIT=$clocks $button" -I"$src/hw/include" \
    --prefix Vboard --top-module "$top" --Mdir "$work/sim" "${files[@]}" "$here/board_bench.cpp" -o bench >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"$script" "$geometry:$memory" 1 "$programs" >"$work/script"
"$work/sim/bench" "$work/script"
