# decode.sh HEDDLE JSON_GET: `heddle bench decode`: codes of 2 bits a weight halve a layer that external memory bounds, up to index entries and tables.
. "$(dirname "$0")/common.sh"

command -v verilator >/dev/null || skip "verilator is not installed"
bench decode
for density in 100 50; do
    for code in table4 e8p; do within decode.$code.density$density.of_plain4 1.9 2; done
    within decode.books.density$density.of_plain4 1.7 2
    within decode.e8p_raw.density$density.of_plain4 0.999 1.001
done
finish
