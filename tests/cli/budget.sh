# heddle compress with a budget: exact errors, a policy within its budget, the reason why, and its policy file that makes the same model.
. "$(dirname "$0")/common.sh"

compress=(compress default --calib x.idx -o x.hdm)
for o in "--geometry 4x8x8x2" "--board ulx3s" "--memory act=64" "--judge error" "--judge-count 3" "--refine 3" "--policy-out p.json"; do
    error "compress: ${o%% *} goes with --budget-bytes, --budget-bpw or --budget-cycles" "${compress[@]}" $o
done
for o in "--weights 4" "--sparsity 0.5" "--structure block" "--budget global" "--rounds 2"; do
    error "compress: ${o%% *} and a budget do not go together; the budget chooses" "${compress[@]}" --budget-bytes 9000 $o
done
error "compress: --budget-bytes and --budget-bpw do not go together" "${compress[@]}" --budget-bytes 9000 --budget-bpw 2
error "compress: --budget-bytes: found '0'; allowed is a whole number 1..140737488355328" "${compress[@]}" --budget-bytes 0
error "compress: --budget-bpw: found 'many'; allowed is a number 0.01..64" "${compress[@]}" --budget-bpw many
error "compress: --budget-cycles needs --geometry or --board, as in --geometry 4x8x8x2" "${compress[@]}" --budget-cycles 9000
error "compress: --memory goes with --geometry or --board" "${compress[@]}" --budget-bytes 9000 --memory act=64
error "compress: --judge: found 'me'; allowed are divergence and error" "${compress[@]}" --budget-bytes 9000 --judge me
error "compress: one of --board and --geometry is needed, as in --geometry 4x8x8x2" "${compress[@]}" --budget-bytes 9000 --geometry 4x8x8x2 --board ulx3s
error "compress: --tokens and --budget-cycles do not go together" compress x.bin --tokens t.idx -o x.hlm --budget-cycles 9
error "no/p.json: No such file or directory" "${compress[@]}" --budget-bytes 9000 --policy-out no/p.json
error "x.idx: No such file or directory" "${compress[@]}" --budget-bytes 9000
only ""

[ -r $data/train-images-idx3-ubyte.gz ] || { [ "$failures" -eq 0 ] && skip "no dataset-fashion-mnist"; finish; }
# Few images and one method: a full search takes a minute.
few=(--calib $data/t10k-images-idx3-ubyte.gz --calib-count 8)
search=(compress default "${few[@]}" --judge-count 16 --refine 2 --method rtn --grid odd --block 8x8)
ok "${search[@]}" --budget-bytes 12000 --budget-cycles 9000 --geometry 4x8x8x2 --policy-out p.json -o a.hdm --json
bytes=$(json bytes)
cycles=$(json cycles)
[ "$bytes" -le 12000 ] && [ "$cycles" -le 9000 ] || fail "found $bytes bytes, $cycles cycles, wanted 12000 and 9000 at most"
[ "$(json why.layers.#)" = 5 ] && [ "$(json why.layers.0.name)" = conv1 ] && [ "$(json why.layers.4.candidates.#)" -gt 10 ] || fail "why: $(head -c 300 stdout)"
awk "BEGIN { exit !($(json why.loss) > 0 && $(json why.loss) <= $(json why.best_uniform.loss)) }" || fail "loss $(json why.loss), uniform $(json why.best_uniform.loss)"
ok compress default "${few[@]}" --policy p.json -o b.hdm --json
cmp -s a.hdm b.hdm || fail "the policy file makes another model"
[ "$(json bytes)" = "$bytes" ] || fail "bytes: $(json bytes), $bytes"
ok compile a.hdm --geometry 4x8x8x2 -o a.hdp
ok profile a.hdp --device ref --json
[ "$(json cycles)" = "$cycles" ] || fail "cycles: the device counts $(json cycles), the search $cycles"
"$heddle" "${search[@]}" --budget-bytes 900 -o c.hdm >stdout 2>stderr && fail "900 bytes are enough"
grep -q "^heddle: no policy is within the budget: budget 900 bytes, smallest reachable [0-9]*$" stderr || fail "900 bytes: found '$(cat stderr)'"
only "a.hdm a.hdp b.hdm p.json "
finish
