#!/bin/bash
# mutants.sh check SOURCE_DIR BUILD_DIR: each mutant of the lists beside this script still applies, and its tests exist.
# mutants.sh run SOURCE_DIR BUILD_DIR [PATTERN]: breaks one line after the other in a copy of the sources and runs the tests that must see it.
#
# A mutant is four lines:
#   FILE: what a reader would have overlooked
#   - TEXT       a piece of one line of FILE, there exactly once
#   + TEXT       what stands there instead
#   = TEST...    tests of ctest, the cheapest first; one of them must fail
# PATTERN: an extended regular expression; only mutants whose first line matches are run.
#
# The copy and its build lie in BUILD_DIR/mutants and are made anew; with ccache that takes a minute, without it as long as the first build. Before the mutants each
# test runs once on the whole sources: it must pass, else its mutants are not run, and its time sets the limit for the mutants. What is printed is a table in Markdown.
# Exit code: 0 all are caught, 1 one survives, does not build, or no longer applies. Mutants whose tests are skipped are said so and do not count.
set -u
mode=$1 src=$(realpath "$2") build=$(realpath "$3") pattern=${4-.}
here=$(dirname "$(realpath "$0")")

# Entries as four lines each, without the signs before them.
entries() {
    cat "$here"/*.mutants | awk '
        /^#/ || /^$/ { next }
        /^- / { before = substr($0, 3); next }
        /^\+ / { after = substr($0, 3); next }
        /^= / { print head; print before; print after; print substr($0, 3); next }
        { head = $0 }'
}

check() {
    # The names of tests are those that cmake gave this build.
    { ctest --test-dir "$build" -N | sed -n 's/^ *Test *#[0-9]*: /T /p'; entries; } | awk -v src="$src" '
        function wrong(text) { print "FAILED: " head ": " text; bad = 1 }
        /^T [a-z0-9_]+\.[^ ]+$/ && !n { test[$2] = 1; next }
        { field[n % 4] = $0; n++ }
        n % 4 == 0 && n {
            head = field[0]; file = head; sub(/: .*/, "", file); found = 0
            while ((got = (getline line < (src "/" file))) > 0)
                for (at = 1; (k = index(substr(line, at), field[1])); at += k) found++
            close(src "/" file)
            if (got < 0) wrong("no such file")
            else if (found != 1) wrong("the text is there " found " times, not once: " field[1])
            if (field[1] == field[2]) wrong("changes nothing")
            if (seen[file, field[1], field[2]]++) wrong("is there twice")
            names = split(field[3], name, " ")
            for (i = 1; i <= names; i++) if (!test[name[i]]) wrong("no test " name[i])
        }
        END { if (n % 4) { print "FAILED: " n " lines, not four a mutant"; bad = 1 }
              print int(n / 4) " mutants"; exit bad || !n }'
}

if [ "$mode" = check ]; then check; exit; fi
check || exit 1

scratch=$build/mutants tree=$build/mutants/tree made=$build/mutants/build
rm -rf "$scratch"
mkdir -p "$tree" "$scratch/log"
(cd "$src" && cp -r CMakeLists.txt boards compiler docs drivers hw sim sw tests "$tree/") || exit 1
launcher=()
if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    export CCACHE_BASEDIR=${CCACHE_BASEDIR-$scratch} CCACHE_NOHASHDIR=1
fi
cmake -S "$tree" -B "$made" -G Ninja "${launcher[@]}" >"$scratch/log/cmake" 2>&1 || { cat "$scratch/log/cmake"; exit 1; }
# A test that ctest ends on a busy machine would count as one that saw something: the limits are those below.
find "$made" -name CTestTestfile.cmake -exec sed -i 's/ TIMEOUT "[0-9]*"/ TIMEOUT "86400"/' {} +
find "$made" -name CTestTestfile.cmake -exec cat {} + | grep '^add_test(' >"$scratch/tests"

# Simulators are built for one short run each: compiling them with -O3 would take most of the time.
mkdir "$scratch/bin"
printf '#!/bin/bash\nexec %s %s "${@/#-O3/-O0}"\n' "${launcher[*]:+ccache}" "$(command -v g++)" >"$scratch/bin/g++"
chmod +x "$scratch/bin/g++"

# What a test runs, as ninja names it: the files of the build on its command line.
targets() {
    awk -v test="$1" -v made="$made/" '{
        name = $1; gsub(/^add_test\(|^\[=*\[|\]=*\]$/, "", name); gsub(/^\[=*\[/, "", name)
        if (name != test) next
        for (n = split($0, part, "\""); n > 1; n--) if (index(part[n], made) == 1) print substr(part[n], length(made) + 1) }' "$scratch/tests"
}

seconds() { awk -v a="$1" -v b="$(date +%s%N)" 'BEGIN { printf "%.1f", (b - a) / 1e9 }'; }

# try LOG LIMIT TEST: passed, failed, skipped, timeout or nobuild
try() {
    local log=$1 limit=$2 name=$3 code
    # shellcheck disable=SC2046
    ninja -j "$(nproc)" -C "$made" $(targets "$name") >"$log" 2>&1 || { echo nobuild; return; }
    # A loop without end may also take memory without end.
    (ulimit -v 16000000; PATH=$scratch/bin:$PATH timeout -k 5 "$limit" ctest --test-dir "$made" --output-on-failure -R "^$(sed 's/[.+]/\\&/g' <<<"$name")\$") >"$log" 2>&1
    code=$?
    if [ $code -ge 124 ]; then echo timeout
    elif grep -qE "failed on geometry|%Error|syntax error|Unknown module" "$log"; then echo nobuild
    elif [ $code -ne 0 ]; then echo failed
    elif grep -q "\*\*\*Skipped" "$log"; then echo skipped
    else echo passed; fi
}

declare -A limit skipped broken
survivors=0 caught=0 left_out=0
echo "| file | breakage | caught by | s |"
echo "|---|---|---|---|"
while read -r head && read -r before && read -r after && read -r tests <&0; do
    [[ $head =~ $pattern ]] || continue
    file=${head%%: *} what=${head#*: }
    for name in $tests; do
        [ -n "${limit[$name]-}${skipped[$name]-}${broken[$name]-}" ] && continue
        start=$(date +%s%N)
        case $(try "$scratch/log/whole.$name" 3600 "$name" </dev/null) in
        passed) limit[$name]=$(seconds "$start" | awk '{ print int(5 * $1) + 60 }') ;;
        skipped) skipped[$name]=1 ;;
        *) broken[$name]=1; echo "FAILED: $name does not pass on the whole sources"; tail -20 "$scratch/log/whole.$name" ;;
        esac >&2
    done
    BEFORE=$before AFTER=$after awk '{ k = index($0, ENVIRON["BEFORE"]); print k ? substr($0, 1, k - 1) ENVIRON["AFTER"] substr($0, k + length(ENVIRON["BEFORE"])) : $0 }' "$src/$file" >"$tree/$file"
    start=$(date +%s%N) verdict=skipped by=
    for name in $tests; do
        [ -n "${skipped[$name]-}" ] && continue
        [ -n "${broken[$name]-}" ] && { verdict=broken; break; }
        found=$(try "$scratch/log/mutant" "${limit[$name]}" "$name" </dev/null)
        case $found in
        failed | timeout) verdict=caught by=$name; [ $found = timeout ] && by="$name (does not end)"; break ;;
        nobuild) verdict=nobuild; break ;;
        *) verdict=survived ;;
        esac
    done
    case $verdict in
    caught) caught=$((caught + 1)) ;;
    skipped) left_out=$((left_out + 1)); by="**skipped: $tests**" ;;
    survived) survivors=$((survivors + 1)); by="**survives $tests**" ;;
    broken) survivors=$((survivors + 1)); by="**not run: $name fails without it**" ;;
    nobuild) survivors=$((survivors + 1)); by="**does not build**"; tail -5 "$scratch/log/mutant" >&2 ;;
    esac
    echo "| $file | $what | $by | $(seconds "$start") |"
    # With a new time, so that ninja makes what is whole again.
    cat "$src/$file" >"$tree/$file"
done < <(entries)
echo "$caught caught, $survivors not, $left_out skipped"
[ $survivors -eq 0 ]
