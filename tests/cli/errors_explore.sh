# Golden errors of explorations: sweeps and kept results that were changed, paths, engines and tools that fail or are not there. Exact standard error, exit code 1.
. "$(dirname "$0")/common.sh"
export HEDDLE_CACHE=$work/cache
unset HEDDLE_MODELS

# Two images, one all of 3 and one of every value in turn.
{ printf '\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c'; head -c 784 /dev/zero | tr '\0' '\3'; for i in {0..783}; do printf "\\$(printf %03o $((i & 255)))"; done; } >two.idx
printf '\0\0\x08\x01\0\0\0\x02\x01\x02' >labels.idx
data=(--calib two.idx --images two.idx --labels labels.idx --method rtn)
point=(point default "${data[@]}" --weights 4)
explore=(explore default "${data[@]}" --weights 4 --geometry 4x8x8x2 --no-area)

# Sweeps and results that are no longer what explore wrote.
ok "${explore[@]}" -o s
sweep=$(ls s/sweeps/*.json)
for row in '3|no sweep that heddle explore wrote: no list '\''points'\' '[["4", 3]]|a point that is no list of 8 texts' \
    '[["4", "0", "8x8", "rtn", "8", "4x8x8x2", "ulx3s", "fit", "9"]]|a point that is no list of 8 texts'; do
    sed "s/\"points\":.*/\"points\": ${row%%|*}/" "$sweep" >s/sweeps/bent.json
    error "s/sweeps/bent.json: ${row#*|}" point --sweep s/sweeps/bent.json
done
rm s/sweeps/bent.json
error "point: --sweep /etc/passwd: lies in no folder sweeps of an exploration" point --sweep /etc/passwd
kept=$(ls s/models/*.json)
echo '{}' >"$kept"
error "$kept: no number 'accuracy'; remove the file to have it made again" "${point[@]}" --geometry 2x8x8x2 --no-area -o s
rm "$kept"
ok "${point[@]}" --geometry 2x8x8x2 --no-area -o s

# Paths and values that are too long, or no folders.
long=$(printf '4%.0s' {1..300})
error "--geometry: '${long:0:40}...' has 300 characters; allowed are 183" "${point[@]}" --geometry "$long" -o s
mkdir f && touch f/points
error "f/points: is no folder" "${point[@]}" -o f
deep=$work
for i in {1..6}; do deep=$deep/$(printf 'd%.0s' {1..90}); done
mkdir -p "$deep" && cp two.idx "$deep"
deep=$(realpath "$deep/two.idx")
error "${deep:0:100}...: a path of ${#deep} characters; allowed are 511" point default --calib "$deep" --images two.idx --labels labels.idx -o s
ok compress default --calib two.idx --weights 4 -o net.hdm
ok compile net.hdm --geometry 4x8x8x2 -o net.hdp
HEDDLE_CACHE=$(printf 'x%.0s' {1..1100}) error "a path of the cache is longer than 1023 bytes; set HEDDLE_CACHE to a shorter one" run net.hdp --input two.idx --device sim
error "resnet8-float.tflite: set HEDDLE_MODELS to the folder that holds it" bench models
HEDDLE_MODELS=$work/none error "$work/none/resnet8-float.tflite: not found; set HEDDLE_MODELS to the folder that holds it" bench models

# SLURM, played by scripts: not there, refusing, and forgetting its job.
mkdir bin
for tool in bash cat cmp cp head mkdir timeout; do ln -s "$(command -v $tool)" bin/; done
tool() { printf '#!/bin/bash\n%s\n' "$2" >"bin/$1"; chmod +x "bin/$1"; }
slurm() { PATH=$work/bin error "$1" explore default "${data[@]}" --weights 4 --geometry 8x8x8x2 --no-area --engine slurm -o "${2:-s}"; }
slurm "slurm: sbatch is not installed (Debian package 'slurm-client')"
tool sbatch 'echo "sbatch: error: invalid partition specified: fast"; exit 1'
slurm "slurm: sbatch failed: sbatch: error: invalid partition specified: fast"
mkdir "it's"
quoted=$(realpath "it's")
slurm "slurm: $quoted/sweeps/$(cd s/sweeps && ls -t | head -n 1): a path with a quotation mark, which sbatch would not take; name another folder (-o)" "it's"
tool sbatch 'echo 77'
tool squeue 'echo "slurm_load_jobs error: Invalid job id specified"; exit 1'
slurm "slurm job 77, task 0: left the queue without its points and said nothing; the same command goes on"
printf 'working\nheddle: no memory for that\n' >s/log/77-0.txt
slurm "slurm job 77, task 0: no memory for that"

# Yosys for a point's area, played by a script.
area() { PATH=$work/bin error "$1" "${point[@]}" --geometry 4x8x8x2 -o s; }
tool yosys 'echo "ERROR: Module top is odd"; exit 1'
area "area: yosys failed: ERROR: Module top is odd"
tool yosys 'exit 3'
area "area: yosys failed: no ERROR line in its log"
tool yosys 'exit 124'
area "area: yosys took longer than 1800 s"
finish
