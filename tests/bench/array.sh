# array.sh HEDDLE JSON_GET: `heddle bench array` against the least that is wanted. Cycles are exact, so the bounds are too.
. "$(dirname "$0")/common.sh"

command -v verilator >/dev/null || skip "verilator is not installed"
[ -d "$data" ] || skip "Debian package dataset-fashion-mnist is not installed"
bench array
# Utilisation of the default network at W4, dense, on 4x8x8x2.
within array.w4.utilisation.conv2 0.85 1
within array.w4.utilisation.conv3 0.85 1
within array.w4.utilisation.network 0.70 1
# Speed-up x density of whole layers with 200 steps a pass or more, half of the blocks removed.
for layer in conv3x3_32_64 conv3x3_64_64 fc_512_256; do within array.sparsity50.$layer 0.97 1.03; done
# Cycles against weight bits, relative to 8 bits.
for layer in conv3x3_32_64 conv3x3_64_64 conv1x1_128_128 fc_512_256; do
    within array.bits2_of_8.$layer 0.97 1.03
    within array.bits4_of_8.$layer 0.97 1.03
done
finish
