# Every command explains itself: usage, each option, examples that start with its name and have no option that it does not know; its man page says the same.
. "$(dirname "$0")/common.sh"

source=$(cd "$(dirname "$0")/../.." && pwd)
man=$(dirname "$heddle")/man/man1
ok help
commands=$(sed -n 's/^  \([a-z]*\) .*/\1/p' stdout | grep -v -x -e help -e version)
[ "$(echo $commands)" = "train compress tune eval generate compile run profile predict operators devices synth flash serve point explore demo bench" ] || fail "commands: found '$(echo $commands)'"
for c in $commands; do
    ok "$c" --help
    grep -q "^usage: heddle $c " stdout || fail "$c --help: no usage line"
    grep -q "^  --json " stdout || fail "$c --help: no --json"
    grep -q "^exit status:" stdout || fail "$c --help: no exit status"
    sed -n '/^examples:/,/^$/s/^  \(heddle .*\)/\1/p' stdout >examples
    grep -q "^heddle $c\( \|$\)" examples || fail "$c --help: no example"
    grep -v "^heddle $c\( \|$\)" examples && fail "$c --help: the example of another command"
    for option in $(sed 's/ | .*//' examples | grep -o -e ' --*[a-z-]*'); do
        grep -q "^  $option " stdout || fail "$c --help: its example has $option, which is no option"
    done
    for other in $(sed -n 's/^see also: //p' stdout | tr -d ,); do
        case $other in
            docs/*) [ -f "$source/$other" ] || fail "$c --help: sees also $other, which is not there" ;;
            *) grep -q -x "$other" <<<"$commands" || fail "$c --help: sees also '$other', which is no command" ;;
        esac
    done
    cp stdout first
    ok help "$c"
    cmp -s first stdout || fail "help $c differs from $c --help"
    # The man page: built, clean, and with every option and variable of --help.
    page=$man/heddle-$c.1
    [ -s "$page" ] || { fail "no $page"; continue; }
    sed 's/\\-/-/g; s/\\f[BRI]//g' "$page" >plain
    missing=$(comm -23 <(sed -n 's/^  \(-[^ ]*\) .*/\1/p; s/^  \(HEDDLE_[A-Z]*\) .*/\1/p' stdout | sort -u) <(cut -d' ' -f1 plain | sort -u))
    [ -z "$missing" ] || fail "$page: no $missing"
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS "EXIT STATUS" EXAMPLES "SEE ALSO"; do
        grep -q -x ".SH $section" plain || fail "$page: no section $section"
    done
    # Help wins over a mistake beside it, and needs no operand.
    ok "$c" --no-such-option --help
done
[ "$(ls "$man")" = "$(for c in heddle $(sed 's/^/heddle-/' <<<"$commands"); do echo "$c.1"; done | sort)" ] || fail "man pages: found '$(ls "$man")'"
for page in "$man"/*.1; do
    # No page has a date: it would be that of the build.
    if command -v groff >/dev/null; then [ -z "$(groff -man -ww -Tutf8 -z "$page" 2>&1)" ] || fail "groff: $(groff -man -ww -Tutf8 -z "$page" 2>&1 | head -n 3)"; fi
    if command -v mandoc >/dev/null; then [ -z "$(mandoc -Tlint -Wwarning "$page" | grep -v 'missing date')" ] || fail "mandoc: $(mandoc -Tlint -Wwarning "$page" | head -n 3)"; fi
done
error "no/heddle.1: No such file or directory" help --man no
ok version
contract=$(sed -n 's/^HD_CONST(CONTRACT_VERSION, *\([0-9]*\),.*/\1/p' "$(dirname "$0")/../../sw/contract/regs.def")
grep -q "^heddle [0-9]*\.[0-9]*\.[0-9]* (contract $contract, .hdm 2, .hdp 4)$" stdout || fail "version: found '$(cat stdout)'"
ok version --json
[ "$(json contract)" = "$contract" ] || fail "version --json: contract"
ok devices
ok devices --json
[ "$(json devices.0.name)" = ref ] || fail "devices: the first is no ref"
ok bench
[ "$(cut -d' ' -f1 stdout | tr '\n' ' ')" = "sim array decode area demo compress tune gather policy models usb explore " ] || fail "bench lists '$(cat stdout)'"
suites=$(cut -d' ' -f1 stdout)
ok bench --help
[ "$(tr '\n' ' ' <stdout | tr -s ' ' | sed -n 's/.*Suites: \([^.]*\)\..*/\1/p')" = "$(echo $suites | sed 's/ /, /g')" ] || fail "bench --help names other suites than bench"
# A full disk is an error, not silence.
if [ -w /dev/full ]; then
    "$heddle" help >/dev/full 2>stderr
    [ $? -eq 1 ] && [ "$(cat stderr)" = "heddle: standard output: No space left on device" ] || fail "full disk: found '$(cat stderr)'"
fi
finish
