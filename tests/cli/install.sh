# What `cmake --install` puts into a prefix is all that the program needs: its Verilog comes from there and not from where it was built.
. "$(dirname "$0")/common.sh"
build=$3
source=$(cd "$(dirname "$0")/../.." && pwd)
unset HEDDLE_SOURCE
cmake --install "$build" --prefix "$work/prefix" >log 2>&1 || fail "cmake --install: $(tail -n 3 log)"
heddle=$work/prefix/bin/heddle share=$work/prefix/share/heddle
for folder in hw/include hw/lib hw/link hw/decode hw/usb hw/ecp5 hw/ice40 hw sim sim/board boards/common boards/hx8k boards/icebreaker boards/ulx3s; do
    for file in "$source/$folder"/*.{v,vh,h,cpp,pcf,lpf}; do
        [ ! -f "$file" ] || cmp -s "$file" "$share/$folder/${file##*/}" || fail "not installed as it is: $folder/${file##*/}"
    done
done
[ -s "$work/prefix/share/man/man1/heddle-run.1" ] && [ -s "$work/prefix/share/doc/heddle/docs/tour.md" ] && [ -s "$work/prefix/lib/udev/rules.d/60-heddle.rules" ] || fail "pages or rules are missing"
[ -r "$data/train-images-idx3-ubyte.gz" ] || { [ "$failures" -eq 0 ] && skip "dataset-fashion-mnist is not installed"; finish; }
ok compress default --calib "$data/train-images-idx3-ubyte.gz" --calib-count 16 --weights 4 -o net.hdm
ok compile net.hdm --geometry 4x8x8x2 -o net.hdp
if command -v verilator >/dev/null; then
    ok run net.hdp --device sim --input "$data/t10k-images-idx3-ubyte.gz" --count 1 -o out.bin
    grep -q "cycles as predicted" stdout || fail "sim: $(cat stdout)"
fi
mv "$share/hw" "$share/hardware"
error "$share/hw: cannot read the RTL sources: No such file or directory (set HEDDLE_SOURCE to the project's folder)" run net.hdp --device sim --input "$data/t10k-images-idx3-ubyte.gz" --count 1
export HEDDLE_SOURCE=$source
ok run net.hdp --device ref --input "$data/t10k-images-idx3-ubyte.gz" --count 1
finish
