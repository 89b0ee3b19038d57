# The Verilated RTL from the command line: the same bytes as ref, the predicted cycles, a trace that is a trace.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
command -v verilator >/dev/null || skip "no verilator"
images=$data/t10k-images-idx3-ubyte.gz

ok compress default --calib $data/train-images-idx3-ubyte.gz --calib-count 64 --weights ternary -o net.hdm
ok compile net.hdm --geometry 4x8x8x2 -o net.hdp
ok run net.hdp --device ref --input $images --count 4 -o ref.bin
ok run net.hdp --device sim --input $images --count 4 -o sim.bin --json
cmp ref.bin sim.bin || fail "ref and sim differ"
[ "$(json exact)" = true ] || fail "cycles are not as predicted"
for i in $(seq 0 $(($(json layers.#) - 1))); do
    [ "$(json "layers.$i.cycles")" = "$(json "layers.$i.predicted_cycles")" ] || fail "layer $i: $(json "layers.$i.cycles") cycles, predicted $(json "layers.$i.predicted_cycles")"
done
ok profile net.hdp --json
[ "$(json device)" = sim ] || fail "profile runs on $(json device)"
ok run net.hdp --device sim --input $images --count 1 --trace t.fst
[ "$(stat -c %s t.fst)" -gt 1000 ] || fail "the trace has $(stat -c %s t.fst) bytes"
finish
