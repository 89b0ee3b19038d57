/* When the masks of layers change in training, and to what (internal to sw/train and its tests). */
#ifndef HD_TRAIN_MASKS_H
#define HD_TRAIN_MASKS_H
#include "prune.h"
#include "tune.h"

typedef struct hd_mask_plan {
    hd_masks kind;
    hd_score score;
    int global;       /* GRADUAL, FEEDBACK: one budget of blocks for all layers, shared out by the scores; else one each */
    double settled;   /* the last share of the steps, in which masks rest */
    long steps;
    int layers;
    hd_fake **fake;   /* [layers], lent */
    size_t *target;   /* [layers] blocks to keep in the end */
    double **norm, **growth; /* [layers][blocks] */
    uint8_t **before; /* [layers][blocks] what was present before the last update */
} hd_mask_plan;

/* The blocks that the fakes have are where it is to end; GRADUAL and FEEDBACK start with all of them. Free also after a failure. */
hd_status hd_mask_plan_new(hd_mask_plan *p, hd_fake **fake, int layers, hd_masks kind, hd_score score, int global, double settled, long steps, hd_err *err);
void hd_mask_plan_free(hd_mask_plan *p);
/* Do masks change when step `step` (counted from 0) is done? */
int hd_mask_plan_changes(const hd_mask_plan *p, long step);
/* REGROW, before such a change: d is the gradient of a layer's weights, absent ones included. */
void hd_mask_plan_growth(hd_mask_plan *p, int layer, const float *d);
/* After step `step`: new masks from the layers' trained weights and the running means of their squared gradients (for FISHER only). `before` tells
 * which blocks have come back. */
hd_status hd_mask_plan_update(hd_mask_plan *p, long step, const float *const *weight, const float *const *square, hd_err *err);
#endif
