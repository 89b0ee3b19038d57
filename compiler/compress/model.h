/* The compressed model: the integer network of docs/formats.md sections 1 and 4. It fixes every number; a geometry
 * only decides how they are computed. */
#ifndef HD_MODEL_H
#define HD_MODEL_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/contract/contract.h"
#include "../../sw/core/bytes.h"
#include "../../sw/core/err.h"

enum { HD_BOOKS_WORDS = 512 };

typedef struct hd_qtensor {
    char *name;
    int h, w, c;
    float scale;
    int zero;
} hd_qtensor;

typedef struct hd_stage {
    enum hd_stage_kind kind;
    char *name;
    int input, residual /* or -1 */, output; /* tensors */
    int kh, kw, sy, sx, dy, dx, pad_top, pad_left;
    /* CONV only */
    int groups, cin, cout; /* cin, cout from the tensors */
    enum hd_grid grid;
    int bits;
    enum hd_granularity granularity;
    int group_size;
    int block_in, block_out;  /* pruning block, 0 = not pruned */
    int16_t *v;               /* effective weights [cout][kh][kw][cin/groups]: code value << group shift, 0 where absent */
    uint8_t *group_shift;     /* [cout][groups of inputs] or NULL */
    uint8_t *present;         /* [oc block][in block], 1 = present; NULL when not pruned */
    float *scale;             /* [cout] */
    int32_t *bias;            /* [cout] */
    uint16_t *mult;           /* [cout] */
    uint8_t *shift;           /* [cout] */
    int clamp_lo, clamp_hi;
    int has_table;
    uint8_t table[256];
    uint32_t *books;          /* NULL, or HD_BOOKS_WORDS words: two additive codebooks on which the weights lie (docs/formats.md, "Coded entries") */
    int res_mult, res_shift;
    int32_t res_add;
} hd_stage;

typedef struct hd_model {
    char *name;
    int n_tensors, n_stages, input, output;
    hd_qtensor *tensor;
    hd_stage *stage; /* in execution order; tensor `output` of a stage is written once */
    uint32_t dense_weights;
} hd_model;

/* Of a grid: its name in policies and tables ("odd"; "auto" for -1), its name on the pages ("ODD"), and the bits that weights on it may have (0 to 0: they have none). */
const char *hd_grid_name(int grid);
const char *hd_grid_id(enum hd_grid grid);
void hd_grid_bits(int *least, int *most, enum hd_grid grid);

void hd_model_free(hd_model *m);
hd_status hd_model_load(hd_model **out, const char *path, hd_err *err);
hd_status hd_model_save(const hd_model *m, const char *path, hd_err *err);
/* The payload alone, of a file that holds several; label stands in messages for the path. */
hd_status hd_model_read(hd_model **out, const hd_reader *payload, const char *label, hd_err *err);
hd_status hd_model_write(hd_writer *w, const hd_model *m, hd_err *err);
/* Structural and numeric checks: indices, shapes, grids, bounds of accumulators (|acc| < 2^31). Load ends with it. */
hd_status hd_model_check(const hd_model *m, hd_err *err);
/* Stored bytes of all weights' data (docs/formats.md section 4) and of one stage. */
size_t hd_model_weight_bytes(const hd_model *m);
size_t hd_stage_weight_bytes(const hd_stage *s);
double hd_model_bits_per_weight(const hd_model *m);
size_t hd_stage_weights(const hd_stage *s); /* elements of v */
/* Number of pruning blocks along the inputs of an output channel: kh*kw*ceil((cin/groups)/block_in). */
size_t hd_stage_in_blocks(const hd_stage *s);

/* The scalar integer executor: plain loops over [y][x][c], written from docs/formats.md section 1 only. */
typedef struct hd_integer hd_integer;
hd_status hd_integer_new(hd_integer **out, const hd_model *m, hd_err *err); /* m lent */
void hd_integer_free(hd_integer *e);
void hd_integer_run(hd_integer *e, const int8_t *input /* [h][w][c] */);
const int8_t *hd_integer_tensor(const hd_integer *e, int t); /* [h][w][c], lent */

/* Quantise a float [c][h][w] tensor to codes [h][w][c]: round half up, saturate. */
void hd_quantize_input(const hd_qtensor *t, const float *chw, int8_t *hwc);
#endif
