# explore.sh HEDDLE JSON_GET: `heddle bench explore`: the cycle model is the RTL's, at a thousand times its speed; the SystemC platform costs little and its links are near the
# virtual board's; a sweep of 200 points ends in time.
. "$(dirname "$0")/common.sh"

command -v verilator >/dev/null || skip "verilator is not installed"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
bench explore
within explore.model_rtl_cycle_difference 0 0
within explore.model_speedup 1000 1e9
if "$heddle" devices | grep -q "^sysc *usable"; then
    within explore.sysc_cycle_difference 0 1e-3
    within explore.sysc_speed_of_sim 0.7 1.5
    for wire in uart full_speed high_speed; do
        within explore.link.${wire}_out.difference -6 6
        within explore.link.${wire}_in.difference -6 6
    done
fi
within explore.sweep200_seconds 0 600
finish
