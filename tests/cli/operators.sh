# heddle operators, and the list of them in docs/onnx.md, which comes from the same table.
. "$(dirname "$0")/common.sh"

ok operators --json
n=$(json operators.#)
[ "$n" -ge 165 ] || fail "operators: found $n"
for ((i = 0; i < n; i++)); do json operators.$i.name; done >names
sed -n '/<!-- operators -->/,/<!-- end -->/p' "$(dirname "$0")/../../docs/onnx.md" | sed '1d;$d' | tr -d ',' | tr ' ' '\n' | grep . >listed
cmp -s names listed || fail "docs/onnx.md lists others: $(diff names listed | head -5)"
grep -q "^$n operators" "$(dirname "$0")/../../docs/onnx.md" || fail "docs/onnx.md has another number than $n"
ok operators
grep -q "^Softmax  *1 to" stdout || fail "Softmax: found $(grep Softmax stdout)"
error "operators: unknown option '--from'; heddle operators --help lists them" operators --from 7
finish
