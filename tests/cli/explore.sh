# Design points and sweeps: what is written, what is shared, what is found again, and what wrong input gets.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"

few=(--count 100 --calib-count 32 --method rtn --no-area --memory fit,extern=0)

# A point: made once, found again, the same file.
ok point default --weights 4 --geometry 4x8x8x2 "${few[@]}" -o one --json
[ "$(json found)" = false ] || fail "a new point was found"
[ "$(json status)" = ok ] || fail "status $(json status)"
[ "$(json figures.cycles.fidelity)" = "exact model" ] || fail "cycles: fidelity $(json figures.cycles.fidelity)"
[ "$(json figures.clock.fidelity)" = assumed ] || fail "the clock is not said to be assumed"
file=$(json path)
cycles=$(json figures.cycles.value) network=one/$(json compressed)
before=$(stat -c '%i %Y %s' "$file")
ok point default --weights 4 --geometry 4x8x8x2 "${few[@]}" -o one --json
[ "$(json found)" = true ] || fail "the point was made twice"
[ "$(stat -c '%i %Y %s' "$file")" = "$before" ] || fail "the point's file was written again"
# The network that it names is a network, and takes these cycles.
ok compile "$network" --geometry 4x8x8x2 --memory fetch=2,hop=8,acc=22 -o one.hdp
ok predict one.hdp --json
[ "$(json cycles)" = "$cycles" ] || fail "the point has $cycles cycles, its network $(json cycles)"
ok point default --weights 2 --sparsity 0.5 --geometry 4x8x8x2 --memory board,extern=0,stream=16 --count 100 --calib-count 32 --method rtn --no-area -o one --json
[ "$(json status)" = nofit ] || fail "a network in 16 stream entries: status $(json status)"
ok point default --weights 4 --geometry 4x8x8x2 --board none --count 100 --calib-count 32 --method rtn -o one

# A sweep: every combination, compressions shared, the page, the tables.
axes=(--weights 2,4 --sparsity 0,0.5 --geometry 4x8x8x2,8x8x8x2,2x8x16x2)
ok explore default "${axes[@]}" "${few[@]}" -o sweep --json
[ "$(json points)" = 12 ] && [ "$(json made)" = 12 ] && [ "$(json missing)" = 0 ] || fail "sweep: $(json points) points, $(json made) made"
[ "$(ls sweep/models/*.hdm | wc -l)" = 4 ] || fail "12 points of 4 compressions have $(ls sweep/models/*.hdm | wc -l) networks"
[ "$(ls sweep/points/*.json | wc -l)" = 12 ] || fail "$(ls sweep/points | wc -l) files of points"
[ "$(wc -l <sweep/points.csv)" = 13 ] || fail "points.csv has $(wc -l <sweep/points.csv) lines"
head -n 1 sweep/points.csv | grep -q '^point,weights,sparsity,.*,accuracy,time,' || fail "points.csv: $(head -n 1 sweep/points.csv)"
[ "$(head -c 15 sweep/points.sqlite)" = "SQLite format 3" ] || fail "points.sqlite is no database"
grep -q '^<svg ' sweep/front.svg || fail "front.svg is no picture"
grep -E -q "(src|href)=.?https?:|@import|url\(" sweep/index.html && fail "the page refers to the outside"
grep -E -q "(nan|inf)['%<\"]" sweep/index.html sweep/front.svg && fail "a page holds a number that is none"
ok explore default "${axes[@]}" "${few[@]}" -o sweep --json
[ "$(json made)" = 0 ] && [ "$(json found)" = 12 ] || fail "the second time: $(json made) made, $(json found) found"
# Twice as many rows are never slower, and the same network is as accurate anywhere.
awk -F, 'NR > 1 { gsub(/"/, ""); k = $2 "," $3; if (k in a && a[k] != $10) exit 1; a[k] = $10; c[k, $7] = $18 } END { for (k in a) if (!(c[k, "8x8x8x2"] <= c[k, "4x8x8x2"])) exit 1 }' <(sed 's/"fit,extern=0"/fit/' sweep/points.csv) || fail "points.csv does not hold together"
# A larger sweep takes what is there.
ok explore default --weights 2,4,8 --sparsity 0,0.5 --geometry 4x8x8x2 "${few[@]}" -o sweep --json
[ "$(json made)" = 2 ] && [ "$(json found)" = 4 ] || fail "more weights: $(json made) made, $(json found) found"
ok explore default --axes <(echo '{"axes": {"weights": [2, 4], "sparsity": [0, "0.5"], "geometry": ["4x8x8x2"]}}') "${few[@]}" -o sweep --json
[ "$(json made)" = 0 ] && [ "$(json found)" = 4 ] || fail "axes of a file: $(json made) made"

# Other searches and engines.
ok explore default "${axes[@]}" "${few[@]}" -o sweep --search random --points 5 --json
[ "$(json points)" = 5 ] && [ "$(json made)" = 0 ] || fail "random: $(json points) points, $(json made) made"
ok explore default "${axes[@]}" "${few[@]}" -o sweep --search nsga2 --population 8 --generations 3 --json
[ "$(json made)" = 0 ] || fail "nsga2 within a finished grid made $(json made)"
ok explore default "${axes[@]}" "${few[@]}" -o other --engine print
[ "$(wc -l <stdout)" = 12 ] || fail "print: $(wc -l <stdout) commands"
sed -n 2p stdout | sed "s|^heddle|\"$heddle\"|; s|-o other|-o sweep|" >command
bash command >stdout 2>stderr || fail "a printed command: $(cat stderr)"
grep -q "(was there)" stdout || fail "a printed command makes another point than the sweep: $(tail -n 1 stdout)"
ok explore default "${axes[@]}" "${few[@]}" -o sweep --engine none --json
[ "$(json found)" = 12 ] || fail "engine none: $(json found) found"
error "empty: no results; nothing was computed" explore default "${axes[@]}" "${few[@]}" -o empty --engine none

# A batch system's index picks a task; all tasks together make the sweep.
ok explore default --weights 2 --geometry 4x8x8x2,8x8x8x2 "${few[@]}" -o tasks --json
sweep=$(ls tasks/sweeps/*.json)
rm -r tasks/points
SLURM_ARRAY_TASK_ID=0 "$heddle" point --sweep "$sweep" --json >stdout 2>stderr || fail "SLURM_ARRAY_TASK_ID=0: $(cat stderr)"
[ "$(json made)" = 2 ] || fail "task 0 made $(json made) points"
LSB_JOBINDEX=7 "$heddle" point --sweep "$sweep" >stdout 2>stderr && fail "LSB_JOBINDEX=7 was taken"
[ "$(cat stderr)" = "heddle: point: LSB_JOBINDEX=7; the sweep has tasks 0..0" ] || fail "LSB_JOBINDEX=7: $(cat stderr)"

# A sample on the RTL takes the cycles that its points say.
if command -v verilator >/dev/null; then
    ok explore default --weights 2 --sparsity 0.5 --geometry 2x4x8x2 "${few[@]}" -o sweep --check 1 --json
    [ "$(json checked)" = 1 ] && [ "$(json different)" = 0 ] || fail "RTL: $(json checked) checked, $(json different) different"
fi

# Wrong input.
error "explore: --weights: found '9'; allowed are 1..8, ternary, and auto:B with B 0.5..8" explore default --weights 2,9
error "explore: --weights: an empty value; a value looks like 8" explore default --weights 2,
error "explore: --sparsity: found '50'; allowed is a number 0..0.99" explore default --sparsity 50
error "explore: geometry: lanes 3; allowed powers of two 4..64" explore default --geometry 4x8x3x2
error "explore: board 'nexys': unknown; there are $boards" explore default --board nexys
error "explore: --search: found 'luck'; allowed are grid, random, nsga2" explore default --search luck
error "explore: --points goes with --search random" explore default --points 3
error "explore: --population: found 7; allowed is an even number" explore default --search nsga2 --population 7
error "explore: --search nsga2 decides from results: it goes with --engine local and slurm" explore default --search nsga2 --engine print
error_starts "explore: --objectives: figure 'beauty': unknown; there are accuracy, time," explore default --objectives beauty
error "explore: --objectives: 'ops' is neither good nor bad" explore default --objectives accuracy,ops
error "explore: --objectives: one alone; a front needs two or more, as in accuracy,time" explore default --objectives accuracy
error "explore: unknown option '--colour'; heddle explore --help lists them" explore default --colour red
error "point: MODEL is missing; heddle point --help shows an example" point
error "point: --weights and --sweep do not go together; the sweep says it" point --weights 2 --sweep x.json
error "point: --task goes with --sweep" point default --task 1
echo '{"axes": {"colour": ["red"]}}' >axes.json
error "axes.json: axis 'colour': unknown; there are weights, sparsity, block, method, ends, geometry, board, memory" explore default --axes axes.json
error "--images and --labels go together" explore default --images $data/t10k-images-idx3-ubyte.gz -o none
"$heddle" compress default --calib $data/train-images-idx3-ubyte.gz --calib-count 8 -o c.hdm >/dev/null
error "$PWD/c.hdm: compressed already; explore and point take the float network (.onnx or .tflite) or the word default" point "$PWD/c.hdm" --calib $data/train-images-idx3-ubyte.gz --images $data/t10k-images-idx3-ubyte.gz --labels $data/t10k-labels-idx1-ubyte.gz --no-area --memory fit,extern=0 -o none
finish
