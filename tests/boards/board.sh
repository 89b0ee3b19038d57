#!/bin/bash
# board.sh STAGE[.NOTE] BOARD GEOMETRY:MEMORY|published PROGRAMS SOURCE_DIR HEDDLE BOARD_SCRIPT JSON_GET: random programs through the UART pins of the
# board's top against the instruction-level model. Exit 77 when a tool is missing. "published" is the geometry of boards/boards.def. The top is
#   rtl        the Verilog
#   netlist    what yosys made of it: the cells that `heddle synth` places, modelled by yosys' own cells_sim.v and cells.v
#   bitstream  the file that `heddle synth` writes, read back: iceunpack, icebox_vlog. Names, hierarchy and parameters are gone by then.
set -eu
stage=${1%%.*} board=$2 geometry=${3%%:*} memory=${3#*:} programs=$4 src=$5 heddle=$6 script=$7 json_get=$8
need() { for tool; do command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }; done; }
need verilator
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
here=$src/tests/boards clocks=4
value() { local v=",$memory,"; [[ $v == *,"$1"=* ]] || { echo "${2:-1}"; return; }; v=${v#*,"$1"=}; echo "${v%%,*}"; }      # pump and pool need no name
# published N: the N-th field of the board's row in boards.def, counted in fields between quotation marks.
published() { sed -n "/^HD_BOARD($board,/,/)$/p" "$src/boards/boards.def" | tr '\n' ' ' | cut -d'"' -f"$1"; }
optimise=-O0
[ "$geometry" = published ] && optimise=-O1

case $stage in
rtl)
    IFS=x read -r rows cols lanes planes <<<"$geometry"
    files=() folder=$src/boards/$board external=()
    # A board of the tests' own: external memory behind heddle_board.
    if [ "$board" = sdram ]; then
        folder=$here/$board files=("$src/sim/sdram_model.v")
        external=("-GEXTERN=$(value extern)" "-GEXTERN_MHZ=$(value mhz)")
    fi
    for f in "$src"/hw/*.v "$src"/hw/lib/*.v "$src"/hw/link/*.v "$src"/boards/common/*.v "$folder"/*.v; do
        case $f in */datapath_fast.v) continue ;; */hw/lib/*) [ -e "$src/boards/$board/${f##*/}" ] && continue ;; esac
        # merged_add stays the general one: its carry cells are compared in tests/rtl/ecp5.sh.
        [ "$board" = ulx3s ] && case $f in */hw/pe.v) f=$src/hw/ecp5/pe.v ;; esac
        files+=("$f")
    done
    options=(-Wall "-GROWS=$rows" "-GCOLS=$cols" "-GLANES=$lanes" "-GPLANES=$planes" "-GHOP=$(value hop)" "-GACC_BITS=$(value acc)" "-GACT_WORDS=$(value act)"
        "-GWINDOW_WORDS=$(value window)" "-GSTREAM_WORDS=$(value stream)" "-GPARAM_WORDS=$(value param)" "-GDESCRIPTORS=$(value descriptors)"
        "-GTABLES=$(value tables)" "-GRESIDUAL=$(value residual)" "-GFETCH=$(value fetch)" "-GPOST=$(value post)" "-GPUMP=$(value pump)" "-GPOOL=$(value pool)" "-GSLOT=$(value slot)" "-GGATHER=$(value gather 0)" "-GSUMS=$(value sums)" "-GPERF=$(value perf)" "-GCLOCKS_PER_BIT=$clocks" "${external[@]}")
    # The cells' unused parameters and ports are those of the data sheet.
    printf '`verilator_config\nlint_off -rule UNUSED -file "*/cells.v"\nlint_off -rule UNUSEDPARAM -file "*/cells.v"\nlint_off -rule UNUSEDSIGNAL -file "*/cells.v"\nlint_off -rule DECLFILENAME -file "*/cells.v"\n' >"$work/cells.vlt"
    files=("$work/cells.vlt" "${files[@]}" "$here/cells.v")
    top=top ;;
netlist | bitstream)
    need yosys nextpnr-ice40 icepack
    # At 16 MHz every small geometry closes timing: what is compared here are functions, not delays.
    choice=(--geometry "$geometry" --memory "$memory" --clock 16000000)
    if [ "$geometry" = published ]; then
        choice=()
        geometry=$(published 6) memory=$(published 8)
    fi
    "$heddle" synth --board "$board" "${choice[@]}" --json >"$work/synth.json" 2>"$work/error" || [ "$stage" = netlist ] || { cat "$work/error"; exit 1; }
    [ -s "$work/synth.json" ] || { cat "$work/error"; exit 1; }     # a netlist may be too large to place
    folder=$("$json_get" folder <"$work/synth.json") clocks=$("$json_get" clocks_per_bit <"$work/synth.json")
    if [ "$stage" = netlist ]; then
        top=top
        yosys -q -p "read_json $folder/top.json; write_verilog -noattr $work/net.v" >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
    else
        need iceunpack icebox_vlog
        top=top_bit
        iceunpack "$folder/top.bin" "$work/top.asc"
        # Of an UP5K it leaves out DSPs and single-port RAM without a word.
        grep -q '^.device 8k' "$work/top.asc" || { echo "FAIL: icebox_vlog tells the whole truth about HX8K only"; exit 1; }
        icebox_vlog -s -c -p "$src/boards/$board/pins.pcf" -n top_bit "$work/top.asc" >"$work/bit.v"
        # Verilator takes the text only after yosys has put its assignments in order.
        yosys -q -p "read_verilog $work/bit.v; read_verilog -lib -DNO_ICE40_DEFAULT_ASSIGNMENTS +/ice40/cells_sim.v; hierarchy -top top_bit; proc; write_verilog -noattr $work/net.v" \
            >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
    fi
    # cells.v comes first: where yosys models a cell as well, the first one is taken. Netlists are compiled without optimisation: less time in all.
    files=("$work/net.v" "$here/cells.v" "$(dirname "$(realpath "$(command -v yosys)")")/../share/yosys/ice40/cells_sim.v")
    options=(-DNETLIST -Wno-fatal -Wno-lint -Wno-MODDUP -DNO_ICE40_DEFAULT_ASSIGNMENTS -MAKEFLAGS "OPT_FAST=$optimise OPT_SLOW=-O0") ;;
esac

button=
[ "$board" = icebreaker ] && button=-DHAS_BUTTON
verilator --cc --exe --build -O3 "${options[@]}" -CFLAGS "-O2 -std=gnu++17 -Wall -Wextra -Werror -DCLOCKS_PER_BIT=$((clocks * $(value pump))) $button" -I"$src/hw/include" \
    --prefix Vboard --top-module "$top" --Mdir "$work/sim" "${files[@]}" "$here/board_bench.cpp" -o bench >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"$script" "$geometry:$memory" 1 "$programs" >"$work/script"
"$work/sim/bench" "$work/script"
