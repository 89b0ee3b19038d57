#!/bin/bash
# lint.sh verilator|verilator-fast|verilator-ecp5|yosys|icarus SOURCE_DIR: elaborates the accelerator with that tool for every row of
# geometries.txt (of them those with EXTERN hold sdram, loader and decode), and the units beside it, link and USB, by themselves; any warning fails. Exit 77 when the tool is missing. verilator-ecp5 takes the processing element of hw/ecp5.
# lint.sh rules SOURCE_DIR: each broken parameter rule must stop Verilator, Yosys and Icarus, naming the rule.
set -u
mode=$1 src=$2
names=(ROWS COLS LANES PLANES HOP ACC_BITS ACT_WORDS WINDOW_WORDS STREAM_WORDS PARAM_WORDS DESCRIPTORS TABLES RESIDUAL FETCH POST EXTERN EXTERN_MHZ DECODE PUMP POOL SLOT GATHER SUMS PERF)
files=("$src"/hw/*.v "$src"/hw/lib/*.v "$src"/hw/decode/*.v)
synth=()
for f in "${files[@]}"; do [[ $f == */datapath_fast.v ]] || synth+=("$f"); done
out=$(mktemp) && trap 'rm -f "$out"' EXIT

need() { command -v "$1" >/dev/null || { echo "skipped: $1 is not installed"; exit 77; }; }

# elaborate TOOL VALUES...: one geometry; output in $out
elaborate() {
    local tool=$1 i params=(); shift
    local values=("$@")
    case $tool in
    verilator*)
        for i in "${!values[@]}"; do params+=("-G${names[i]}=${values[i]}"); done
        [ "$tool" = verilator-fast ] && params+=(-DHD_FAST_ARRAY)
        [ "$tool" = verilator-ecp5 ] && files=("${files[@]/%\/hw\/pe.v//hw/ecp5/pe.v}")
        verilator --lint-only -Wall -I"$src/hw/include" "${params[@]}" --top-module heddle_core "${files[@]}" >"$out" 2>&1 ;;
    icarus)
        for i in "${!values[@]}"; do params+=("-Pheddle_core.${names[i]}=${values[i]}"); done
        iverilog -g2005 -Wall -Wno-timescale -I"$src/hw/include" -t null -s heddle_core "${params[@]}" "${synth[@]}" >"$out" 2>&1 ;;
    yosys)
        for i in "${!values[@]}"; do params+=(-set "${names[i]}" "${values[i]}"); done
        # -e: a warning is an error, but for the notes on small register arrays
        yosys -q -e '.' -w 'Replacing memory' -p "read_verilog -I$src/hw/include ${synth[*]}; chparam ${params[*]} heddle_core; hierarchy -check -top heddle_core; proc; check -assert" >"$out" 2>&1 ;;
    esac
}

if [ "$mode" = rules ]; then
    need verilator; need yosys; need iverilog
    good=(2 4 8 2 4 24 512 64 256 128 16 2 1 1 0 12 50 7 1 1 1 0 1 1)
    failed=0
    # parameter index, bad value, the rule that must be named
    while read -r index value rule; do
        bad=("${good[@]}"); bad[index]=$value
        for tool in verilator icarus yosys; do
            if elaborate $tool "${bad[@]}"; then echo "FAIL $tool accepts ${names[index]}=$value"; failed=1
            elif ! grep -q "$rule" "$out"; then echo "FAIL $tool: ${names[index]}=$value does not name $rule"; head -5 "$out"; failed=1; fi
        done
    done <<'RULES'
0 9 ROWS_must_be_1_to_16_and_at_most_LANES
1 65 COLS_must_be_1_to_64
2 12 LANES_must_be_a_power_of_two_from_4_to_64
3 3 PLANES_must_be_1_2_or_4
4 1 HOP_times_LANES_times_PLANES_must_be_a_multiple_of_32
5 13 ACC_BITS_must_be_32_or_less_and_hold_a_step_of_a_column
6 600 memory_depths_must_be_powers_of_two
7 8192 WINDOW_WORDS_must_be_16_to_4096
13 3 FETCH_must_be_1_or_2
14 3 POST_must_be_0_1_2_4_8_or_16_and_ROWS_times_POST_not_1
11 3 TABLES_must_be_0_or_a_power_of_two_to_16
15 24 EXTERN_must_be_0_or_10_to_23
16 15 EXTERN_MHZ_must_be_16_to_133
17 8 DECODE_must_be_1_to_7_here
18 3 PUMP_must_be_1_2_or_4_and_LANES_4_times_it
18 2 PUMP_above_1_needs_POST_of_4_or_more_FETCH_1_RESIDUAL_0_POOL_0_EXTERN_0
20 4 SLOT_must_be_1_or_half_of_LANES_with_POST_FETCH_1_POOL_0_EXTERN_0
21 1 GATHER_must_be_0_or_1_with_EXTERN_0_PUMP_1_SLOT_1
22 0 DECODE_needs_SUMS
RULES
    exit $failed
fi

case $mode in verilator*) need verilator ;; icarus) need iverilog ;; yosys) need yosys ;; esac
failed=0 count=0
while read -r -a row; do
    [[ ${row[0]} == \#* ]] && continue
    # The widest geometry takes Icarus and Yosys minutes; Verilator lints it, but not with ECP5's processing elements.
    [[ $mode != verilator && $mode != verilator-fast && ${row[0]} == 16 ]] && continue
    count=$((count + 1))
    if ! elaborate "$mode" "${row[@]}" || [ -s "$out" ]; then
        echo "FAIL $mode on geometry ${row[*]}:"; head -20 "$out"; failed=1
    fi
done <"$src/tests/rtl/geometries.txt"

# unit TOP PARAMETER=VALUE...: one module of hw/link or hw/usb
beside=("$src"/hw/link/*.v "$src"/hw/usb/*.v "$src"/hw/lib/*.v)
unit() {
    local top=$1 p params=(); shift
    case $mode in
    verilator) verilator --lint-only -Wall -I"$src/hw/include" "${@/#/-G}" --top-module "$top" "${beside[@]}" >"$out" 2>&1 ;;
    icarus) iverilog -g2005 -Wall -Wno-timescale -I"$src/hw/include" -t null -s "$top" "${@/#/-P$top.}" "${beside[@]}" >"$out" 2>&1 ;;
    yosys)
        for p; do params+=(-set "${p/=/ }"); done
        yosys -q -e '.' -w 'Replacing memory' -p "read_verilog -I$src/hw/include ${beside[*]}; ${params:+chparam ${params[*]} $top;} hierarchy -check -top $top; proc; check -assert" >"$out" 2>&1 ;;
    *) return 0 ;;
    esac
}
units=0
while read -r -a row; do
    [[ $mode == verilator-* ]] && break
    units=$((units + 1))
    if ! unit "${row[@]}" || [ -s "$out" ]; then
        echo "FAIL $mode on ${row[*]}:"; head -20 "$out"; failed=1
    fi
done <<'UNITS'
uart_link CLOCKS_PER_64_BITS=158
uart_link CLOCKS_PER_64_BITS=236
uart_link CLOCKS_PER_64_BITS=1600 TIMEOUT_BITS=24
link TIMEOUT_BITS=16
usb_fs
usb_fs FIFO_BITS=10
usb_ulpi
usb_crossing
UNITS
echo "$mode: $count geometries, $units units beside them"
exit $failed
