# Language models in integers, their matrices on devices: exact errors; with stories260K at hand the same bits from ref and from the Verilated RTL, and what integers cost.
# A third argument: how many stories the RTL reads (2).
. "$(dirname "$0")/common.sh"
models=${HEDDLE_MODELS-}
case $models in /* | "") ;; *) models=$(cd "$OLDPWD" && cd "$models" 2>/dev/null && pwd) ;; esac
stories=${3:-2}

error "generate: --geometry goes with --device" generate x.hlm --tokenizer t.bin --geometry 4x8x8x2
error "generate: --clock goes with --device" generate x.hlm --tokenizer t.bin --clock 1e6
error "eval: --board goes with --device" eval x.hlm --tokens t.idx --board ulx3s
error "eval: --device goes with --tokens" eval x.hdm --device ref
error "generate: --link: only device sysc has one; found ref" generate x.hlm --tokenizer t.bin --device ref --link uart
printf 'HLM1' >x.hlm
error "x.hlm: a language model is many programs and what the host computes between them: heddle generate --device and eval --device compile it for their array" compile x.hlm --board ulx3s -o x.hdp
rm x.hlm
error "eval: --device and --activations do not go together" eval x.hlm --tokens t.idx --device ref --activations 8
error "device 'gpu': unknown; there are ref, sim, usb, sysc" generate x.hlm --tokenizer t.bin --device gpu
error "x.hlm: No such file or directory" generate x.hlm --tokenizer t.bin --device ref
error "generate: one of --board and --geometry is needed, as in --geometry 4x8x8x2" generate x.hlm --tokenizer t.bin --device ref --board ulx3s --geometry 4x8x8x2
printf 'short' >x.bin
error "x.bin: no .hlm; --device takes a compressed model: heddle compress MODEL --tokens X.idx --weights 4 -o N.hlm" generate x.bin --tokenizer t.bin --device ref
rm x.bin
only ""

[ -r "$models/stories260K.bin" ] || { [ "$failures" -eq 0 ] && skip "stories260K.bin not found in '$models' (set HEDDLE_MODELS)"; finish; }
model=$models/stories260K.bin tokenizer=$models/tok512.bin tokens=$models/stories-tokens.idx
export OMP_NUM_THREADS=1
ok compress "$model" --tokens "$tokens" --rows 0:24 --weights 4 -o w4.hlm
ok compress "$model" --tokens "$tokens" --rows 0:2 --weights 4 --granularity float-group:32 -o grouped.hlm
error "grouped.hlm: layer0.q: a scale, or zero point, for each group of inputs; the array takes integers with one scale a row: heddle compress MODEL --tokens X.idx --weights 4 --granularity channel -o N.hlm" \
    eval grouped.hlm --tokens "$tokens" --device ref
error "w4.hlm: the model has 9168 weight blocks; geometry 4x8x8x2 holds 2048: fewer bits, more stream= or external memory (--memory extern=23,mhz=50)" \
    eval w4.hlm --tokens "$tokens" --device ref --memory stream=2048
error "w4.hlm: layer 'layer0.w2' needs 43 window words of 4 bytes; geometry 4x8x4x2 has 16" eval w4.hlm --tokens "$tokens" --device ref --memory window=16 --geometry 4x8x4x2

# What integers cost: beside the same weights in floats.
ok eval w4.hlm --tokens "$tokens" --rows 89:40 --json
float=$(json cross_entropy)
ok eval w4.hlm --tokens "$tokens" --rows 89:40 --device ref --json
[ "$(json predicted_cycles)" = "$(json cycles)" ] || fail "cycles: $(cat stdout)"
awk -v v="$(json cross_entropy)" -v f="$float" 'BEGIN { d = v - f; exit !(d < 0.02 && d > -0.01 && d != 0) }' || fail "integers: $(json cross_entropy), the same weights in floats $float"
# The same bits on every device and array, from steps of any size; cycles as predicted.
ok eval w4.hlm --tokens "$tokens" --rows "89:$stories" --device ref --json
bits=$(json nats_30)
ok eval w4.hlm --tokens "$tokens" --rows "89:$stories" --device sim --json
[ "$(json nats_30)" = "$bits" ] || fail "cross-entropy on the RTL: $(json nats_30), on ref $bits"
[ "$(json predicted_cycles)" = "$(json cycles)" ] || fail "cycles on the RTL: $(cat stdout)"
ok eval w4.hlm --tokens "$tokens" --rows "89:$stories" --device ref --geometry 2x4x16x1 --memory act=256,post=4,fetch=1 --json
[ "$(json nats_30)" = "$bits" ] || fail "cross-entropy on another array: $(json nats_30), wanted $bits"
ok eval w4.hlm --tokens "$tokens" --rows "89:$stories" --device ref --memory param=512 --json
[ "$(json nats_30)" = "$bits" ] || fail "cross-entropy with parameters written for each run: $(json nats_30), wanted $bits"

# Weights, descriptors and streams behind each other in SDRAM.
ok eval w4.hlm --tokens "$tokens" --rows 89:1 --device ref --json
bits=$(json nats_30)
for device in ref sim; do
    ok eval w4.hlm --tokens "$tokens" --rows 89:1 --device $device --board ulx3s --json
    [ "$(json nats_30)" = "$bits" ] || fail "cross-entropy on $device of ULX3S: $(json nats_30), wanted $bits"
    [ "$(json predicted_cycles)" = "$(json cycles)" ] || fail "cycles on $device of ULX3S: $(cat stdout)"
done
error "w4.hlm: the model has 42240 words of weights; external memory holds 16384: fewer bits, or more extern=" eval w4.hlm --tokens "$tokens" --device ref --board ulx3s --memory extern=14
"$heddle" generate w4.hlm --tokenizer "$tokenizer" --device ref --steps 3 --board ulx3s --memory param=4096 >stdout 2>stderr || fail "generate: $(cat stderr)"
grep -q "^a token: [0-9]* cycles in 21 runs, [0-9.]* ms at 55.000 MHz (measured clock) \[simulated\]; [0-9]* bytes over UART at 3.0 Mbit/s, [0-9.]* ms \[derived\]; host" stderr || fail "figures: $(cat stderr)"

# The link's share: what is derived from the frames is what the SystemC platform takes in simulated time.
if [ -e "$(dirname "$heddle")/heddle-sysc.so" ]; then
    ok generate w4.hlm --tokenizer "$tokenizer" --device sysc --steps 4 --board ulx3s --json
    awk -v s="$(json token.sysc_ms)" -v a="$(json token.array_ms)" -v l="$(json token.link_ms)" 'BEGIN { r = s / (a + l); exit !(r > 0.99 && r < 1.01) }' || fail "simulated link: $(cat stdout)"
fi

# Text: prompt in one step, tokens one by one.
for device in ref sim; do
    ok generate w4.hlm --tokenizer "$tokenizer" --device $device --steps 40 --prompt "The dog" --json
    json tokens >$device.tokens
    [ "$(json predicted_cycles)" = "$(json cycles)" ] || fail "cycles of a text on $device: $(cat stdout)"
done
cmp -s ref.tokens sim.tokens || fail "texts differ: $(cat ref.tokens sim.tokens)"
"$heddle" generate w4.hlm --tokenizer "$tokenizer" --device ref --steps 20 --clock 40e6 >stdout 2>stderr || fail "generate: $(cat stderr)"
grep -q "^Once upon a time, there was a little girl named Lily\." stdout || fail "greedy text: $(cat stdout)"
grep -q "^a token: [0-9]* cycles in 21 runs, [0-9.]* ms at 40.000 MHz (given clock) \[simulated\]; host [0-9.]* ms \[measured\]$" stderr || fail "figures: $(cat stderr)"
grep -q "cycles as predicted$" stderr || fail "figures: $(cat stderr)"
for seed in 5 5 6; do
    "$heddle" generate w4.hlm --tokenizer "$tokenizer" --device ref --steps 30 --temperature 1 --seed $seed >"drawn$seed" 2>stderr || fail "generate: $(cat stderr)"
    [ ! -e before ] || cmp -s before "drawn$seed" || [ $seed = 6 ] || fail "the same seed gives another text"
    cp "drawn$seed" before
done
cmp -s drawn5 drawn6 && fail "another seed gives the same text"
finish
