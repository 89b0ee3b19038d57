#!/bin/bash
# Searches for inputs that break heddle, target by target, for as long as asked; goes on where it stopped.
#   tests/fuzz/run.sh BUILD FOLDER MINUTES [TARGET...]
#   tests/fuzz/run.sh build-fuzz corpus 30                      until each target has had 30 minutes of processor time without a fault
#   tests/fuzz/run.sh build-fuzz corpus 60 hdp onnx             these two for an hour each
#   tests/fuzz/run.sh build-fuzz corpus report                  what each has had so far
#   tests/fuzz/run.sh build-fuzz corpus pack tests/fuzz/corpus  the smallest set of inputs with the same coverage, to be committed
# BUILD: cmake -S . -B BUILD -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DHD_FUZZ=ON && cmake --build BUILD --target fuzz_programs
# FOLDER keeps inputs/TARGET, log.tsv (a row a slice) and faults/TARGET-*. A target with a file in faults waits until the file is gone: mend, replay, remove. Its minutes
# count from its last fault on. Several run.sh may share a FOLDER.
set -u
usage="usage: run.sh BUILD FOLDER MINUTES|report|pack [TARGET...|CORPUS]"
[ $# -ge 3 ] || { echo "$usage"; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
build=$1 folder=$2 what=$3
shift 3
[ -d "$build/fuzz" ] || { echo "run.sh: $build/fuzz: not there; build with -DHD_FUZZ=ON (docs/testing.md, Fuzzing)"; exit 1; }
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
searching=
slice=${FUZZ_SLICE:-120} # seconds of a slice, by the clock
mkdir -p "$folder/inputs" "$folder/faults" "$folder/running"
log=$folder/log.tsv
touch "$log"

# Longest input of a target. Formats whose least useful file is larger have more.
longest() {
  case $1 in
  gguf) echo 36864 ;;
  safetensors | llama2c | tokenizer | tflite | hdm | hdp | parts) echo 10240 ;;
  policy | link | usb) echo 1024 ;;
  *) echo 4096 ;;
  esac
}

# Seconds of processor time since the last fault.
clean() { awk -F'\t' -v t="$1" '$3 == t { s = $8 == "fault" ? 0 : s + $4 } END { printf "%d", s }' "$log"; }

# Seconds of processor time that this shell's children have had, into `spent`; a subshell would not know.
children() {
  times > "$folder/running/$1.times"
  spent=$(awk 'NR == 2 { gsub(/[ms]/, " "); printf "%.0f", $1 * 60 + $2 + $3 * 60 + $4 }' "$folder/running/$1.times")
}

waiting() { compgen -G "$folder/faults/$1-*" > /dev/null; }

all() { for f in "$build"/fuzz/fuzz_*; do basename "$f" | sed s/^fuzz_//; done; }

start() { # committed inputs and fresh seeds
  local t=$1
  [ -d "$folder/inputs/$t" ] && return
  mkdir -p "$folder/inputs/$t"
  [ -f "$here/corpus/$t.pack.gz" ] && "$build/tests/fuzz_$t" --unpack "$here/corpus/$t.pack.gz" "$folder/inputs/$t"
  if [ ! -d "$folder/seeds" ]; then
    "$build/tests/fuzz_seeds" "$folder/seeds.$$" > "$folder/running/seeds.log" 2>&1 || { echo "run.sh: fuzz_seeds failed; see $folder/running/seeds.log"; rm -rf "$folder/inputs/$t"; return 1; }
    mv -T "$folder/seeds.$$" "$folder/seeds" 2> /dev/null || rm -rf "$folder/seeds.$$" # another run.sh was first
  fi
  [ -d "$folder/seeds/$t" ] && cp -r "$folder/seeds/$t/." "$folder/inputs/$t"
  return 0
}

# What counts as a fault besides crashes: an allocation of 512 MB, 1.5 GB in all, anything a sanitizer reports, two minutes by the clock (libFuzzer has no
# limit on processor time, and a search at the lowest priority waits long on a busy machine).
limits="-malloc_limit_mb=512 -rss_limit_mb=1536 -timeout=120 -report_slow_units=60"

run_slice() {
  local t=$1 dictionary=$here/${1%_host}.dict out=$folder/running/$1.log before spent result=clean executions coverage
  [ "$t" = cut ] && dictionary=$here/onnx.dict
  [ -f "$dictionary" ] && dictionary=-dict=$dictionary || dictionary=
  local rows
  rows=$(awk -F'\t' -v t="$t" '$3 == t { n++ } END { print n + 0 }' "$log")
  children "$t"
  before=$spent
  # shellcheck disable=SC2086
  nice -n 19 "$build/fuzz/fuzz_$t" "$folder/inputs/$t" $dictionary $limits -max_len="$(longest "$t")" -use_value_profile=$((rows % 2)) -max_total_time="$slice" \
    -print_final_stats=1 -artifact_prefix="$folder/faults/$t-" > "$out" 2>&1 &
  searching=$!
  wait $searching
  searching=
  children "$t"
  if grep -q '^SUMMARY\|^==.*ERROR' "$out" || ! grep -q '^stat::number_of_executed_units' "$out"; then
    result=fault
    cp "$out" "$folder/faults/$t-$(date -u +%H%M%S).log"
  fi
  # A unit that is only slow is no fault: it stays in the log.
  for f in "$folder/faults/$t"-slow-unit-*; do [ -f "$f" ] && mv "$f" "$folder/running/"; done
  executions=$(awk '/^stat::number_of_executed_units/ { print $2 }' "$out")
  coverage=$(grep -o 'cov: [0-9]*' "$out" | tail -1 | tr -dc 0-9)
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date -u +%FT%TZ)" "$(git -C "$here" rev-parse --short HEAD)" "$t" $((spent - before)) "${executions:-0}" "${coverage:-0}" \
    "$(ls "$folder/inputs/$t" | wc -l)" "$result" >> "$log"
  [ $result = clean ] || echo "run.sh: $t: fault; see $folder/faults"
}

report() {
  printf '%-14s %8s %8s %12s %9s %8s %7s\n' target clean all executions coverage inputs faults
  for t in $(all); do
    awk -F'\t' -v t="$t" '$3 == t { all += $4; s = $8 == "fault" ? 0 : s + $4; f += $8 == "fault"; x += $5; if ($6 > c) c = $6; n = $7 }
      END { printf "%-14s %8.1f %8.1f %12d %9d %8d %7d\n", t, s / 60, all / 60, x, c, n, f }' "$log"
  done
  echo "clean: minutes of processor time since the last fault"
}

pack() {
  local to=$1 t small
  mkdir -p "$to"
  for t in $(all); do
    start "$t" || exit 1
    small=$folder/running/small-$t
    rm -rf "$small"
    mkdir -p "$small"
    # shellcheck disable=SC2086
    "$build/fuzz/fuzz_$t" -merge=1 -use_counters=0 $limits -max_len="$(longest "$t")" "$small" "$folder/inputs/$t" > "$folder/running/merge-$t.log" 2>&1 || echo "run.sh: $t: merge failed; see $folder/running/merge-$t.log"
    "$build/tests/fuzz_$t" --pack "$small" "$to/$t.pack"
    gzip -9nf "$to/$t.pack"
    echo "$t: $(ls "$small" | wc -l) inputs, $(stat -c %s "$to/$t.pack.gz") bytes"
    rm -rf "$small"
  done
}

case $what in
report) report ;;
pack) pack "${1:-$here/corpus}" ;;
*[!0-9]* | '') echo "$usage"; exit 1 ;;
*)
  [ $# -gt 0 ] || set -- $(all)
  while :; do
    best= least=$((what * 60))
    for t in "$@"; do
      [ -x "$build/fuzz/fuzz_$t" ] || { echo "run.sh: $t: no such target"; exit 1; }
      waiting "$t" && continue
      [ -d "$folder/running/$t.lock" ] && continue
      n=$(clean "$t")
      [ "$n" -lt "$least" ] && best=$t least=$n
    done
    [ -n "$best" ] || break
    mkdir "$folder/running/$best.lock" 2> /dev/null || continue
    trap 'kill $searching 2> /dev/null; wait; rmdir "$folder/running/$best.lock"; exit 130' INT TERM
    start "$best" || { rmdir "$folder/running/$best.lock"; exit 1; }
    run_slice "$best"
    rmdir "$folder/running/$best.lock"
  done
  report
  ;;
esac
