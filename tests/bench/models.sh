# models.sh HEDDLE JSON_GET: `heddle bench models` against the least that is wanted. Accuracies are of integers, so the same on every machine; cycles are simulated.
. "$(dirname "$0")/common.sh"

command -v verilator >/dev/null || skip "verilator is not installed"
models=${HEDDLE_MODELS-}
[ -r "$models/resnet8-float.tflite" ] || skip "resnet8-float.tflite not found in '$models' (set HEDDLE_MODELS)"
bench models
within onnx.node_tests_passed 800 932
within resnet8.w8_accuracy 0.84 1
within resnet8.w4_accuracy 0.84 1
within dscnn.int8_accuracy 0.899 0.905
within dscnn.w4_accuracy 0.886 1
within resnet8.w4.icebreaker.ms 1 15
within resnet8.w4.icebreaker.rtl_samples 20 20
within resnet8.w8.ulx3s.rtl_samples 20 20
within dscnn.w4.ulx3s.rtl_samples 20 20
within dscnn.w4_narrow_accuracy 0.886 1
within dscnn.w4_narrow.icebreaker.ms 1 7
within dscnn.w4_narrow.icebreaker.rtl_samples 20 20
finish
