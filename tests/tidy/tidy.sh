#!/bin/bash
# tidy.sh cppcheck SOURCE_DIR: cppcheck over sw, compiler, drivers and sim; a finding that cppcheck.txt beside this does not waive is a failure.
# tidy.sh clang SOURCE_DIR BUILD_DIR: clang-tidy by the file .clang-tidy over sw, compiler and drivers. Exit code 77 without the tool.
set -u
mode=$1 src=$(realpath "$2") here=$(dirname "$(realpath "$0")")
cd "$src" || exit 1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
case $mode in
cppcheck)
    command -v cppcheck >/dev/null || { echo "SKIPPED: cppcheck is not installed"; exit 77; }
    sed '/^#/d' "$here/cppcheck.txt" >"$work/waived"
    common=(-q --error-exitcode=1 --enable=warning,performance,portability --suppressions-list="$work/waived" --template='{file}:{line} [{id}] {message}' -j "$(nproc)"
        --include="$here/macros.h")
    cppcheck "${common[@]}" --std=c11 --language=c sw compiler drivers || exit 1
    cppcheck "${common[@]}" --std=c++17 --language=c++ sim || exit 1
    echo "$(cppcheck --version): nothing found" ;;
clang)
    command -v clang-tidy >/dev/null || { echo "SKIPPED: clang-tidy is not installed"; exit 77; }
    # Headers that the build writes, and gcc's command lines.
    cmake -S . -B "$work/build" -G Ninja -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >"$work/log" 2>&1 && ninja -C "$work/build" onnx/onnx.pb-c.h >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    find sw compiler drivers -name '*.c' | sort | xargs -P "$(nproc)" -n 8 clang-tidy -p "$work/build" --quiet --extra-arg=-Wno-sign-conversion --extra-arg=-Wno-implicit-int-conversion >"$work/found" 2>/dev/null
    code=$?
    grep -vE "^$" "$work/found"
    [ $code -eq 0 ] && echo "clang-tidy: nothing found in $(find sw compiler drivers -name '*.c' | wc -l) files"
    [ $code -eq 0 ] ;;
esac
