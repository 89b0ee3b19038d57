#!/bin/bash
# decode.sh diff SOURCE_DIR VECTORS [SEED COUNT]: hw/decode built by Verilator for several geometries, against the words that VECTORS prints.
# decode.sh lint SOURCE_DIR VECTORS: the same geometries through Verilator, Icarus and Yosys without a warning; broken parameters are refused by the rule's name.
# decode.sh area SOURCE_DIR VECTORS: cells of each decoder for iCE40 and ECP5 (Yosys). Exit 77 without the tools.
set -eu
mode=$1 src=$(cd "$2" && pwd) vectors=$3
need() { command -v "$1" >/dev/null || { echo "skipped: $1 is not installed"; exit 77; }; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
files=("$src"/hw/decode/*.v "$src/hw/lib/ram_sdp.v")
# COLS LANES PLANES DECODE
geometries=("8 8 2 7" "16 32 2 7" "12 16 4 7" "16 64 1 7" "4 8 2 1" "4 32 1 4" "6 16 2 6")

case $mode in
diff)
    need verilator
    if command -v ccache >/dev/null; then export OBJCACHE=ccache; fi
    for row in "${geometries[@]}"; do
        read -r cols lanes planes decode <<<"$row"
        "$vectors" $row "${4:-1}" "${5:-120}" >"$work/vectors"
        verilator --cc --exe --build -O3 -Wall -GCOLS=$cols -GLANES=$lanes -GPLANES=$planes -GDECODE=$decode -CFLAGS "-O0 -std=gnu++17 -Wall -Wextra -Werror" \
            -I"$src/hw/include" --prefix Vdecode --top-module decode --Mdir "$work/$cols.$lanes.$planes" "${files[@]}" "$src/tests/decode/test_decode.cpp" \
            -o test_decode >"$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
        echo -n "COLS $cols LANES $lanes PLANES $planes DECODE $decode: "
        "$work/$cols.$lanes.$planes/test_decode" "$work/vectors" "${4:-1}"
    done ;;
lint)
    need verilator; need iverilog; need yosys
    # elaborate TOOL COLS LANES PLANES DECODE: output in $work/out
    elaborate() {
        local tool=$1 values=(COLS=$2 LANES=$3 PLANES=$4 DECODE=$5)
        case $tool in
        verilator) verilator --lint-only -Wall -I"$src/hw/include" "${values[@]/#/-G}" --top-module decode "${files[@]}" >"$work/out" 2>&1 ;;
        icarus) iverilog -g2005 -Wall -Wno-timescale -I"$src/hw/include" -t null -s decode "${values[@]/#/-Pdecode.}" "${files[@]}" >"$work/out" 2>&1 ;;
        yosys) yosys -q -e '.' -w 'Replacing memory' -p "read_verilog -I$src/hw/include ${files[*]}; chparam -set COLS $2 -set LANES $3 -set PLANES $4 -set DECODE $5 decode
                hierarchy -check -top decode; proc; check -assert" >"$work/out" 2>&1 ;;
        esac
    }
    for row in "${geometries[@]}"; do
        for tool in verilator icarus yosys; do
            if ! elaborate $tool $row || [ -s "$work/out" ]; then echo "FAIL $tool on $row:"; head -20 "$work/out"; exit 1; fi
        done
    done
    while read -r cols lanes planes decode rule; do
        for tool in verilator icarus yosys; do
            if elaborate $tool $cols $lanes $planes $decode; then echo "FAIL $tool accepts $cols $lanes $planes $decode"; exit 1; fi
            grep -q "$rule" "$work/out" || { echo "FAIL $tool does not name $rule"; head -5 "$work/out"; exit 1; }
        done
    done <<'RULES'
16 24 2 7 decode_LANES_must_be_a_power_of_two_from_8_to_64
8 8 2 0 DECODE_must_be_1_to_7_here
7 16 2 7 decode_COLS_must_be_whole_channels_of_four_planes_and_64_to_32768_bits
RULES
    echo "${#geometries[@]} geometries, 3 rules" ;;
area)
    need yosys
    printf "%-28s %s\n" "LANES PLANES, codes" "iCE40: LUT4, flip-flops, carries, RAM     ECP5: LUT4, CCU2C, flip-flops, DP16KD"
    for lanes in 8 32; do
        for decode in 1 2 4 7; do
            for part in ice40 ecp5; do
                flags=""; [ $part = ecp5 ] && flags="-nowidelut"
                yosys -q -p "read_verilog -I$src/hw/include ${files[*]}; chparam -set COLS 8 -set LANES $lanes -set DECODE $decode decode
                    synth_$part $flags -abc9 -top decode; tee -q -o $work/$part stat" >"$work/out" 2>&1 || { tail "$work/out"; exit 1; }
            done
            count() { awk -v name="$2" '$1 ~ "^"name {n += $2} END {printf "%d", n}' "$work/$1"; }
            printf "%-28s %-41s %s\n" "$lanes 2, DECODE $decode" \
                "$(count ice40 SB_LUT4), $(count ice40 SB_DFF), $(count ice40 SB_CARRY), $(count ice40 SB_RAM40)" \
                "$(count ecp5 LUT4), $(count ecp5 CCU2C), $(count ecp5 TRELLIS_FF), $(count ecp5 DP16KD)"
        done
    done ;;
esac
