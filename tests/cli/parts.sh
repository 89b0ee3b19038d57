# A network that the array runs in parts, from ONNX to outputs: compress, compile with its report, run; exact errors.
. "$(dirname "$0")/common.sh"
files=$3

"$files" net.onnx x.idx y.idx labels.idx 32 || fail "parts_files"
ok compress net.onnx --calib x.idx --calib-count 8 -o net.hdm --json
[ "$(json parts.#)" = 5 ] && [ "$(json parts.0.where)" = array ] && [ "$(json parts.4.where)" = host ] || fail "parts: $(head -c 400 stdout)"
# 8 bits keep what float says is largest of 72 nearly always.
ok eval net.hdm --images x.idx --labels labels.idx --json
awk "BEGIN { exit !($(json accuracy) >= 0.8) }" && [ "$(json count)" = 32 ] || fail "eval: $(cat stdout)"
ok compile net.hdm --geometry 4x8x8x2 -o net.hdp --json
[ "$(json nodes.#)" = 12 ] && [ "$(json array_parts)" = 3 ] && [ "$(json host_parts)" = 2 ] || fail "report: $(head -c 400 stdout)"
[ "$(json nodes.0.where)" = array ] && [ "$(json nodes.0.cycles)" -gt 100 ] || fail "conv1: $(json nodes.0.cycles)"
cycles=$(json cycles)
for ((i = 0; i < 12; i++)); do [ "$(json nodes.$i.where)" = host ] && { [ -n "$(json nodes.$i.why)" ] && [ "$(json nodes.$i.operations)" -gt 0 ] || fail "node $i has no reason or no cost"; }; done
ok compile net.hdm --geometry 4x8x8x2 -o net.hdp
grep -q "^gated  *Mul  *host 2  *-  *[0-9]*  multiplies two computed tensors" stdout || fail "table: $(cat stdout)"
ok run net.hdp --input x.idx -o out.idx --json
[ "$(json cycles)" = "$cycles" ] && [ "$(json exact)" = true ] || fail "run: $(json cycles) cycles, compile said $cycles"
worst=$("$files" out.idx y.idx)
awk "BEGIN { exit !($worst > 0 && $worst < 0.05) }" || fail "differs from float by $worst"
ok predict net.hdp --json
[ "$(json cycles)" = "$cycles" ] && [ "$(json layers.#)" -ge 5 ] || fail "predict: $(json cycles) cycles, compile said $cycles"
ok profile net.hdp --device ref --perfetto trace.json --json
[ "$(json cycles)" = "$cycles" ] && [ "$(json exact)" = true ] && [ -s trace.json ] || fail "profile: $(json cycles) cycles, compile said $cycles"
rm trace.json
# One device for all parts, whose programs are written into it in turn.
if "$heddle" devices | grep -q "^sysc"; then
    ok run net.hdp --input x.idx --count 2 --device sysc --sysc-model exact --link full -o sysc.idx --json
    [ "$(json cycles)" = "$cycles" ] && [ "$(json exact)" = true ] || fail "sysc: $(json cycles) cycles, compile said $cycles"
    awk "BEGIN { exit !($(json programs_ms) > 0 && $(json latency_ms) > $(json programs_ms)) }" || fail "sysc: $(cat stdout)"
    ok run net.hdp --input x.idx --count 2 -o ref.idx
    cmp -s sysc.idx ref.idx || fail "sysc and ref differ"
    rm sysc.idx ref.idx
fi
error "run: --link: only device sysc has one; found ref" run net.hdp --input x.idx --link uart
if command -v verilator >/dev/null; then
    ok run net.hdp --input x.idx --count 2 --device sim -o sim.idx --json
    [ "$(json exact)" = true ] || fail "sim: other cycles than predicted"
    ok run net.hdp --input x.idx --count 2 -o ref.idx
    cmp -s sim.idx ref.idx || fail "sim and ref differ"
    rm sim.idx ref.idx
fi
# What maps to the array as a whole once constants are folded is a network like any other.
"$files" folded.onnx
{ printf '\0\0\10\1\0\0\0\40'; head -c 32 /dev/zero; } >zeros.idx
ok eval folded.onnx --images x.idx --labels zeros.idx --json
[ "$(json count)" = 32 ] && [ "$(json executor)" = float ] || fail "eval: $(cat stdout)"
ok compress folded.onnx --calib x.idx -o folded.hdm
ok eval folded.hdm --images x.idx --labels zeros.idx
rm folded.onnx folded.hdm zeros.idx
# What runs on the host as a whole has no cycles to speak of.
"$files" host.onnx host
ok compress host.onnx --calib x.idx -o host.hdm
ok compile host.hdm --geometry 4x8x8x2 -o host.hdp
ok run host.hdp --input x.idx
for command in predict profile; do error "host.hdp: all of its parts run on the host; there are no cycles" $command host.hdp; done
"$files" two.onnx two
ok compress two.onnx --calib x.idx -o two.hdm
ok compile two.hdm --geometry 4x8x8x2 -o two.hdp
error "two.hdp: 2 inputs, the first of type float; one of floats is supported (compress --fix gives the others a number)" run two.hdp --input x.idx
ok compress two.onnx --fix k=2 --calib x.idx -o two.hdm
ok compile two.hdm --geometry 4x8x8x2 -o two.hdp
ok run two.hdp --input x.idx
rm host.onnx host.hdm host.hdp two.onnx two.hdm two.hdp
error "net.onnx: shape '1x3x12x' of input 'x'; sizes are expected, as in 1x3x48x192" compress net.onnx --shape 1x3x12x --calib x.idx -o b.hdm
error "net.hdm: a network in parts; heddle eval, compile, run, predict and profile take such files" tune net.hdm -o t.hdm
error "eval: --images X.idx is missing" eval net.hdm
error "net.onnx: runs in parts on array and host; a budget needs a network of one part" compress net.onnx --calib x.idx -o b.hdm --budget-bytes 9000
error "compress: --calib X.idx is missing" compress net.onnx -o b.hdm
error "net.onnx: shape '1x3' has 2 dimensions; input 'x' has 4" compress net.onnx --shape 1x3 --calib x.idx -o b.hdm
error "net.onnx: shape 'wide' of input 'x'; sizes are expected, as in 1x3x48x192" compress net.onnx --shape wide --calib x.idx -o b.hdm
error "run: --trace does not go with a network in parts" run net.hdp --input x.idx --trace t.fst
only "labels.idx net.hdm net.hdp net.onnx out.idx x.idx y.idx "
finish
