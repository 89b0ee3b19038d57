/* The second moment of a layer's inputs. */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "linear.h"

enum { CHUNK = 256 };

/* Products of single floats lose digits over many samples, so batches go to double in chunks before they are multiplied. */
struct hd_hessian {
    int in;
    double samples;
    double *sum;   /* [in][in], upper triangle of X X^T */
    double *chunk; /* [CHUNK][in] */
};

hd_hessian *hd_hessian_new(int in) {
    hd_hessian *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    h->in = in;
    h->sum = calloc((size_t)in * (size_t)in, sizeof *h->sum);
    h->chunk = malloc((size_t)CHUNK * (size_t)in * sizeof *h->chunk);
    if (h->sum && h->chunk) return h;
    hd_hessian_free(h);
    return NULL;
}

void hd_hessian_add(hd_hessian *h, const float *x, int rows) {
    size_t in = (size_t)h->in;
    for (int from = 0; from < rows; from += CHUNK) {
        int n = rows - from < CHUNK ? rows - from : CHUNK;
        const float *row = x + (size_t)from * in;
        for (size_t i = 0; i < (size_t)n * in; i++) h->chunk[i] = (double)row[i];
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, h->in, n, 1.0, h->chunk, h->in, 1.0, h->sum, h->in);
    }
    h->samples += rows;
}

void hd_hessian_get(const hd_hessian *h, double *out) {
    size_t in = (size_t)h->in;
    double factor = h->samples > 0 ? 2.0 / h->samples : 0.0;
    for (size_t i = 0; i < in; i++)
        for (size_t j = i; j < in; j++) out[i * in + j] = out[j * in + i] = factor * h->sum[i * in + j];
}

void hd_hessian_free(hd_hessian *h) {
    if (!h) return;
    free(h->sum);
    free(h->chunk);
    free(h);
}
