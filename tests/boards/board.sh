#!/bin/bash
# board.sh STAGE[.NOTE] BOARD GEOMETRY:MEMORY|published PROGRAMS SOURCE_DIR HEDDLE BOARD_SCRIPT JSON_GET: random programs through the UART pins of the
# board's top against the instruction-level model. Exit 77 when a tool is missing. "published" is the geometry of boards/boards.def. The top is
#   rtl        the Verilog
#   netlist    what yosys made of it: the cells that `heddle synth` places, modelled by yosys' own cells_sim.v, cells.v and cells_ecp5.v
#   bitstream  the file that `heddle synth` writes, read back: iceunpack, icebox_vlog. Names, hierarchy and parameters are gone by then.
# ULX3S has an SDRAM at its pins (sim/sdram_model.v) if the memories name extern.
set -eu
stage=${1%%.*} board=$2 geometry=${3%%:*} memory=${3#*:} programs=$4 src=$5 heddle=$6 script=$7 json_get=$8
need() { for tool; do command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }; done; }
need verilator
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
here=$src/tests/boards clocks=3.6875
value() { local v=",$memory,"; [[ $v == *,"$1"=* ]] || { echo "${2:-1}"; return; }; v=${v#*,"$1"=}; echo "${v%%,*}"; }      # pump and pool need no name
# published N: the N-th field of the board's row in boards.def, counted in fields between quotation marks.
published() { sed -n "/^HD_BOARD($board,/,/)$/p" "$src/boards/boards.def" | tr '\n' ' ' | cut -d'"' -f"$1"; }
optimise=-O0
[ "$geometry" = published ] && optimise=-O1

# The parameters of every top by the names that the option --memory has for them.
IFS=x read -r rows cols lanes planes <<<"$geometry"
parameters() {
    echo "ROWS=$rows COLS=$cols LANES=$lanes PLANES=$planes HOP=$(value hop) ACC_BITS=$(value acc) ACT_WORDS=$(value act) WINDOW_WORDS=$(value window)"
    echo "STREAM_WORDS=$(value stream) PARAM_WORDS=$(value param) DESCRIPTORS=$(value descriptors) TABLES=$(value tables) RESIDUAL=$(value residual)"
    echo "FETCH=$(value fetch) POST=$(value post) PUMP=$(value pump) POOL=$(value pool) SLOT=$(value slot) GATHER=$(value gather 0) SUMS=$(value sums) PERF=$(value perf) CLOCKS_PER_64_BITS=236"
    [[ ,$memory != *,extern=* ]] || echo "EXTERN=$(value extern) EXTERN_MHZ=$(value mhz)"
}

case $stage.$board in
rtl.*)
    files=() folder=$src/boards/$board
    # A board of the tests' own: external memory behind heddle_board.
    if [ "$board" = sdram ]; then
        folder=$here/$board files=("$src/sim/sdram_model.v")
    fi
    [[ $board != @(hx8k|icebreaker) ]] || files+=("$src"/hw/ice40/*.v)
    for f in "$src"/hw/*.v "$src"/hw/lib/*.v "$src"/hw/link/*.v "$src"/boards/common/*.v "$folder"/*.v; do
        case $f in */datapath_fast.v) continue ;; */hw/lib/*) [ -e "$src/boards/$board/${f##*/}" ] && continue ;; esac
        # merged_add stays the general one: its carry cells are compared in tests/rtl/ecp5.sh.
        [ "$board" = ulx3s ] && case $f in */hw/pe.v) f=$src/hw/ecp5/pe.v ;; esac
        files+=("$f")
    done
    options=(-Wall) macro=
    for p in $(parameters); do options+=("-G$p") macro+=",.${p/=/(})"; done
    # The cells' unused parameters and ports are those of the data sheet.
    printf '`verilator_config\nlint_off -rule UNUSED -file "*/cells.v"\nlint_off -rule UNUSEDPARAM -file "*/cells.v"\nlint_off -rule UNUSEDSIGNAL -file "*/cells.v"\nlint_off -rule DECLFILENAME -file "*/cells.v"\n' >"$work/cells.vlt"
    files=("$work/cells.vlt" "${files[@]}" "$here/cells.v")
    top=top ;;
netlist.ulx3s)       # by the commands of `heddle synth`, but without its placer, which few have
    need yosys
    sources=() command=$(sed -n 's/^HD_FPGA("LFE5U-85F".*"\(synth_ecp5[^"]*\)".*/\1/p' "$src/boards/fpgas.def") set=
    [ -n "$command" ] || { echo "FAILED: boards/fpgas.def has no command of yosys for LFE5U-85F"; exit 1; }
    # A file of a later folder stands for the one of the same name before it, as in hd_synth_sources.
    for f in "$src"/hw/*.v "$src"/hw/{lib,decode,link,usb}/*.v "$src"/boards/common/*.v "$src"/hw/ecp5/*.v "$src"/boards/ulx3s/*.v; do
        [ "${f##*/}" = datapath_fast.v ] && continue
        for i in "${!sources[@]}"; do [ "${sources[i]##*/}" != "${f##*/}" ] || unset "sources[i]"; done
        sources+=("$f")
    done
    for p in $(parameters); do set+=" -set ${p/=/ }"; done
    yosys -q -p "read_verilog -I$src/hw/include ${sources[*]}; chparam $set top; hierarchy -top top; $command -top top; setattr -mod -unset keep_hierarchy *; flatten; opt_clean; splitnets; write_verilog -noattr $work/net.v" >"$work/log" 2>&1 ||
        { tail -n 30 "$work/log"; exit 1; }
    top=top cells=ecp5 files=("$here/cells_ecp5.v") ;;
netlist.* | bitstream.*)
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
    cells=ice40 files=() ;;
esac
if [ "$stage" != rtl ]; then
    # Our models come first: where yosys models a cell as well, the first one is taken. Netlists are compiled without optimisation: less time in all.
    files=("$work/net.v" "$here/cells.v" "${files[@]}" "$(dirname "$(realpath "$(command -v yosys)")")/../share/yosys/$cells/cells_sim.v")
    options=(-DNETLIST -Wno-fatal -Wno-lint -Wno-MODDUP -DNO_ICE40_DEFAULT_ASSIGNMENTS -DNO_INCLUDES -MAKEFLAGS "OPT_FAST=$optimise OPT_SLOW=-O0")
fi

flags="-O2 -std=gnu++17 -Wall -Wextra -Werror -DCLOCKS_PER_BIT=$clocks*$(value pump)"
[ "$stage" = rtl ] || flags+=" -Wno-int-in-bool-context"
case $board,$memory in
icebreaker,*) flags+=" -DHAS_BUTTON" ;;
ulx3s,*extern=*)
    verilator --cc --build -O3 -Wall -I"$src/hw/include" -GEW="$(value extern)" -GMHZ="$(value mhz)" --prefix Vmemory --Mdir "$work/memory" "$src/sim/sdram_model.v" >"$work/log" 2>&1 ||
        { tail -n 30 "$work/log"; exit 1; }
    flags+=" -DHAS_SDRAM -I$work/memory" files+=("$here/ulx3s_pins.v" "$work/memory/Vmemory__ALL.a") top=ulx3s_pins
    [ "$stage" = netlist ] || options=(-Wall "-DPARAMETERS=${macro#,}") ;;
esac
verilator --cc --exe --build -O3 "${options[@]}" -CFLAGS "$flags" -I"$src/hw/include" \
    --prefix Vboard --top-module "$top" --Mdir "$work/sim" "${files[@]}" "$here/board_bench.cpp" -o bench >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"$script" "$geometry:$memory" 1 "$programs" >"$work/script"
"$work/sim/bench" "$work/script"
