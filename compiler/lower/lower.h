/* Inside of the compiler: a layer's plan (how its weights are encoded, sliced and tiled) and what emits it.
 * hd_lower = plan every stage -> place the tensors -> emit descriptors, streams and parameters. */
#ifndef HD_LOWER_H
#define HD_LOWER_H
#include "program.h"

/* How weights v become the odd integers u of the bit-planes (docs/formats.md section 2). */
typedef enum hd_encoding {
    HD_ENC_ODD,  /* u = v */
    HD_ENC_EVEN, /* u = v + 1, minus the sum of the activations */
    HD_ENC_MIXED /* u = 2v + 1, minus the sum; bias and shift follow the doubled accumulator */
} hd_encoding;

/* The walk of the fetch unit over one tensor, in pixels. An expanded input is walked as a 1x1 convolution. */
typedef struct hd_walk {
    uint32_t in_h, in_w, words; /* input pixels, words per pixel */
    uint32_t kh, kw, sy, sx, dy, dx, out_h, out_w;
    int32_t iy0, ix0;
} hd_walk;

/* The part of a layer that one descriptor computes: output channels o0..o1-1 from words cb0..cb0+ncb-1 of each pixel. */
typedef struct hd_slice {
    uint32_t o0, o1, cb0, ncb;
    uint32_t words;     /* window words that the stream addresses: kh*kw*ncb */
    uint32_t res_n;     /* residual words behind them */
    uint32_t tile;      /* channels per tile; 1 when a channel needs several tiles */
    uint32_t parts;     /* tiles per channel */
    uint32_t tile_cols; /* columns of a full tile */
    uint32_t nch;       /* channels with pacing */
    uint64_t steps;     /* stream entries */
} hd_slice;

typedef struct hd_plan {
    const hd_stage *s;
    hd_stage *turned;     /* s where it is not the model's stage, else NULL (owned; its arrays are the model's) */
    const hd_model *m;
    const hd_geometry *g;
    hd_walk walk;
    int expanded;
    uint32_t cin, taps, cpg, opg; /* input channels, window pixels, inputs and outputs of a group */
    hd_encoding encoding;
    uint32_t bits;   /* B, as the weights need it */
    uint32_t planes; /* B as stored: cpc * PLANES */
    uint32_t cpc;
    uint32_t n_slices;
    hd_slice *slice;
    uint64_t cycles; /* estimate, to choose between plans */
} hd_plan;

/* Without the rows' activation sums (SUMS 0) a further entry of weights -1 for each window word subtracts what EVEN would. */
static inline int hd_plan_subtracts(const hd_plan *p) {
    return p->encoding != HD_ENC_ODD && !p->g->sums;
}

/* What one lane of one window word is to output channel oc. */
typedef enum hd_lane {
    HD_LANE_PAD,  /* no input channel: holds the zero point */
    HD_LANE_FREE, /* an input of another group: no weight, but real data */
    HD_LANE_WEIGHT
} hd_lane;
hd_lane hd_plan_weight(const hd_plan *p, const hd_slice *sl, uint32_t oc, uint32_t word, uint32_t lane, int *v);

/* Which window words of each output channel of a slice hold a non-zero weight (any) and only non-zero weights (full). With gather each pair of
 * lanes has a list of its own, else all lanes have one. */
typedef struct hd_bitmap {
    uint32_t lists, lanes; /* lists a channel, lanes that one speaks of */
    uint32_t per, stride;  /* 64-bit words a list, a channel */
    uint64_t *any, *full;
    uint32_t *pad;         /* [lists] the first word in which all the list's lanes are HD_LANE_PAD, or HD_NO_WORD */
} hd_bitmap;
#define HD_NO_WORD UINT32_MAX
hd_status hd_bitmap_make(hd_bitmap *b, const hd_plan *p, const hd_slice *sl, hd_err *err);
void hd_bitmap_free(hd_bitmap *b);
/* Window words with weights of channels c0..c1-1 (counted within the slice) into `set` (stride words); returns how many the longest list has. */
uint32_t hd_bitmap_tile(const hd_bitmap *b, uint32_t c0, uint32_t c1, uint64_t *set);
/* Window words of one list of `set`. */
uint32_t hd_bitmap_list(const hd_bitmap *b, uint32_t list, const uint64_t *set);

/* expand: plan the layer for an expanded input. thin: a layer whose channels are all alike, as an average's, goes in slices of one word, which share stream and parameters. */
hd_status hd_plan_make(hd_plan *out, const hd_model *m, const hd_stage *s, const hd_geometry *g, int expand, int thin, hd_err *err);
void hd_plan_free(hd_plan *p);
/* Does every number of the stage fit its descriptor field? */
hd_status hd_check_fields(const hd_model *m, const hd_stage *s, int expand, hd_err *err);
/* "layer 'NAME' needs NEED THING; geometry RxCxLxP has HAVE" as HD_NOFIT. */
hd_status hd_nofit(const hd_geometry *g, const char *layer, uint64_t need, const char *thing, uint64_t have, hd_err *err);

/* Addresses of tensors in activation words; words[t] = 0 marks a tensor without memory. */
typedef struct hd_lifetime {
    uint64_t words;
    int first, last; /* stages between which the tensor must stay */
    uint64_t address;
} hd_lifetime;
/* Places all tensors so that none overlaps another that lives at the same time; returns the words needed. */
uint64_t hd_place(hd_lifetime *t, int n);

/* Growing arrays of a program under construction. */
typedef struct hd_emit {
    hd_program *p;
    uint32_t cap_desc, cap_stream, cap_param, cap_table;
    uint32_t slice_first; /* first stream entry of the slice under construction */
    uint32_t param_end;   /* parameters that the slices up to now read, those of pacing channels included */
} hd_emit;
/* stride: words from one pixel of the output tensor to the next. */
hd_status hd_emit_conv(hd_emit *e, const hd_plan *pl, uint32_t in, uint32_t res, uint32_t out, uint32_t stride, hd_layer_info *info, hd_err *err);
hd_status hd_emit_maxpool(hd_emit *e, const hd_model *m, const hd_stage *s, uint32_t in, uint32_t out, hd_layer_info *info, hd_err *err);
hd_status hd_emit_end(hd_emit *e, hd_err *err);
/* Appends one entry with an all-zero weight word and returns its index in *at. */
hd_status hd_emit_entry(hd_emit *e, const char *layer, uint32_t *at, hd_err *err);
hd_status hd_emit_params(hd_emit *e, const char *layer, uint32_t n, uint32_t *at, hd_err *err);
/* Stream and parameters of one slice: *first..*last entries, *param the first parameter. */
hd_status hd_encode_slice(hd_emit *e, const hd_plan *pl, const hd_slice *sl, uint32_t *first, uint32_t *last, uint32_t *param, hd_layer_info *info,
                          uint64_t *zeros, uint64_t *zeros_absent, hd_err *err);

/* With external memory: the program's stream as its words, coded where a code says a layer's weights (not with `raw`), and the check that they are that.
 * m: the program's layers are its stages. */
hd_status hd_external_make(hd_program *p, const hd_model *m, int raw, hd_err *err);
hd_status hd_external_check(const hd_program *p, hd_err *err);

static inline uint32_t hd_ceil_div(uint32_t a, uint32_t b) {
    return a / b + (a % b != 0);
}
#endif
