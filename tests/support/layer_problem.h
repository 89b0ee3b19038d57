/* Layer problems with correlated inputs, and plain-loop judges of their solutions, for the tests of linear.h. */
#ifndef LAYER_PROBLEM_H
#define LAYER_PROBLEM_H
#include "../../compiler/compress/linear.h"

typedef struct layer_problem {
    hd_linear p;
    float *w, *x; /* [out][in], [samples][in] */
    double *h;
    int samples;
} layer_problem;

/* Inputs are mixtures of in/2 sources plus noise, with a few strong ones, as activations have them. */
layer_problem layer_problem_new(int out, int in, uint64_t seed);
void layer_problem_free(layer_problem *l);
/* tr((w - t) h (w - t)^T); t NULL = 0. */
double layer_error(const float *w, const float *t, const double *h, int out, int in);
/* Solves or ends the test with the message. */
hd_linear_result layer_solve(const layer_problem *l, const hd_linear_format *f, const hd_linear_options *o);
/* x [n] = a^-1 b by Gauss elimination with pivoting; a, b are used up. 0 when singular. */
int layer_dense_solve(double *a, double *b, int n);
#endif
