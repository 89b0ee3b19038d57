# killed_commands.sh HEDDLE JSON_GET [MOMENTS [synth]]: train, compress, tune and compile killed by SIGKILL at MOMENTS random moments each (5); every other time
# an older file is in the place of the result. What is there afterwards is the older file or nothing, or the whole new one; beside it lies nothing half-written, and the next
# start without cleaning up ends with the bytes of the run that nobody disturbed. With `synth` the same for a bitstream of the smallest array, whose tools must end too.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
moments=${3-5} seed=${HEDDLE_SEED:-20261123}
RANDOM=$seed
export OMP_NUM_THREADS=2 HEDDLE_CACHE=$PWD/cache
mkdir cache

# now_ms; a random share of $1 milliseconds in seconds, half of the times in its last tenth, where files are written.
now_ms() { echo $(($(date +%s%N) / 1000000)); }
moment() { awk -v length_ms="$1" -v a=$RANDOM -v late=$((RANDOM % 2)) 'BEGIN { x = a / 32768; if (late) x = 0.9 + 0.12 * x; printf "%.3f", x * length_ms / 1000 }'; }

# killed NAME FILE MOMENTS ARGUMENTS: `heddle ARGUMENTS -o FILE`.
killed() {
    local name=$1 file=$2 wanted=$3 start length kills=0 tries=0 when=- pid found
    shift 3
    start=$(now_ms)
    ok "$@" -o "$file"
    length=$(($(now_ms) - start))
    mv "$file" whole
    rm -rf folder; mkdir folder
    while [ $kills -lt "$wanted" ] && [ $tries -lt $((12 * wanted)) ]; do
        tries=$((tries + 1))
        if [ $((tries % 2)) -eq 0 ]; then echo older >"folder/$file"; else rm -f "folder/$file"; fi
        when=$(moment $length)
        "$heddle" "$@" -o "folder/$file" >stdout 2>stderr </dev/null &
        pid=$!
        sleep "$when"
        # One that was done already, because the first run was a slow one, says that the others take less.
        if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); else length=$((length * 9 / 10)); fi
        wait $pid 2>/dev/null
        found="$name, seed $seed, killed after $when s of $length ms"
        if [ -e "folder/$file" ] && ! cmp -s whole "folder/$file"; then
            [ $((tries % 2)) -eq 0 ] && [ "$(cat "folder/$file")" = older ] || fail "$found: $file is neither what it was nor whole"
        elif [ ! -e "folder/$file" ] && [ $((tries % 2)) -eq 0 ]; then
            fail "$found: the older $file is gone"
        fi
        # Between getting a temporary name and its own the file is whole.
        for left in $(ls -A folder | grep -v -x "$file"); do
            [[ $left == "$file".*.tmp ]] && cmp -s whole "folder/$left" && named=$((named + 1)) || fail "$found: $left was left behind"
            rm "folder/$left"
        done
    done
    [ $kills -eq "$wanted" ] || fail "$name: only $kills kills"
    # Over an older file, and beside what a kill between two names leaves.
    echo older | tee "folder/$file" >"folder/$file.1-0.tmp"
    ok "$@" -o "folder/$file"
    [ "$(ls -A folder)" = "$file" ] || fail "$name: what a killed process left is still there: $(ls -A folder)"
    cmp -s whole "folder/$file" || fail "$name, seed $seed: the last start's $file differs from the undisturbed run's"
    echo "$name: killed at $kills moments of $length ms"
}

named=0
killed train net.onnx "$moments" train --epochs 1 --limit 600 --width 0.25
killed compress net.hdm "$moments" compress default --calib $data/train-images-idx3-ubyte.gz --calib-count 8 --weights 4
mv whole net.hdm
killed tune tuned.hdm "$moments" tune default --epochs 1 --limit 48 --weights 2 --sparsity 0.5
killed compile net.hdp "$moments" compile net.hdm --geometry 4x8x8x2
echo "$named whole files under temporary names"
[ $named -le "$moments" ] || fail "$named files were left under temporary names"
[ "${4-}" = synth ] || finish

for tool in yosys nextpnr-ice40 icepack; do command -v $tool >/dev/null || skip "$tool is not installed"; done
synth=(synth --board hx8k --seed 1 --geometry 1x1x8x2
    --memory act=128,window=32,stream=256,param=64,descriptors=8,tables=0,acc=18,fetch=1,residual=0,pump=1,pool=0,slot=1,sums=0,perf=0,hop=1,post=16)
start=$(now_ms)
ok "${synth[@]}" -o whole.bin
length=$(($(now_ms) - start))
rm -r cache; mkdir cache
# Tools that work in this test's cache.
tools() { grep -l -a -s -E '^(yosys|nextpnr-ice40|icepack)' /proc/[0-9]*/cmdline | while read -r f; do readlink "${f%/cmdline}/cwd"; done | grep -c "^$PWD/cache"; }
most=0
for kill in $(seq 4); do
    "$heddle" "${synth[@]}" -o net.bin >stdout 2>stderr </dev/null &
    pid=$!
    sleep "$(awk -v length_ms=$length -v a=$RANDOM 'BEGIN { printf "%.3f", (0.05 + 0.85 * a / 32768) * length_ms / 1000 }')"
    found=$(tools)
    [ "$found" -gt $most ] && most=$found
    kill -9 $pid 2>/dev/null || fail "synth was done before kill $kill"
    wait $pid 2>/dev/null
    for wait in $(seq 100); do [ "$(tools)" -eq 0 ] && break; sleep 0.05; done
    [ "$(tools)" -eq 0 ] || fail "synth, seed $seed, kill $kill: its tools live on"
    absent net.bin
    [ "$(ls cache | grep -c build)" -le 1 ] || fail "synth, seed $seed, kill $kill: more than the last folder was left behind: $(ls cache)"
done
[ $most -gt 0 ] || fail "no tool was ever seen at work"
ok "${synth[@]}" -o net.bin
cmp -s whole.bin net.bin || fail "the last start's bitstream differs from the undisturbed run's"
[ -z "$(ls cache | grep build)" ] || fail "left behind in the cache: $(ls cache)"
echo "synth: killed 4 times in $length ms each"
finish
