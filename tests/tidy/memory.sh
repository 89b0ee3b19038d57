#!/bin/bash
# memory.sh HEDDLE: the command line's main ways under valgrind's memcheck, on 64 images: no error, nothing lost for good. Language models where HEDDLE_MODELS has one.
# Exit code 77 without valgrind or the data.
set -u
heddle=$(realpath "$1") data=/usr/share/datasets/fashion-mnist
command -v valgrind >/dev/null || { echo "SKIPPED: valgrind is not installed"; exit 77; }
[ -r $data/t10k-images-idx3-ubyte.gz ] || { echo "SKIPPED: no dataset-fashion-mnist"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
# valgrind runs one thread at a time.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 HEDDLE_CACHE=$work/cache
{ zcat $data/t10k-images-idx3-ubyte.gz | head -c 4; printf '\0\0\0\100'; zcat $data/t10k-images-idx3-ubyte.gz | head -c $((16 + 64 * 784)) | tail -c +9; } >images.idx
{ zcat $data/t10k-labels-idx1-ubyte.gz | head -c 4; printf '\0\0\0\100'; zcat $data/t10k-labels-idx1-ubyte.gz | head -c $((8 + 64)) | tail -c +9; } >labels.idx
failed=0
check() {
    if valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --suppressions=/dev/null "$heddle" "$@" >out 2>log </dev/null; then echo "heddle $1: clean"
    else echo "FAILED: heddle $*: exit code $?"; head -30 log; failed=1; fi
}
check train --epochs 1 --limit 64 --width 0.25 --images images.idx --labels labels.idx --test-images images.idx --test-labels labels.idx -o net.onnx
check compress net.onnx --calib images.idx --calib-count 8 --weights 2 --sparsity 0.5 --block 8x8 -o net.hdm
check compile net.hdm --geometry 4x8x8x2 -o net.hdp
check run net.hdp --device ref --input images.idx --count 2 -o out.bin
check eval net.hdm --images images.idx --labels labels.idx
check predict net.hdp
check profile net.hdp --device ref --perfetto trace.json
check tune net.onnx --epochs 1 --weights 4 --images images.idx --labels labels.idx -o tuned.hdm
model=${HEDDLE_MODELS-}/stories260K.bin
if [ -r "$model" ]; then check generate "$model" --tokenizer "${model%/*}/tok512.bin" --steps 8
else echo "without HEDDLE_MODELS: generate is left out"; fi
exit $failed
