#!/bin/bash
# prove.sh SOURCE_DIR PROOF.v [case]: proves the assertions of one harness, then shows that each of its mutants is refuted.
#
# The harness (module `proof`) says in `//@` lines what is to be done; several proofs of one harness are several `case` lines:
#   //@ files FILE...                  Verilog sources, relative to SOURCE_DIR
#   //@ case NAME ENGINE [P=V ...]     an engine below with these parameters of `proof`
#   //@ mutant CASE FILE SED           one line of FILE broken by this sed expression; CASE must then find a counterexample
#   //@ read OPTION...                 further options of read_verilog: -mem2reg, so that a proof can speak of a memory's words, -defer
#   //@ prepare COMMANDS               further commands of yosys before the model is written
#   //@ smtbmc OPTION...               options of yosys-smtbmc: --unroll where z3 does not end at expanding the transition
#   //@ clocks free                    clocks are inputs, and in each step of the search any of them may rise or fall; memories become registers
# Engines:
#   induct:K   yosys-smtbmc and z3: no counterexample in the first K cycles, and K good cycles are followed by a good one
#   bmc:K      only the first K cycles; the harness says what they hold
#   satinduct:K, sat:K   the same two by the SAT solver in yosys, K the most cycles of the induction: for long histories of many registers without arithmetic, where z3 does not end
#   abc:K      bmc:K by the incremental search of yosys-abc (bmc3) over and-inverter graphs: tens of times as fast as sat:K where what counts is the length of the history
# A mutant counts as refuted only by a trace from the initial state, never by a failed induction step.
# Exit code: 0 proven and all mutants refuted, 1 not, 77 a tool is missing.
set -u
src=$(realpath "$1") harness=$(realpath "$2") only=${3-}
name=$(basename "$harness" .v)
for tool in yosys yosys-abc yosys-smtbmc z3; do
    command -v $tool >/dev/null || { echo "SKIPPED: $tool is not installed"; exit 77; }
done
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
failed=0
# yosys-smtbmc does not wait for its solver, whose processor time would be lost: this z3 notes its own before it lets go of the lock.
real=$(command -v z3)
mkdir "$work/bin"
printf '#!/bin/bash\nexec 9>"%s/lock"; flock 9\n"%s" "$@" 9>&-\nawk "{print (\\$16 + \\$17) / 100}" /proc/$$/stat >>"%s/spent"\n' "$work" "$real" "$work" >"$work/bin/z3"
chmod +x "$work/bin/z3"
PATH="$work/bin:$PATH"

directive() { sed -n "s|^//@ $1 ||p" "$harness"; }
read -r -a files <<<"$(directive files | tr '\n' ' ')"
options=$(directive smtbmc) clocks=$(directive clocks) reading=$(directive read) prepare=$(directive prepare)

# elaborate TREE PARAMETERS...: $work/model.smt2 from the sources in TREE
elaborate() {
    local tree=$1 set="" p sources=() f
    shift
    for p in "$@"; do set+="chparam -set ${p%%=*} ${p##*=} proof; "; done
    for f in "${files[@]}"; do sources+=("$tree/$f"); done
    local common="read_verilog -formal -sv $reading -I$tree/hw/include -I$(dirname "$harness") ${sources[*]} $harness; $set setattr -mod -unset keep_hierarchy *" model="prep -flatten -top proof; async2sync"
    # Memories before the hierarchy goes, so that a harness can name their words.
    [ "$clocks" = free ] && model="hierarchy -top proof; proc; memory_collect; memory_map; prep -flatten -top proof; clk2fflogic"
    yosys -q -p "$common; $model; opt; $prepare dffunmap; opt_clean; write_rtlil $work/model.il; write_smt2 -wires $work/model.smt2" >"$work/log" 2>&1 ||
        { echo "FAILED $name: yosys"; grep -i error "$work/log" | head; return 1; }
}

# run ENGINE: prints proven, refuted or unknown
run() {
    local engine=${1%%:*} depth=${1##*:}
    # A mutant of an inductive proof may need more cycles to be seen than the induction.
    [[ $engine = *induct ]] && [ "${2-}" = base ] && depth=$((depth + (${#clocks} ? 20 : 6)))
    case $engine in
    bmc | induct)
        # shellcheck disable=SC2086
        timeout ${LIMIT:-400} yosys-smtbmc -s z3 $options -t "$depth" --noinfo "$work/model.smt2" >"$work/log" 2>&1
        if grep -q "Status: FAILED" "$work/log"; then echo refuted; return; fi
        grep -q "Status: PASSED" "$work/log" || { echo unknown; return; }
        [ "$engine" = bmc ] || [ "${2-}" = base ] && { echo proven; return; }
        # shellcheck disable=SC2086
        timeout ${LIMIT:-400} yosys-smtbmc -s z3 $options -i -t "$depth" --noinfo "$work/model.smt2" >"$work/log" 2>&1
        grep -q "Status: PASSED" "$work/log" && echo proven || echo unknown ;;
    sat | satinduct)
        # A sequence of K cycles is one problem, whose assumptions hold in all of them.
        local how="-tempinduct -maxsteps $depth"
        if [ "$engine" = sat ] || [ "${2-}" = base ]; then how="-seq $depth"; fi
        timeout 400 yosys -q -p "read_rtlil $work/model.il; memory_map; opt -full; clean -purge; tee -o $work/log sat $how -prove-asserts -set-assumes" >/dev/null 2>"$work/errors"
        if grep -qE "proof finished - model found.*: FAIL" "$work/log"; then echo refuted
        elif grep -qE "no model found: SUCCESS|Induction step proven: SUCCESS" "$work/log"; then echo proven
        else cat "$work/errors" >>"$work/log"; echo unknown; fi ;;
    abc)
        # Constraints are folded into the outputs: what follows a broken assumption is not seen. Registers without a first value begin with any.
        yosys -q -p "read_rtlil $work/model.il; memory_map; setundef -undriven -anyseq; setattr -unset keep; delete -output; opt -full; techmap; opt -fast; dffunmap; abc -g AND -fast; opt_clean
            write_aiger -I -B -zinit -no-startoffset $work/model.aig" >"$work/errors" 2>&1 &&
            timeout 400 yosys-abc -c "read_aiger $work/model.aig; fold; strash; bmc3 -F $depth" >"$work/log" 2>&1
        if grep -q "was asserted in frame" "$work/log"; then echo refuted
        elif grep -q "No output asserted in $depth frames" "$work/log"; then echo proven
        else cat "$work/errors" >>"$work/log"; echo unknown; fi ;;
    *) echo "unknown engine" ;;
    esac
}

# Processor seconds of this script's finished children, solvers included.
cpu() {
    local own
    own=$(awk '{print ($16 + $17) / 100}' /proc/$$/stat)
    flock "$work/lock" true
    { echo "$own"; cat "$work/spent" 2>/dev/null; } | awk '{ s += $1 } END { print s }'
}

# report KIND WANTED CASE ENGINE NOTE FOUND SINCE
report() {
    local seconds
    seconds=$(awk -v a="$7" -v b="$(cpu)" 'BEGIN { printf "%.1f", b - a }')
    if [ "$6" = "$2" ]; then echo "$name $3 $1: $6 ($4, ${seconds} s of processor time) $5"
    else echo "FAILED $name $3 $1: wanted $2, found $6 ($4, ${seconds} s) $5"; tail -5 "$work/log"; failed=1; fi
}

while read -r case engine params; do
    [ -n "$only" ] && [ "$case" != "$only" ] && continue
    since=$(cpu)
    # shellcheck disable=SC2086
    elaborate "$src" $params || { failed=1; continue; }
    report proof proven "$case" "$engine" "$params" "$(run "$engine")" "$since"
done < <(directive case)

while read -r case file expression; do
    [ -n "$only" ] && [ "$case" != "$only" ] && continue
    rm -rf "$work/mutant"; mkdir "$work/mutant"; cp -r "$src/hw" "$work/mutant/"
    sed -i -E "$expression" "$work/mutant/$file"
    changed=$(diff "$src/$file" "$work/mutant/$file" | grep -c '^>')
    if [ "$changed" != 1 ]; then echo "FAILED $name: mutant of $file changes $changed lines, not one: $expression"; failed=1; continue; fi
    read -r _ engine params < <(directive case | grep "^$case ")
    since=$(cpu)
    # shellcheck disable=SC2086
    elaborate "$work/mutant" $params || { failed=1; continue; }
    report mutant refuted "$case" "$engine" "$file: $expression" "$(run "$engine" base)" "$since"
done < <(directive mutant)
exit $failed
