/* Magnitude pruning in hardware blocks, free or in equal numbers. */
#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"

typedef struct block {
    double norm; /* squared L2 */
    size_t index;
} block;

static int by_norm(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->norm != y->norm) return x->norm < y->norm ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

hd_status hd_prune_blocks(uint8_t *present, const float *w, int cout, int taps, int per_tap, int block_in, int block_out, float sparsity,
                          hd_err *err) {
    size_t along = ((size_t)per_tap + (size_t)block_in - 1) / (size_t)block_in, in_blocks = (size_t)taps * along;
    size_t n = in_blocks * (((size_t)cout + (size_t)block_out - 1) / (size_t)block_out);
    block *blocks = calloc(n, sizeof *blocks);
    if (!blocks) return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", n);
    for (size_t i = 0; i < n; i++) blocks[i].index = i;
    for (size_t oc = 0; oc < (size_t)cout; oc++)
        for (size_t tap = 0; tap < (size_t)taps; tap++)
            for (size_t ic = 0; ic < (size_t)per_tap; ic++) {
                double x = w[(oc * (size_t)taps + tap) * (size_t)per_tap + ic];
                blocks[oc / (size_t)block_out * in_blocks + tap * along + ic / (size_t)block_in].norm += x * x;
            }
    qsort(blocks, n, sizeof *blocks, by_norm);
    size_t removed = (size_t)((double)sparsity * (double)n + 0.5);
    if (removed >= n) removed = n - 1;
    memset(present, 1, n);
    for (size_t i = 0; i < removed; i++) present[blocks[i].index] = 0;
    free(blocks);
    return HD_OK;
}

/* A block's place among those that must stay in equal numbers. */
typedef struct ranked {
    double score;
    size_t index, group, family, rank; /* group: a class or cell; ranks of all groups of a family stay or go together */
} ranked;

typedef struct rank_of_family {
    double score;
    size_t family, rank, blocks;
} rank_of_family;

static int by_group(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->index > y->index ? -1 : x->index < y->index;
}

static int by_score(const void *a, const void *b) {
    const rank_of_family *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->family > y->family ? -1 : x->family < y->family;
}

hd_block_rule hd_block_rule_of(const hd_layer_policy *o, const hd_stage *s) {
    hd_block_rule r = {.in_blocks = hd_stage_in_blocks(s)};
    r.along = r.in_blocks / ((size_t)s->kh * (size_t)s->kw);
    if (o->structure == HD_SPARSE_N_OF_M) r.cell = (size_t)o->m;
    else if (o->balance > 0) r.classes = (size_t)(o->balance / s->block_in);
    return r;
}

static void place_block(ranked *b, const hd_block_rule *r) {
    size_t along = b->index % r->in_blocks % r->along, row = b->index / r->along;
    b->family = r->cell ? 0 : b->index / r->in_blocks;
    b->group = r->cell ? row * ((r->along + r->cell - 1) / r->cell) + along / r->cell : b->family * r->classes + along % r->classes;
}

hd_status hd_prune_evenly(uint8_t *present, const double *score, size_t blocks, const hd_block_rule *rule, size_t keep, hd_err *err) {
    size_t families = 0, deepest = 0, kept = 0;
    ranked *b = calloc(blocks + 1, sizeof *b);
    if (!b) return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", blocks);
    for (size_t i = 0; i < blocks; i++) {
        b[i].score = score[i];
        b[i].index = i;
        place_block(&b[i], rule);
        if (b[i].family >= families) families = b[i].family + 1;
    }
    qsort(b, blocks, sizeof *b, by_group);
    for (size_t i = 0; i < blocks; i++) {
        b[i].rank = i && b[i].group == b[i - 1].group ? b[i - 1].rank + 1 : 0;
        if (b[i].rank >= deepest) deepest = b[i].rank + 1;
    }
    size_t n = families * deepest;
    rank_of_family *r = calloc(n + 1, sizeof *r);
    size_t *stay = calloc(families + 1, sizeof *stay);
    if (!r || !stay) {
        free(b);
        free(r);
        free(stay);
        return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", blocks);
    }
    for (size_t i = 0; i < n; i++) r[i] = (rank_of_family){.family = i / deepest, .rank = i % deepest};
    for (size_t i = 0; i < blocks; i++) {
        rank_of_family *of = &r[b[i].family * deepest + b[i].rank];
        of->score += b[i].score;
        of->blocks++;
    }
    for (size_t i = 0; i < n; i++) {
        if (r[i].blocks) r[i].score /= (double)r[i].blocks;
        /* Where only some groups are as long, the mean may rise again; ranks still go from the last one on. */
        if (r[i].rank && r[i].score > r[i - 1].score) r[i].score = r[i - 1].score;
    }
    qsort(r, n, sizeof *r, by_score);
    for (size_t i = 0; i < n && kept < keep; i++) {
        if (kept && kept + r[i].blocks > keep && kept + r[i].blocks - keep > keep - kept) break;
        kept += r[i].blocks;
        stay[r[i].family] = r[i].rank + 1;
    }
    if (n && !kept) stay[r[0].family] = 1;
    for (size_t i = 0; i < blocks; i++) present[b[i].index] = b[i].rank < stay[b[i].family];
    free(b);
    free(r);
    free(stay);
    return HD_OK;
}
