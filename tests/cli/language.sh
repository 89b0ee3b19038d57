# Language models on the command line: exact errors; with stories260K at hand also its published text and its cross-entropy.
. "$(dirname "$0")/common.sh"
models=${HEDDLE_MODELS:-$(dirname "$0")/../../../shared/models}
case $models in /*) ;; *) models=$(cd "$OLDPWD" && cd "$models" 2>/dev/null && pwd) ;; esac

error "generate: MODEL is missing; heddle generate --help shows an example" generate
error "generate: --tokenizer T.bin is missing" generate x.bin
error "generate: --temperature: found '-1'; allowed is a number 0..100" generate x.bin --tokenizer t.bin --temperature -1
error "generate: --steps: found '0'; allowed is a whole number 1..32767" generate x.bin --tokenizer t.bin --steps 0
error "x.bin: No such file or directory" generate x.bin --tokenizer t.bin
error "x.bin: No such file or directory" eval x.bin --tokens t.idx
error "eval: --rows goes with --tokens" eval x.bin --rows 1:2
error "eval: --tokens and --labels do not go together" eval x.bin --tokens t.idx --labels y.idx
printf 'short' >short.bin
error "short.bin: 5 bytes; the header of a llama2.c checkpoint alone has 28" eval short.bin --tokens t.idx
rm short.bin
only ""

[ -r "$models/stories260K.bin" ] || { [ "$failures" -eq 0 ] && skip "stories260K.bin not found in '$models' (set HEDDLE_MODELS)"; finish; }
model=$models/stories260K.bin tokenizer=$models/tok512.bin tokens=$models/stories-tokens.idx
ok generate "$model" --tokenizer "$tokenizer" --steps 120
grep -q "^Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.$" stdout ||
    fail "greedy text: $(cat stdout)"
grep -q "^Lily's mom said, " stdout || fail "greedy text, second line: $(cat stdout)"
ok generate "$model" --tokenizer "$tokenizer" --steps 30 --prompt "The dog" --temperature 1 --seed 5
cp stdout first
grep -q "^The dog" first || fail "prompt is missing in '$(cat first)'"
ok generate "$model" --tokenizer "$tokenizer" --steps 30 --prompt "The dog" --temperature 1 --seed 5
cmp -s stdout first || fail "the same seed gives another text"
ok generate "$model" --tokenizer "$tokenizer" --steps 30 --prompt "The dog" --temperature 1 --seed 6
cmp -s stdout first && fail "another seed gives the same text"
ok generate "$model" --tokenizer "$tokenizer" --steps 3 --json
[ "$(json tokens.0)" = 403 ] && [ "$(json tokens.2)" = 261 ] && [ "$(json text)" = "Once upon a" ] || fail "tokens: $(cat stdout)"
ok eval "$model" --tokens "$tokens" --rows 89:90 --json
case $(json cross_entropy) in 1.686*) ;; *) fail "cross-entropy: found $(json cross_entropy), wanted 1.686" ;; esac
error "eval: --rows: found '89:91'; $tokens has 179 rows" eval "$model" --tokens "$tokens" --rows 89:91
error "eval: --rows: found '89'; allowed is FIRST:COUNT, as in 89:90" eval "$model" --tokens "$tokens" --rows 89
error "$models/ic01-labels.idx: idx type 8, rank 1, 1 values an item; tokens are int16 (type 11) of rank 2, 2 or more a row" eval "$model" --tokens "$models/ic01-labels.idx"
error "$model: token 2: 265839806 bytes; allowed 0 to 4096" generate "$model" --tokenizer "$model"
only "first "
finish
