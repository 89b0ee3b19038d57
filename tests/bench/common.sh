# common.sh: what the tests of figures share. Sourced by them with HEDDLE and JSON_GET as arguments.
. "$(dirname "$0")/../cli/common.sh"

# bench SUITE: runs it; `value` and `reference` have its figures by name
bench() {
    local i count name
    ok bench "$1" --json
    count=$(json figures.#)
    declare -gA value reference
    for ((i = 0; i < count; i++)); do
        name=$(json "figures.$i.name")
        value[$name]=$(json "figures.$i.value")
        reference[$name]=$(json "figures.$i.reference")
    done
}

# within NAME LOW HIGH
within() {
    local v=${value[$1]:-missing}
    [ "$v" != missing ] && awk -v v="$v" -v lo="$2" -v hi="$3" 'BEGIN { exit !(v >= lo && v <= hi) }' || fail "$1: found $v, wanted $2..$3"
}
