# Ctrl-C: exit code 130, one line, and no file half-written.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"

# stop SIGNAL CODE SECONDS ARGUMENTS: starts heddle, sends the signal, compares the exit code.
stop() {
    local signal=$1 want=$2 after=$3
    shift 3
    # A background job of a script ignores SIGINT; env restores it, as a terminal would have it.
    env --default-signal=INT "$heddle" "$@" >stdout 2>stderr </dev/null &
    local pid=$!
    sleep "$after"
    kill -"$signal" $pid 2>/dev/null || fail "heddle $*: was done before the signal"
    wait $pid
    local code=$?
    [ $code -eq "$want" ] || fail "heddle $*: exit code $code, wanted $want"
    [ "$(cat stderr)" = "heddle: stopped" ] || fail "heddle $*: found '$(cat stderr)', wanted 'heddle: stopped'"
}

stop INT 130 1 train --epochs 100 -o net.onnx
absent net.onnx
stop TERM 143 1 train --epochs 100 -o net.onnx --json
[ -s stdout ] && fail "stopped --json printed something"
# Long work of other kinds looks at the signal too.
stop INT 130 1 demo -o demo.html
stop INT 130 1 compress default --calib $data/t10k-images-idx3-ubyte.gz --budget-bytes 12000 --policy-out p.json -o net.hdm
stop INT 130 0.5 bench demo
only ""
finish
