/* The layer problem that every post-training method solves: given W [out][in] and the second moment of its inputs, find W' on a
 * stored format so that tr((W - W') H (W - W')^T) is small. Convolutions are the same problem over their windows [kh][kw][ic].
 *
 * Formulas and sources: docs/compression.md. H is 2 X X^T / n in double ([in][in], symmetric); dead inputs (H_ii = 0) get weight 0.
 * All solvers are deterministic, whatever the number of threads. */
#ifndef HD_LINEAR_H
#define HD_LINEAR_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/contract/contract.h"
#include "../../sw/core/err.h"

typedef struct hd_linear {
    const char *name;
    int out, in;
    const float *w;     /* [out][in], lent */
    const double *h;    /* [in][in], lent; NULL = identity */
    const double *yx;   /* [out][in], lent: 2 Y X^T / n of the outputs that are wanted (X the inputs of H); NULL = those of w. With it the
                         * target is T = (yx + damping w) (H + damping I)^-1 instead of w: what the predecessors' compression broke is
                         * repaired here as far as a linear layer can. Y: the float model's output, for a matrix that adds to a residual
                         * stream float stream after it minus compressed stream before it. */
} hd_linear;

typedef enum hd_method {
    HD_METHOD_RTN,      /* round to nearest, scales by squared error (weighted by diag H when there is H); of sparse formats the largest weights or blocks stay */
    HD_METHOD_GPTQ,     /* Frantar et al. 2022: act-order, static groups; then coordinate descent on the same objective */
    HD_METHOD_AWQ,      /* Lin et al. 2023: input scales, 20 point grid, folded into W (in_scale returned), then clip search */
    HD_METHOD_SPARSEGPT,/* Frantar & Alistarh 2023: mask and values, joint with quantisation */
    HD_METHOD_CLIP,     /* Shao et al. 2023 (OmniQuant): rounding, the range of each group learned by gradient */
    HD_METHOD_IOBS      /* Wu et al. 2024: damped Newton steps, each projected to the sparse set; then values as for SPARSEGPT */
} hd_method;

typedef enum hd_sparsity { HD_SPARSE_NONE, HD_SPARSE_UNSTRUCTURED, HD_SPARSE_N_OF_M, HD_SPARSE_BLOCK, HD_SPARSE_CHANNEL /* policies only: compress.h */ } hd_sparsity;

typedef struct hd_linear_format {
    int bits;                 /* 1..8; 0 = ternary; 16 = values stay float (stored as 16 bits) */
    enum hd_grid grid;        /* ODD, EVEN (TERNARY when bits is 0) */
    int group;                /* inputs that share a scale; 0 = the whole row */
    int shift_groups;         /* 1: a float16 scale a row, and a 2-bit power-of-two shift a group (what the array decodes); 0: a float16 scale a group */
    hd_sparsity sparsity;
    float density;            /* share kept (UNSTRUCTURED, BLOCK) */
    int n, m;                 /* N_OF_M: n kept of each m neighbouring inputs */
    int block_in, block_out;  /* BLOCK */
    int tap;                  /* BLOCK: inputs of one window tap, which no block crosses; 0 = all inputs are one */
    const float *scale_least; /* [out] smallest scale allowed (of a row), or NULL */
    const uint8_t *keep;      /* [out][in] a mask that is given (1 = present), or NULL. Dense formats with RTN, GPTQ and CLIP: exactly these, counted as a
                               * bit each. Sparse formats: only these may stay (rounds of pruning) */
    int wide_scales;          /* 1: scales are float32 (32 bits each), not float16 */
    int affine;               /* 1: w = scale * 2 (code - zero), codes and zero points 0..2^bits - 1, a zero point of `bits` bits a group (or row); grid is
                               * not looked at, no shifts. The array has no zero points: to compare with published figures */
    int one_scale;            /* 1: all rows get the same scale (stored a row all the same); no groups; RTN, GPTQ, SPARSEGPT, IOBS */
} hd_linear_format;

typedef struct hd_linear_options {
    hd_method method;
    int act_order;            /* columns by falling diag H */
    int moving_groups;        /* GPTQ: 1 = a group's scale (its shift, with shifts) is found when its first column is reached, from the weights as they are by
                               * then; 0 = all scales before the first column (static groups). Wants columns in order */
    double damping;           /* of mean diag H; 0.01 */
    int awq_points;           /* AWQ: powers that are tried, 20; 1 = no input scales (they are folded already), the clip search alone */
    int sweeps;               /* rounds of coordinate descent and scale fits after GPTQ, of support swaps after SPARSEGPT; 0 = the paper's method. IOBS: 0 = no
                               * fit of the values after the steps */
} hd_linear_options;

/* What is stored, and what it decodes to. Owned; hd_linear_result_free. */
typedef struct hd_linear_result {
    float *w;                 /* [out][in], decoded (in the original input scale) */
    int16_t *v;               /* [out][in] integers with group shifts applied, or NULL when bits is 16 */
    float *scale;             /* [out] with shift_groups or group 0, else [out][groups]: w = v * scale */
    uint8_t *shift;           /* [out][groups] or NULL */
    uint8_t *zero;            /* [out][groups] zero points, or NULL; v = 2 (code - zero) */
    uint8_t *mask;            /* [out][in], 1 = present, or NULL when dense */
    float *in_scale;          /* [in] AWQ: the layer's input is multiplied by 1/in_scale before the stored weights; or NULL */
    double bits_stored;       /* everything stored for this layer: codes, scales (16 bits each), shifts, masks or indices */
    double error, reference;  /* tr(dW H dW^T) against the target (w without yx), and the same for W' = 0 */
} hd_linear_result;

hd_status hd_linear_solve(hd_linear_result *out, const hd_linear *p, const hd_linear_format *f, const hd_linear_options *o, hd_err *err);
void hd_linear_result_free(hd_linear_result *r);
/* What taking weights out costs, in the objective: cost[i] for the i-th weight (block, with BLOCK) that exact elimination takes out of the layer, rising; of
 * `items` there are, n were looked at. UNSTRUCTURED and BLOCK. Layers too large for elimination: what each would cost alone. *cost is owned by
 * the caller (free). */
hd_status hd_linear_costs(double **cost, size_t *n, size_t *items, const hd_linear *p, const hd_linear_format *f, hd_err *err);
/* The nearest float16, at most 65504 in size. */
double hd_half(double x);
/* Default options of a method. */
void hd_linear_defaults(hd_linear_options *o, hd_method m);

/* Accumulates H over batches of input rows x [rows][in]; read with hd_hessian_get (2 X X^T / n). */
typedef struct hd_hessian hd_hessian;
hd_hessian *hd_hessian_new(int in);
void hd_hessian_add(hd_hessian *h, const float *x, int rows);
void hd_hessian_get(const hd_hessian *h, double *out /* [in][in] */);
void hd_hessian_free(hd_hessian *h);
#endif
