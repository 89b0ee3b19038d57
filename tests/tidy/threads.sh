#!/bin/bash
# threads.sh SOURCE_DIR: the threaded parts under ThreadSanitizer: OpenMP (calibration, quantisation, tables, factors, training) with four threads, and the servers of
# USB/IP and usb-redir with their test's threads. Built by clang, whose OpenMP tells ThreadSanitizer (by its tool archer) when threads wait for each other; with
# gcc's libgomp every barrier would count as a race. A race that is one must be seen first. Exit code 77 without the tools.
set -u
src=$(realpath "$1")
command -v clang >/dev/null || { echo "SKIPPED: clang is not installed"; exit 77; }
archer=$(find /usr/lib/llvm-*/lib -name libarcher.so 2>/dev/null | sort | tail -1)
[ -n "$archer" ] || { echo "SKIPPED: clang's OpenMP (libomp-dev) is not installed"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMP_NUM_THREADS=4 OPENBLAS_NUM_THREADS=1 OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"

for racy in 0 1; do
    cat >control.c <<END
int main(void) {
    static int sum, own[4096];
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < 4096; i++) {
        own[i] = i;
        if ($racy) sum++; /* even adding 0 would be a race */
    }
    return own[4095] + sum == -1;
}
END
    clang -g -fopenmp -fsanitize=thread -o control control.c || exit 1
    ./control >log 2>&1
    code=$?
    if [ $racy = 1 ] && [ $code != 66 ]; then echo "FAILED: a race is not seen"; exit 1; fi
    if [ $racy = 0 ] && [ $code != 0 ]; then echo "FAILED: a race is seen where there is none"; cat log; exit 1; fi
done

CC=clang CXX=clang++ cmake -S "$src" -B build -G Ninja -DHD_THREAD_SANITIZE=ON >log 2>&1 || { cat log; exit 1; }
tests=(test_edges test_factor test_codebook test_train_gradient test_usbip test_usbredir)
ninja -j "$(nproc)" -C build "${tests[@]/#/tests/}" >log 2>&1 || { tail -20 log; exit 1; }
failed=0
for t in "${tests[@]}"; do
    if build/tests/$t >log 2>&1; then echo "$t: no race"
    else echo "FAILED: $t: exit code $?"; grep -A12 "WARNING: ThreadSanitizer" log | head -40; failed=1; fi
done
exit $failed
