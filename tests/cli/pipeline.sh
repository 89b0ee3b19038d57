# A short training, then each step on the file of the step before; figures that must agree between commands do.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
images=$data/t10k-images-idx3-ubyte.gz
labels=$data/t10k-labels-idx1-ubyte.gz
calib=$data/train-images-idx3-ubyte.gz

ok train --epochs 1 --limit 3000 --seed 3 -o net.onnx --json
[ "$(json epochs)" = 1 ] || fail "train: epochs"
ok eval net.onnx --images $images --labels $labels --count 500 --json
float=$(json accuracy)
awk "BEGIN{exit !($float > 0.5)}" || fail "a short training gives $float"

ok compress net.onnx --calib $calib --calib-count 64 --weights 4 -o w4.hdm --json
[ "$(json layers.#)" -ge 5 ] || fail "compress: $(json layers.#) layers"
bits=$(json total_bits_per_weight)
bytes=$(json bytes)
awk "BEGIN{exit !($bits > 4 && $bits < 5)}" || fail "4-bit weights take $bits bits in all"
awk "BEGIN{d=$bits*$(json dense_weights)/8-$bytes; exit !(d<1 && d>-1)}" || fail "bytes and bits per weight disagree"
ok eval w4.hdm --images $images --labels $labels --count 500 --json
awk "BEGIN{exit !($(json accuracy) > $float - 0.05)}" || fail "4 bits lose too much: $float to $(json accuracy)"

# Passes before compression: the JSON names the layers that they rewrote. conv1 reads the input, so nothing can be folded before it.
ok compress net.onnx --calib $calib --calib-count 64 --weights 4 --method awq+outliers:3+gptq --ranges percentile:99.9 -o w4p.hdm --json
[ "$(json rewritten.#)" -ge 3 ] || fail "rewritten: $(json rewritten.#) layers"
[ "$(json rewritten.0.name)" != conv1 ] || fail "conv1 was folded"
ok eval w4p.hdm --images $images --labels $labels --count 500 --json
awk "BEGIN{exit !($(json accuracy) > $float - 0.05)}" || fail "4 bits with passes lose too much: $float to $(json accuracy)"
rm w4p.hdm

# Channels removed for good: the JSON tells of which layers, bits per weight count the weights that there were.
ok compress net.onnx --calib $calib --calib-count 64 --weights 4 --structure channel --sparsity 0.25 --method gptq -o narrow.hdm --json
[ "$(json rewritten.0.name)" = conv1 ] && [ "$(json rewritten.0.channels_removed)" -ge 1 ] || fail "conv1 lost no channels"
[ "$(json layers.0.weights)" = "$((25 * $(json rewritten.0.channels)))" ] || fail "conv1 has $(json layers.0.weights) weights, $(json rewritten.0.channels) channels"
awk "BEGIN{exit !($(json total_bits_per_weight) < 0.75 * $bits && $(json dense_weights) > 30000)}" || fail "a quarter of the channels less: $(json total_bits_per_weight) bits, dense $bits"
ok eval narrow.hdm --images $images --labels $labels --count 500 --json
awk "BEGIN{exit !($(json accuracy) > $float - 0.15)}" || fail "a quarter of the channels less: $float to $(json accuracy)"
ok compile narrow.hdm --geometry 4x8x8x2 -o narrow.hdp
rm narrow.hdm narrow.hdp

# Pairs of lanes that lose equally many blocks: half of the steps go where each pair reads its own words, hardly any where all lanes read one.
ok compress net.onnx --calib $calib --calib-count 64 --weights 2 --sparsity 0.5 --block 2x8 --balance 8 -o pairs.hdm
ok compile pairs.hdm --geometry 4x8x8x2 -o pairs.hdp
ok profile pairs.hdp --device ref --json
together=$(json layers.1.cycles)
ok compile pairs.hdm --geometry 4x8x8x2 --memory gather=1 -o pairs.hdp
ok profile pairs.hdp --device ref --json
[ $((2 * $(json layers.1.cycles))) -lt "$together" ] || fail "pairs take $(json layers.1.cycles) cycles, all lanes together $together"
rm pairs.hdm pairs.hdp

# The policy file says the same as the options.
echo '{"base": {"weights": 2, "sparsity": 0.5, "block": "8x8"}, "layers": {"fc2": {"weights": 8, "sparsity": 0}}}' >policy.json
ok compress net.onnx --calib $calib --calib-count 64 --policy policy.json -o w2.hdm --json
total=0 present=0
for i in $(seq 0 $(($(json layers.#) - 1))); do
    if [ "$(json "layers.$i.name")" = fc2 ]; then [ "$(json "layers.$i.bits")" = 8 ] || fail "policy: fc2 has $(json "layers.$i.bits") bits"; continue; fi
    [ "$(json "layers.$i.bits")" = 2 ] || fail "policy: layer $i has $(json "layers.$i.bits") bits"
    total=$((total + $(json "layers.$i.blocks"))) present=$((present + $(json "layers.$i.blocks_present")))
done
awk "BEGIN{exit !($present/$total > 0.45 && $present/$total < 0.6)}" || fail "sparsity 0.5 keeps $present of $total blocks"

# Trained in its format a model is better than compressed at once, also a narrower one; it repeats itself.
tune=(tune net.onnx --images $calib --labels ${calib/images-idx3/labels-idx1} --limit 3000 --epochs 1 --weights ternary --sparsity 0.5 --block 4x8)
ok "${tune[@]}" --test-images $images --test-labels $labels -o tuned.hdm --json
awk "BEGIN{exit !($(json tuned_accuracy) > $(json oneshot_accuracy) + 0.02)}" || fail "tuning: $(json oneshot_accuracy) to $(json tuned_accuracy)"
ok "${tune[@]}" -o again.hdm --json
cmp -s tuned.hdm again.hdm || fail "two tunings with the same seed differ"
ok "${tune[@]}" --width 0.5 -o narrow.hdm --json
awk "BEGIN{exit !($(json dense_weights) < 20000)}" || fail "half the width: $(json dense_weights) weights"
ok eval tuned.hdm --count 100

for m in w4 w2; do
    ok compile $m.hdm --geometry 4x8x8x2 -o $m.hdp --json
    [ "$(json geometry)" = 4x8x8x2 ] || fail "compile: geometry"
    ok run $m.hdp --device ref --input $images --count 20 -o $m.bin --json
    [ "$(json cycles)" = "$(json predicted_cycles)" ] || fail "run ref: predicts others than its own cycles"
    [ "$(stat -c %s $m.bin)" = 200 ] || fail "20 outputs of 10 bytes are $(stat -c %s $m.bin)"
    cycles=$(json cycles)
    ok profile $m.hdp --device ref --perfetto trace.json --json
    [ "$(json cycles)" = "$cycles" ] || fail "profile and run disagree: $(json cycles), $cycles"
    why=$(json layers.1.reason)
    ok predict $m.hdp --clock 24e6 --json
    [ "$(json cycles)" = "$cycles" ] && [ "$(json layers.1.reason)" = "$why" ] || fail "predict and run disagree: $(json cycles), $cycles"
    awk "BEGIN{exit !($(json ms) * 24000 - $cycles < 1 && $cycles - $(json ms) * 24000 < 1)}" || fail "$cycles cycles at 24 MHz take $(json ms) ms"
    cp trace.json stdout
    [ "$(json traceEvents.#)" -gt 10 ] || fail "the trace holds $(json traceEvents.#) events"
    eval "cycles_$m=$cycles"
done
awk "BEGIN{exit !($cycles_w4/$cycles_w2 > 1.5)}" || fail "half the bits and half the blocks: $cycles_w4 to $cycles_w2 cycles"

# The accuracy of run's outputs on ref is eval's.
ok eval w2.hdm --images $images --labels $labels --count 20 --json
want=$(json accuracy)
zcat $labels | tail -c +9 | head -c 20 | od -An -v -tu1 -w1 >right
od -An -v -td1 -w10 w2.bin | awk '{b=1; for(i=2;i<=10;i++) if($i>$b) b=i; print b-1}' >guess
got=$(paste right guess | awk '{n+=$1==$2} END{print n/NR}')
awk "BEGIN{exit !($got == $want)}" || fail "run gives accuracy $got, eval $want"

# Text output works too, and a second run gives the same bytes.
for c in "compile w4.hdm --geometry 4x8x8x2 -o again.hdp" "run again.hdp --input $images --count 20 -o again.bin" "profile again.hdp --device ref" "eval w4.hdm --count 20"; do ok $c; done
cmp -s w4.bin again.bin || fail "two runs of the same program differ"

# What does not fit names the layer, the need and what there is; nothing is written.
"$heddle" compile w4.hdm --geometry 4x8x8x2 --memory stream=64 -o no.hdp >stdout 2>stderr
[ $? -eq 1 ] && grep -q "^heddle: .*layer '.*needs [0-9]* .*has 64" stderr || fail "stream=64: found '$(cat stderr)'"
absent no.hdp
error "w4.hdm: compressed already; allowed are an ONNX or TFLite file and the word default" compress w4.hdm --calib $calib -o no.hdm
error "net.onnx: a float network; compile takes an .hdm: run heddle compress first" compile net.onnx --geometry 4x8x8x2 -o no.hdp
error "device 'fpga': unknown; there are ref, sim, usb, sysc" run w4.hdp --device fpga --input $images
error "w4.hdp: compiled for 4x8x8x2; board hx8k is 2x9x32x2: compile it with --board hx8k" predict w4.hdp --board hx8k
error "run: --queue: only device usb has one; found ref" run w4.hdp --queue 4 --input $images
error "run: --queue: found '4,x'; allowed are up to three numbers of at least 1 by comma, as in 16,65536" run w4.hdp --device usb --queue 4,x --input $images
error "run: --trace: only device sim writes waveforms; found ref" run w4.hdp --trace x.fst --input $images
# A quantised file keeps its integers, unless there are inputs to find others by.
models=${HEDDLE_MODELS-}
case $models in /* | "") ;; *) models=$(cd "$OLDPWD" && cd "$models" 2>/dev/null && pwd) ;; esac
[ ! -r "$models/dscnn-int8.tflite" ] ||
    error "compress: --weights needs --calib; without it the integers of '$models/dscnn-int8.tflite' stay as they are" compress "$models/dscnn-int8.tflite" --weights 4 -o no.hdm
absent no.hdm no.hdp x.fst
finish
