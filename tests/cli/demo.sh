# The demo on few images: four rows, a page without outside references.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
command -v verilator >/dev/null || skip "no verilator"

ok demo -o demo.html --rtl-images 2 --test-images 500 --json
[ "$(json points.#)" = 4 ] || fail "$(json points.#) points"
for i in 0 1 2 3; do
    [ "$(json points.$i.exact)" = true ] || fail "point $i: cycles differ"
    [ "$(json points.$i.rtl_images_equal)" = 2 ] || fail "point $i: $(json points.$i.rtl_images_equal) images equal"
done
awk "BEGIN{exit !($(json points.3.speedup) > $(json points.1.speedup) && $(json points.1.speedup) > 1.5)}" || fail "fewer bits are not faster"
[ "$(json clock)" = assumed ] || fail "the clock is not said to be assumed"
grep -q "assumed clock" demo.html || fail "the page does not say that the clock is assumed"
[ "$(grep -c '</svg>' demo.html)" = 3 ] || fail "the page has $(grep -c '</svg>' demo.html) plots"
grep -E -q "<script|https?://|src=|<link" demo.html && fail "the page refers to the outside"
grep -E -q "(nan|inf)['%<]" demo.html && fail "the page holds a number that is none"
finish
