# Every command explains itself: usage, each option, an example that starts with its name.
. "$(dirname "$0")/common.sh"

ok help
commands=$(sed -n 's/^  \([a-z]*\) .*/\1/p' stdout | grep -v -x -e help -e version)
[ "$(echo $commands)" = "train compress tune eval generate compile run profile predict operators devices synth flash serve point explore demo bench" ] || fail "commands: found '$(echo $commands)'"
for c in $commands; do
    ok "$c" --help
    grep -q "^usage: heddle $c " stdout || fail "$c --help: no usage line"
    grep -q "^  --json " stdout || fail "$c --help: no --json"
    grep -q "^example: heddle $c" stdout || fail "$c --help: no example"
    cp stdout first
    ok help "$c"
    cmp -s first stdout || fail "help $c differs from $c --help"
    # Help wins over a mistake beside it, and needs no operand.
    ok "$c" --no-such-option --help
done
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
# A full disk is an error, not silence.
if [ -w /dev/full ]; then
    "$heddle" help >/dev/full 2>stderr
    [ $? -eq 1 ] && [ "$(cat stderr)" = "heddle: standard output: No space left on device" ] || fail "full disk: found '$(cat stderr)'"
fi
finish
