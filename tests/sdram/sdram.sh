#!/bin/bash
# sdram.sh clocks SOURCE_DIR: the controller at clocks from 16 to 133 MHz against the memory model, all times kept, 95% of the bus used from 25 MHz on.
# sdram.sh mutants SOURCE_DIR: broken controllers; each must be caught. Exit 77 without Icarus.
set -eu
mode=$1 src=$2
command -v iverilog >/dev/null || { echo "skipped: iverilog is not installed"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

# bench CONTROLLER NAME=VALUE...: its line
bench() {
    local controller=$1 params=(); shift
    for p; do params+=("-Pbench.$p"); done
    iverilog -g2005 -Wno-timescale -I"$src/hw/include" -s bench "${params[@]}" -o "$work/bench" "$controller" "$src/sim/sdram_model.v" "$src/tests/sdram/bench.v"
    vvp -n "$work/bench"
}

failed=0
case $mode in
clocks)
    for mhz in 25 50 75 100 101 133; do
        line=$(bench "$src/hw/sdram.v" MHZ=$mhz)
        echo "$line"
        [[ $line == *"; ok" ]] || failed=1
    done
    # A refresh takes more than a twentieth of the time here: all but the speed must hold.
    line=$(bench "$src/hw/sdram.v" MHZ=16)
    echo "$line"
    [[ $line == *"; slow" ]] || failed=1 ;;
mutants)
    run() { bench "$1" MHZ=133 POWER_UP=200 WORDS=3000; }
    [[ $(run "$src/hw/sdram.v") == *"; ok" ]] || { echo "FAIL: the controller itself"; exit 1; }
    n=0 text=$(<"$src/hw/sdram.v")
    while IFS='~' read -r what from to; do
        broken=${text/"$from"/"$to"}
        [[ $broken != "$text" && ${text//"$from"/} == "${text/"$from"/}" ]] || { echo "FAIL: not once in the controller: $what"; failed=1; continue; }
        echo "$broken" >"$work/mutant.v"
        line=$(run "$work/mutant.v") n=$((n + 1))
        if [[ $line == *"; ok" || $line != *"; "* ]]; then echo "FAIL: not caught: $what ($line)"; failed=1
        else echo "$what: ${line##*; }"; fi
    done <<'LIST'
a row is read too early~TRCD + 2 > TRAS ? TRCD : TRAS - 2~TRCD - 1
refresh follows the close too soon~REFRESH = 1 + (TRP + 1) / 2 * 2~REFRESH = 3
rows open too soon after a refresh~OPEN = REFRESH + (TRFC + 1) / 2 * 2~OPEN = REFRESH + 6
refresh comes late~MHZ / 1000 - S - 2)~MHZ / 1000 + 8)
another burst length~{6'd0, CL_FIELD, 4'b0001}~{6'd0, CL_FIELD, 4'b0000}
another latency~{6'd0, CL_FIELD, 4'b0001}~{6'd0, 3'd2, 4'b0001}
a READ closes its row~sd_addr <= {4'd0, at_full~sd_addr <= {4'd2, at_full
a host's word does not wait for write recovery~X_END = READY + 2 + TWR + TRP + 3~X_END = READY + 3
too few refreshes at power-up~4'd9: begin~4'd7: begin
commands before power is good~reg [15:0] boot_wait = BOOT[15:0]~reg [15:0] boot_wait = 16'd100
READ in the clock before the banks close~!other && t != 0 && here~!other && here
half a word written~sd_oe <= (x_now || x_second)~sd_oe <= x_now
halves in the wrong order~assign m_data = {in_q, low}~assign m_data = {low, in_q}
data taken a clock early~assign m_valid = due[CL+2]~assign m_valid = due[CL+1]
rows stay open when a stream ends~wire         stop = stream_q && !stream~wire         stop = 1'b0
the next bank's row is the wrong one~sd_addr <= after[14:2]~sd_addr <= at_full[22:10]
a stream begins with row 0~at <= {first_row, 8'd0}~at <= {EW{1'b0}}
a word is asked for without room~assign asked = stream && room~assign asked = stream
LIST
    echo "$n broken controllers" ;;
esac
exit $failed
