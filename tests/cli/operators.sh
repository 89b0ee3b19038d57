# heddle operators, and the list of them in docs/onnx.md, which comes from the same table.
. "$(dirname "$0")/common.sh"

ok operators --json
n=$(json operators.#)
[ "$n" -ge 165 ] || fail "operators: found $n"
for ((i = 0; i < n; i++)); do json operators.$i.name; done >names
sed -n '/<!-- operators -->/,/<!-- end -->/p' "$(dirname "$0")/../../docs/onnx.md" | sed '1d;$d' | tr -d ',' | tr ' ' '\n' | grep . >listed
cmp -s names listed || fail "docs/onnx.md lists others: $(diff names listed | head -5)"
grep -q "^$n operators" "$(dirname "$0")/../../docs/onnx.md" || fail "docs/onnx.md has another number than $n"
# The other pages that give the number, and that of ONNX's tests which test_onnx_host insists on.
docs=$(dirname "$0")/../../docs
nodes=$(sed -n 's/.*NODE_TESTS = \([0-9]*\).*/\1/p' "$docs/../tests/onnx/test_onnx_host.c")
grep -q "an executor of $n operators .* passes all $nodes node tests" "$docs/../README.md" || fail "README.md has other numbers than $n operators, $nodes node tests"
grep -q "^| $n operators; $nodes node tests of " "$docs/numbers.md" || fail "docs/numbers.md has other numbers than $n operators, $nodes node tests"
grep -q "^| conformance: $nodes of $nodes, " "$docs/numbers.md" || fail "docs/numbers.md, onnx.md's conformance: another number than $nodes"
grep -q "^| node | [0-9]* | $nodes | $nodes |$" "$docs/onnx.md" || fail "docs/onnx.md, Conformance: another number than $nodes"
ok operators
grep -q "^Softmax  *1 to" stdout || fail "Softmax: found $(grep Softmax stdout)"
error "operators: unknown option '--from'; heddle operators --help lists them" operators --from 7
finish
