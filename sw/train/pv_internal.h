/* The two steps of PV-Tuning. Not for other folders. */
#ifndef HD_PV_INTERNAL_H
#define HD_PV_INTERNAL_H
#include "pv_tune.h"

/* Adam's moments of one vector of values, and the values as they are before rounding. */
typedef struct hd_pv_values {
    size_t n;
    float *value, *mean, *square;
} hd_pv_values;

typedef struct hd_pv_table {
    hd_codebook *c;       /* lent */
    hd_pv_values entries; /* in the integers' units */
    double rms;           /* of the entries at the start */
    float *plain, *norm;  /* [books][group][entries] and [books][entries]: the integers and their squares, for the search */
} hd_pv_table;

/* One matrix. A group is what a code names: `group` weights of a row (the last may be shorter), or one weight of integers. */
typedef struct hd_pv_part {
    hd_lm_matrix *m;      /* lent */
    hd_pv_table *table;   /* NULL = integers */
    int out, in, group, groups;
    float *buffer;        /* [out][in] what the weights are wanted to be */
    float *square;        /* [out][in] mean square of their gradients */
    float *unit;          /* [out] root mean square of the rows at the start */
    hd_pv_values scales;  /* logarithms to base 2: [out] of codes and of shifted integers, else as many as there are */
    double *scale_sum;    /* [scales.n] gradient of them */
    int scale_group;      /* inputs that share a scale */
    int lowest, highest, step; /* integers of the grid */
} hd_pv_part;

typedef struct hd_pv {
    hd_lm *c;             /* the model at work; its weights are always those of codes and values */
    hd_pv_part *part;     /* [parts] */
    hd_pv_table *table;   /* [c->tables] */
    int parts, tables;
    int steps;            /* taken: for Adam's correction */
    size_t groups;        /* of all parts */
} hd_pv;

hd_status hd_pv_new(hd_pv **out, const hd_lm *start, hd_err *err);
void hd_pv_free(hd_pv *p);

/* The update buffers follow the gradient: gradient[part] is [out][in]. */
void hd_pv_follow(hd_pv *p, const float *const *gradient, double rate);
/* At most `most` groups take the code nearest to the buffer (Euclidean, in units of their scale): those that gain the most. Several books: by coordinate
 * descent from the present codes. Returns how many did; negative: HD_NOMEM. Then hd_pv_decode. */
long hd_pv_move(hd_pv *p, size_t most);
/* Buffers approach the weights: distance times keep. */
void hd_pv_settle(hd_pv *p, double keep);
/* Adam on entries and scales. Then hd_pv_decode. */
void hd_pv_value_step(hd_pv *p, const float *const *gradient, double rate_entries, double rate_scales);
/* Weights from codes and rounded values. */
hd_status hd_pv_decode(hd_pv *p, hd_err *err);

hd_status hd_pv_values_new(hd_pv_values *v, size_t n, hd_err *err);
void hd_pv_values_free(hd_pv_values *v);
/* One step of Adam (betas 0.9, 0.95) number `step` (from 1). */
void hd_pv_adam(hd_pv_values *v, const double *gradient, double rate, int step);
#endif
