# Shared by the scripts here: `. common.sh HEDDLE JSON_GET`. Each test works in a folder of its own that goes away with it.
set -u
shopt -s lastpipe # what fails behind a pipe counts, too
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
heddle=$1
json_get=$2
data=/usr/share/datasets/fashion-mnist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
# The names of boards/boards.def as messages list them: "icebreaker, hx8k, ...".
boards=$(sed -n 's/^HD_BOARD(\([^,]*\),.*/\1/p' "$tests/../boards/boards.def" | paste -s -d, | sed 's/,/, /g')

fail() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }

skip() { printf 'SKIPPED: %s\n' "$*"; exit 77; }

finish() {
    [ "$failures" -eq 0 ] && exit 0
    echo "$failures failures"
    exit 1
}

# ok ARGUMENTS: exit code 0, nothing on standard error; standard output goes to $work/stdout.
ok() {
    "$heddle" "$@" >stdout 2>stderr </dev/null
    local code=$?
    [ $code -eq 0 ] || { fail "heddle $*: exit code $code, wanted 0: $(cat stderr)"; return; }
    [ -s stderr ] && fail "heddle $*: on standard error: $(cat stderr)"
}

# error_starts MESSAGE ARGUMENTS: as error, for a message that goes on with a list that grows.
error_starts() {
    local message=$1
    shift
    "$heddle" "$@" >stdout 2>stderr </dev/null
    local code=$?
    [ $code -eq 1 ] || fail "heddle $*: exit code $code, wanted 1"
    [[ $(cat stderr) == "heddle: $message"* ]] || fail "heddle $*: found '$(cat stderr)', wanted 'heddle: $message...'"
}

# error MESSAGE ARGUMENTS: exit code 1, exactly "heddle: MESSAGE" on standard error, nothing on standard output.
error() {
    local message=$1
    shift
    "$heddle" "$@" >stdout 2>stderr </dev/null
    local code=$?
    [ $code -eq 1 ] || fail "heddle $*: exit code $code, wanted 1"
    [ -s stdout ] && fail "heddle $*: on standard output: $(head -c 200 stdout)"
    printf 'heddle: %s\n' "$message" | cmp -s - stderr || fail "heddle $*: found '$(cat stderr)', wanted 'heddle: $message'"
}

# json PATH: the value at PATH of the last command's standard output.
json() { "$json_get" "$1" <stdout || fail "no $1 in: $(head -c 200 stdout)"; }

absent() { for f; do [ -e "$f" ] && fail "$f was left behind"; done; }
# No temporary file of an atomic write may stay either.
only() { local found; found=$(ls -A | grep -v -x -e stdout -e stderr | sort | tr '\n' ' '); [ "$found" = "$1" ] || fail "files: found '$found', wanted '$1'"; }
