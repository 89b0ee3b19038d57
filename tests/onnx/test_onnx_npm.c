/* Models that nobody here wrote, on the host executor, against what onnxruntime computed (npm_reference.js). HEDDLE_NPM_MODELS names the
 * directory; without it the test is skipped. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/onnx/host.h"
#include "../../sw/core/file.h"
#include "../../sw/core/progress.h"

static const char *dir;

static hd_nd read_tensor(const char *type, const char *dims, const char *file) {
    char path[4096];
    int64_t dim[HD_ND_MAX_RANK];
    int rank = 0;
    uint8_t *data;
    size_t size;
    hd_nd v;
    for (const char *p = dims; *p && *p != '-'; rank++) {
        dim[rank] = strtoll(p, (char **)&p, 10);
        if (*p) p++;
    }
    snprintf(path, sizeof path, "%s/reference/%s", dir, file);
    assert_int_equal(hd_file_read(&data, &size, path, (size_t)1 << 30, 0, NULL), HD_OK);
    assert_int_equal(hd_nd_new(&v, strcmp(type, "int64") ? HD_TYPE_F32 : HD_TYPE_I64, rank, dim, SIZE_MAX, NULL), HD_OK);
    assert_int_equal(v.count * hd_type_size(v.type), size);
    memcpy(v.data, data, size);
    free(data);
    return v;
}

static void one_model(const char *name) {
    char path[4096], line[1024];
    snprintf(path, sizeof path, "%s/reference/%s.txt", dir, name);
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("%s: cannot be read; run npm_reference.js", path);
    hd_host *h = NULL;
    hd_nd in[8] = {0}, out[8] = {0}, want[8] = {0};
    hd_err err = {0};
    while (fgets(line, sizeof line, f)) {
        char kind[16], tensor[256], type[16], dims[128], file[256];
        int n = sscanf(line, "%15s %255s %15s %127s %255s", kind, tensor, type, dims, file);
        if (n == 2) {
            snprintf(path, sizeof path, "%s/%s", dir, tensor);
            if (hd_host_load(&h, path, &err) != HD_OK) fail_msg("%s", err.message);
            continue;
        }
        assert_int_equal(n, 5);
        int input = strcmp(kind, "in") == 0, found = 0;
        for (int k = 0; k < (input ? hd_host_n_inputs(h) : hd_host_n_outputs(h)); k++)
            if (strcmp((input ? hd_host_input(h, k) : hd_host_output(h, k))->name, tensor) == 0) (input ? in : want)[k] = read_tensor(type, dims, file), found = 1;
        assert_true(found);
    }
    fclose(f);
    double operations, start = hd_cpu_seconds(), worst = 0, largest = 0;
    if (hd_host_run(h, in, out, &operations, &err) != HD_OK) fail_msg("%s", err.message);
    double seconds = hd_cpu_seconds() - start;
    for (int k = 0; k < hd_host_n_outputs(h); k++) {
        assert_true(hd_nd_same_shape(&out[k], &want[k]) && out[k].type == HD_TYPE_F32);
        for (size_t i = 0; i < out[k].count; i++) {
            worst = fmax(worst, fabs((double)((float *)out[k].data)[i] - (double)((float *)want[k].data)[i]));
            largest = fmax(largest, fabs((double)((float *)want[k].data)[i]));
        }
        hd_nd_free(&out[k]);
        hd_nd_free(&want[k]);
    }
    for (int k = 0; k < hd_host_n_inputs(h); k++) hd_nd_free(&in[k]);
    hd_host_free(h);
    printf("%-14s largest difference %.3g, largest output %.3g, %.3g operations, %.2f s of processor time\n", name, worst, largest, operations, seconds);
    assert_true(worst < 1e-4);
}

static void test_models(void **state) {
    static const char *const names[] = {"classifier", "recogniser", "detector", "silero-legacy", "silero-v5", "silero-v6"};
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) one_model(names[k]);
}

int main(void) {
    dir = getenv("HEDDLE_NPM_MODELS");
    if (!dir || !dir[0]) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
