#include "prune.h"

#include <stdlib.h>
#include <string.h>

typedef struct block {
    double score;
    size_t index;
} block;

static int rising(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void hd_prune_weighted(double *norm, const hd_fake *f, const float *x, const float *weight) {
    memset(norm, 0, f->blocks * sizeof *norm);
    for (size_t oc = 0; oc < f->cout; oc++)
        for (size_t i = 0; i < f->inputs; i++) {
            double w = (double)x[oc * f->inputs + i];
            norm[hd_fake_block(f, oc, i)] += w * w * (weight ? (double)weight[oc * f->inputs + i] : 1);
        }
}

void hd_prune_norms(double *norm, const hd_fake *f, const float *x) { hd_prune_weighted(norm, f, x, NULL); }

hd_status hd_prune_keep(uint8_t *present, const double *score, size_t blocks, size_t keep, hd_err *err) {
    block *b = malloc((blocks + 1) * sizeof *b);
    if (!b) return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", blocks);
    for (size_t i = 0; i < blocks; i++) b[i] = (block){score[i], i};
    qsort(b, blocks, sizeof *b, rising);
    for (size_t i = 0; i < blocks; i++) present[b[i].index] = i + keep >= blocks;
    free(b);
    return HD_OK;
}

hd_status hd_prune_lamp(double *score, const double *norm, size_t blocks, hd_err *err) {
    block *b = malloc((blocks + 1) * sizeof *b);
    double sum = 0;
    if (!b) return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", blocks);
    for (size_t i = 0; i < blocks; i++) b[i] = (block){norm[i], i};
    qsort(b, blocks, sizeof *b, rising);
    for (size_t i = blocks; i-- > 0;) {
        sum += b[i].score;
        score[b[i].index] = sum > 0 ? b[i].score / sum : 0;
    }
    free(b);
    return HD_OK;
}

long hd_prune_regrow(uint8_t *present, const double *norm, const double *growth, size_t blocks, size_t move) {
    block *old = malloc((blocks + 1) * sizeof *old), *fresh = malloc((blocks + 1) * sizeof *fresh);
    size_t olds = 0, freshes = 0;
    for (size_t i = 0; old && fresh && i < blocks; i++) {
        if (present[i]) old[olds++] = (block){norm[i], i};
        else fresh[freshes++] = (block){-growth[i], i};
    }
    if (move > olds) move = olds;
    if (move > freshes) move = freshes;
    if (old && fresh) {
        qsort(old, olds, sizeof *old, rising);
        qsort(fresh, freshes, sizeof *fresh, rising);
        for (size_t i = 0; i < move; i++) {
            present[old[i].index] = 0;
            present[fresh[i].index] = 1;
        }
    }
    long moved = old && fresh ? (long)move : -1;
    free(old);
    free(fresh);
    return moved;
}

double hd_prune_cubic(double final, double part) {
    double left = part < 0 ? 1 : part > 1 ? 0 : 1 - part;
    return final * (1 - left * left * left);
}
