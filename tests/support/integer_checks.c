#include "integer_checks.h"

#include <stdlib.h>

#include "../../sw/runtime/runtime.h"

double hd_test_noise(const hd_graph *g, const hd_model *m, const hd_idx *x) {
    return hd_test_noise_at(g, g->output, m, x);
}

double hd_test_noise_at(const hd_graph *g, int t, const hd_model *m, const hd_idx *x) {
    hd_exec *f;
    hd_integer *e;
    const hd_qtensor *to = &m->tensor[m->output];
    float *image = malloc(x->item * sizeof *image);
    int8_t *codes = malloc(x->item);
    double signal = 0, wrong = 0;
    if (!image || !codes || hd_exec_new(&f, g, NULL) || hd_integer_new(&e, m, NULL)) abort();
    for (uint32_t i = 0; i < x->dim[0]; i++) {
        hd_idx_item(x, i, 1, image);
        hd_quantize_input(&m->tensor[m->input], image, codes);
        hd_exec_run(f, image);
        hd_integer_run(e, codes);
        const float *want = hd_exec_tensor(f, t);
        const int8_t *y = hd_integer_tensor(e, m->output);
        for (int p = 0; p < to->h * to->w; p++)
            for (int c = 0; c < to->c; c++) {
                double w = (double)want[c * to->h * to->w + p], d = (double)to->scale * (y[p * to->c + c] - to->zero) - w;
                signal += w * w;
                wrong += d * d;
            }
    }
    hd_exec_free(f);
    hd_integer_free(e);
    free(image);
    free(codes);
    return wrong / signal;
}

static hd_status compare(hd_session *s, hd_integer *e, const hd_model *m, const hd_idx *x, uint32_t images, hd_err *err) {
    const hd_qtensor *to = &m->tensor[m->output];
    int n = to->h * to->w * to->c;
    int8_t *codes = malloc(x->item), *output = malloc((size_t)n);
    float *image = malloc(x->item * sizeof *image);
    hd_status st = codes && output && image ? HD_OK : hd_fail(err, HD_NOMEM, "no memory");
    for (uint32_t i = 0; !st && i < images; i++) {
        hd_idx_item(x, i, 1, image);
        hd_quantize_input(&m->tensor[m->input], image, codes);
        st = hd_session_run(s, codes, output, err);
        hd_integer_run(e, codes);
        const int8_t *want = hd_integer_tensor(e, m->output);
        for (int k = 0; !st && k < n; k++)
            if (output[k] != want[k]) st = hd_fail(err, HD_RANGE, "image %u, output %d: ref has %d, the integer executor %d", i, k, output[k], want[k]);
    }
    free(codes);
    free(output);
    free(image);
    return st;
}

hd_status hd_test_ref_agrees(const hd_model *m, const char *geometry, const hd_idx *x, uint32_t images, hd_err *err) {
    hd_geometry g;
    hd_program *p = NULL;
    hd_session *s = NULL;
    hd_integer *e = NULL;
    hd_lower_options o = {.board = "", .expand_input = -1};
    hd_status st = hd_geometry_parse(&g, geometry, err);
    if (!st) st = hd_lower(&p, m, &g, &o, err);
    if (!st) st = hd_session_open(&s, p, &hd_driver_ref, NULL, err);
    if (!st) st = hd_integer_new(&e, m, err);
    if (!st) st = compare(s, e, m, x, images, err);
    if (e) hd_integer_free(e);
    if (s) hd_session_close(s);
    if (p) hd_program_free(p);
    return st;
}
