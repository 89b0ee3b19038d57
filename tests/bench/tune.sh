# tune.sh HEDDLE JSON_GET: `heddle bench tune`: accuracy after training in the stored format, shares of blocks, cycles, time, against the bars.
. "$(dirname "$0")/common.sh"

command -v verilator >/dev/null || skip "verilator is not installed"
[ -d "$data" ] || skip "Debian package dataset-fashion-mnist is not installed"
bench tune
within fashion.w4 0.9118 1
within fashion.w2_block50 0.9048 1
within fashion.w2_block50.removed 0.5 0.51
within fashion.ternary_block75 0.8848 1
within fashion.ternary_block75.removed 0.75 0.76
for setting in w4 w2_block50 ternary_block75; do
    within fashion.$setting.float 0.9148 0.9148
    within fashion.$setting.rtl_images 16 16
    within fashion.$setting.seconds 0 300
    [ "${value[fashion.$setting.cycles]}" = "${reference[fashion.$setting.cycles]}" ] || fail "fashion.$setting.cycles: ${value[fashion.$setting.cycles]}, predicted ${reference[fashion.$setting.cycles]}"
done
finish
