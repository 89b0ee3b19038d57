#include "masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UPDATES = 100, STEPS_TO_GROW = 10 };
static const double MOVED_AT_FIRST = 0.3; /* share of the present blocks that regrowing moves at its first update */

hd_status hd_mask_plan_new(hd_mask_plan *p, hd_fake **fake, int layers, hd_masks kind, hd_score score, int global, double settled, long steps, hd_err *err) {
    size_t n = (size_t)layers;
    *p = (hd_mask_plan){.kind = kind, .score = score, .global = global, .settled = settled, .steps = steps, .layers = layers, .fake = fake};
    p->target = calloc(n, sizeof *p->target);
    p->norm = calloc(n, sizeof *p->norm);
    p->growth = calloc(n, sizeof *p->growth);
    p->before = calloc(n, sizeof *p->before);
    if (!p->target || !p->norm || !p->growth || !p->before) return hd_fail(err, HD_NOMEM, "no memory for the masks of %d layers", layers);
    for (int i = 0; i < layers; i++) {
        hd_fake *f = fake[i];
        for (size_t b = 0; b < f->blocks; b++) p->target[i] += f->present[b];
        p->norm[i] = calloc(f->blocks + 1, sizeof **p->norm);
        p->growth[i] = calloc(f->blocks + 1, sizeof **p->growth);
        p->before[i] = calloc(f->blocks + 1, 1);
        if (!p->norm[i] || !p->growth[i] || !p->before[i]) return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", f->blocks);
        f->absent_learns = kind == HD_MASKS_FEEDBACK;
        if (kind != HD_MASKS_GRADUAL && kind != HD_MASKS_FEEDBACK) continue;
        if (f->blocks) memset(f->present, 1, f->blocks);
        hd_fake_mask(f);
    }
    return HD_OK;
}

void hd_mask_plan_free(hd_mask_plan *p) {
    for (int i = 0; i < p->layers; i++) {
        if (p->norm) free(p->norm[i]);
        if (p->growth) free(p->growth[i]);
        if (p->before) free(p->before[i]);
    }
    free(p->target);
    free(p->norm);
    free(p->growth);
    free(p->before);
    *p = (hd_mask_plan){0};
}

static double moving_steps(const hd_mask_plan *p) { return (double)p->steps * (1 - p->settled); }

/* Regrown blocks need some steps before their norms mean something. Two at the least: the last one moves nothing any more. */
static double updates(const hd_mask_plan *p) {
    double most = p->kind == HD_MASKS_REGROW ? floor(moving_steps(p) / STEPS_TO_GROW) : UPDATES;
    return fmin(UPDATES, fmax(2, most));
}

/* Spread over the unsettled part of the steps, the last of them at its end. */
static long update_after(const hd_mask_plan *p, long step) { return (long)((double)step * updates(p) / fmax(1, moving_steps(p))); }

int hd_mask_plan_changes(const hd_mask_plan *p, long step) {
    long before = update_after(p, step);
    return p->kind != HD_MASKS_FIXED && (double)before < updates(p) && update_after(p, step + 1) != before;
}

void hd_mask_plan_growth(hd_mask_plan *p, int layer, const float *d) {
    if (p->fake[layer]->blocks) hd_prune_norms(p->growth[layer], p->fake[layer], d);
}

static size_t blocks_to_keep(size_t blocks, size_t target, double part) {
    double sparsity = hd_prune_cubic(blocks ? 1 - (double)target / (double)blocks : 0, part);
    return part >= 1 ? target : blocks - (size_t)(sparsity * (double)blocks);
}

static hd_status update_layer(hd_mask_plan *p, int i, double part, hd_err *err) {
    hd_fake *f = p->fake[i];
    size_t stay = blocks_to_keep(f->blocks, p->target[i], part);
    if (f->rule.classes || f->rule.cell) return hd_prune_evenly(f->present, p->norm[i], f->blocks, &f->rule, stay, err);
    if (p->kind != HD_MASKS_REGROW) return hd_prune_keep(f->present, p->norm[i], f->blocks, stay, err);
    size_t move = (size_t)(MOVED_AT_FIRST * 0.5 * (1 + cos(3.14159265358979 * part)) * (double)p->target[i]);
    if (hd_prune_regrow(f->present, p->norm[i], p->growth[i], f->blocks, move) < 0) return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", f->blocks);
    return HD_OK;
}

/* N of M leaves no choice of a layer's share. */
static int has_share(const hd_fake *f) { return f->blocks && !f->rule.cell; }

/* One budget: the scores of all layers in a row. Where blocks stay in equal numbers the budget gives the number. */
static hd_status update_all(hd_mask_plan *p, double part, hd_err *err) {
    size_t blocks = 0, target = 0, at = 0;
    for (int i = 0; i < p->layers; i++)
        if (has_share(p->fake[i])) blocks += p->fake[i]->blocks, target += p->target[i];
    double *score = calloc(blocks + 1, sizeof *score);
    uint8_t *present = calloc(blocks + 1, 1);
    hd_status s = score && present ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", blocks);
    for (int i = 0; i < p->layers && !s; i++) {
        if (!has_share(p->fake[i])) continue;
        if (p->score == HD_SCORE_NORM) s = hd_prune_lamp(score + at, p->norm[i], p->fake[i]->blocks, err);
        else memcpy(score + at, p->norm[i], p->fake[i]->blocks * sizeof *score);
        at += p->fake[i]->blocks;
    }
    if (!s) s = hd_prune_keep(present, score, blocks, blocks_to_keep(blocks, target, part), err);
    at = 0;
    for (int i = 0; i < p->layers && !s; i++) {
        hd_fake *f = p->fake[i];
        if (!has_share(f)) {
            if (f->blocks) s = update_layer(p, i, part, err);
            continue;
        }
        size_t stay = 0;
        for (size_t b = 0; b < f->blocks; b++) stay += present[at + b];
        if (f->rule.classes) s = hd_prune_evenly(f->present, p->norm[i], f->blocks, &f->rule, stay, err);
        else memcpy(f->present, present + at, f->blocks);
        at += f->blocks;
    }
    free(score);
    free(present);
    return s;
}

hd_status hd_mask_plan_update(hd_mask_plan *p, long step, const float *const *weight, const float *const *square, hd_err *err) {
    double part = fmin(1, (double)update_after(p, step + 1) / updates(p));
    hd_status s = HD_OK;
    int all = p->global && p->kind != HD_MASKS_REGROW;
    for (int i = 0; i < p->layers; i++) {
        if (!p->fake[i]->blocks) continue;
        memcpy(p->before[i], p->fake[i]->present, p->fake[i]->blocks);
        hd_prune_weighted(p->norm[i], p->fake[i], weight[i], p->score == HD_SCORE_FISHER ? square[i] : NULL);
    }
    if (all) s = update_all(p, part, err);
    for (int i = 0; i < p->layers && !s && !all; i++)
        if (p->fake[i]->blocks) s = update_layer(p, i, part, err);
    for (int i = 0; i < p->layers && !s; i++) hd_fake_mask(p->fake[i]);
    return s;
}
