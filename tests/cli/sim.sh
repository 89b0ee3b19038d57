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
ok predict net.hdp --json
predicted=$(json cycles)
# The SystemC platform, where it was built: the same bytes; without a link a run takes its cycles, with one more.
if "$heddle" devices | grep -q "^sysc *usable"; then
    for model in rtl exact; do
        ok run net.hdp --device sysc --sysc-model $model --clock 48e6 --input $images --count 4 -o sysc.bin --json
        cmp ref.bin sysc.bin || fail "ref and sysc ($model) differ"
        [ "$(json exact)" = true ] && [ "$(json cycles)" = "$predicted" ] || fail "sysc ($model): $(json cycles) cycles, predicted $predicted"
        awk "BEGIN{d=$(json sysc.run_ms)*48000-$predicted; exit !(d < 0.01 && d > -0.01)}" || fail "sysc ($model): a run takes $(json sysc.run_ms) ms"
    done
    ok run net.hdp --device sysc --sysc-model exact --link full --input $images --count 2 -o sysc.bin --json
    cmp -n "$(stat -c %s sysc.bin)" ref.bin sysc.bin || fail "ref and sysc behind full-speed USB differ"
    awk "BEGIN{exit !($(json sysc.input_ms) > 0.1 && $(json sysc.latency_ms) > $(json sysc.run_ms) + $(json sysc.input_ms))}" || fail "sysc: $(json sysc.input_ms) ms input, latency $(json sysc.latency_ms)"
    ok run net.hdp --device sysc --sysc-model exact --link uart --bit-rate 3000000 --input $images --count 1
    error "--link: found 'super'; allowed are none, uart, full and high" run net.hdp --device sysc --link super --input $images
    error "run: --sysc-model: found 'fast'; allowed are rtl and exact" run net.hdp --device sysc --sysc-model fast --input $images
fi
error "run: --link: only device sysc has one; found sim" run net.hdp --device sim --link uart --input $images
ok profile net.hdp --json
[ "$(json device)" = sim ] || fail "profile runs on $(json device)"
ok run net.hdp --device sim --input $images --count 1 --trace t.fst
[ "$(stat -c %s t.fst)" -gt 1000 ] || fail "the trace has $(stat -c %s t.fst) bytes"
finish
