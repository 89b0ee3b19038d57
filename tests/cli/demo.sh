# The demo on few images: four rows, and two more that are trained a little, a page without outside references.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
command -v verilator >/dev/null || skip "no verilator"

ok demo -o demo.html --rtl-images 2 --test-images 500 --tune-epochs 1 --json
[ "$(json points.#)" = 6 ] || fail "$(json points.#) points"
for i in 0 1 2 3 4 5; do
    [ "$(json points.$i.exact)" = true ] || fail "point $i: cycles differ"
    [ "$(json points.$i.rtl_images_equal)" = 2 ] || fail "point $i: $(json points.$i.rtl_images_equal) images equal"
done
awk "BEGIN{exit !($(json points.3.speedup) > $(json points.1.speedup) && $(json points.1.speedup) > 1.5)}" || fail "fewer bits are not faster"
awk "BEGIN{exit !($(json points.4.accuracy) > $(json points.3.accuracy) + 0.01)}" || fail "tuning gives $(json points.4.accuracy), one-shot $(json points.3.accuracy)"
awk "BEGIN{exit !($(json points.5.speedup) > $(json points.3.speedup))}" || fail "fewer blocks are not faster"
[ "$(json clock)" = assumed ] || fail "the clock is not said to be assumed"
grep -q "assumed clock" demo.html || fail "the page does not say that the clock is assumed"
[ "$(grep -c '</svg>' demo.html)" = 3 ] || fail "the page has $(grep -c '</svg>' demo.html) plots"
grep -E -q "<script|https?://|src=|<link" demo.html && fail "the page refers to the outside"
grep -E -q "(nan|inf)['%<]" demo.html && fail "the page holds a number that is none"
finish
