/* Programs (.hdp) and the compiler that makes them: docs/formats.md sections 2, 3 and 5. */
#ifndef HD_PROGRAM_H
#define HD_PROGRAM_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/contract/contract.h"
#include "../../sw/core/err.h"
#include "../compress/model.h"

/* An instance of the accelerator. Rules: hd_geometry_check. */
typedef struct hd_geometry {
    uint32_t rows, cols, lanes, planes, hop, acc_bits, fetch, post, residual, pump, pool, slot, gather, sums, perf;
    uint32_t act_words, window_words, stream_words, param_words, descriptors, tables;
    uint32_t decode; /* sum of hd_code_unit of the codes that its external stream may use */
    uint32_t extern_log2, extern_mhz; /* 0, or log2 of the words of external memory behind the stream memory, and the clock its timing follows from */
} hd_geometry;

/* Can entries of a geometry stand in code `code` (HD_CODE_*)? Groups of eight lanes, whole channels, and two weight words for one of codes. */
static inline int hd_code_fits(int code, const hd_geometry *g) {
    uint32_t bits = g->cols * g->lanes * g->planes;
    return g->lanes >= 8 && bits % 64 == 0 && g->cols * g->planes % hd_code_planes(code) == 0;
}

/* rows 1..16 and <= lanes, cols 1..64, lanes a power of two 4..64, planes 1, 2 or 4; hop 1..cols, with hop < cols hop*lanes/pump*planes a multiple of 32;
 * acc_bits 16..32; fetch 1 or 2; post 0, 1, 2, 4, 8 or 16, rows*post not 1; residual 0 or 1; pool 0 or 1; pump 1, 2 or 4, lanes/pump 4 or more, above 1 only with fetch 1, pool 0, rows*post of 4 and more, and with slot 1 post of 4 and more and residual 0; slot 1, or lanes/2 with post, fetch 1, pool 0 and extern 0; gather 0, or 1 with pump 1, slot 1, extern 0 and an index memory of at most 2^24 host words; sums and perf 0 or 1, decode only with sums 1; memories powers of two: act 64..2^22, window 16..4096, stream 16..2^22, param 16..65536, descriptors 2..1024, tables 0..16;
 * extern 0 or 10..23, with it mhz 16..133, pump 1 and decode 0..7 (above 0: lanes 8 or more, cols*planes a multiple of 4, cols*lanes*planes of 64). */
hd_status hd_geometry_check(const hd_geometry *g, hd_err *err);
/* "4x8x8x2" (ROWSxCOLSxLANESxPLANES) and defaults for the rest: hop = smallest legal >= 8 (or cols), acc_bits 24, fetch 2, post 0, residual 1, pump 1, pool 1, slot 1, gather 0, sums 1, perf 1, act 65536, window 1024, stream
 * 262144 or, with wide weight words, what 32 Mbit of weights hold, param 8192, descriptors 256, tables 4. */
hd_status hd_geometry_parse(hd_geometry *g, const char *text, hd_err *err);
/* Overrides from "act=4096,window=256,stream=8192,param=512,descriptors=64,tables=2,hop=8,acc=20,fetch=1,post=4,residual=0,extern=20,mhz=50,decode=7,pump=1,pool=0,slot=1,gather=1,sums=1,perf=1". With
 * extern, mhz is 50 and stream 1024 unless named. */
hd_status hd_geometry_memory(hd_geometry *g, const char *text, hd_err *err);
/* The names that hd_geometry_memory knows, "act, window, ...", into out (n bytes), for help and messages. */
void hd_geometry_memory_names(char *out, size_t n);
/* Cycles of a column on the drain, and the smallest shift of a channel's requantisation. */
static inline uint32_t hd_geometry_drain(const hd_geometry *g) { return g->post ? g->rows * g->post : 1; }
/* Residual words of a position that the window memory, or with a shared post lane its own memory, has room for. */
static inline uint32_t hd_geometry_residual_words(const hd_geometry *g) { return !g->post ? 255 : g->window_words / 16 < 255 ? g->window_words / 16 : 255; }
/* Channels that post drains of a pass with `channels` real ones of `cpc` columns each: a lane each row writes a word every ROWS cycles, a narrow activation
 * memory takes each lane by itself. */
static inline uint32_t hd_geometry_drained(const hd_geometry *g, uint32_t channels, uint32_t cpc) {
    uint32_t n = channels % g->lanes, pace = (g->rows + cpc - 1) / cpc, upto = g->slot > 1 || pace > g->lanes ? g->lanes : pace;
    return n && upto > n ? channels + upto - n : channels;
}
static inline uint32_t hd_geometry_least_shift(const hd_geometry *g) { return g->post ? 17 : 1; }
/* Host words of an element of the weight memory, and of a stream entry: `pump` elements, one for each part of the lanes. */
static inline uint32_t hd_geometry_part_words(const hd_geometry *g) { return (g->cols * (g->lanes / g->pump) * g->planes + 31) / 32; }
/* Window addresses that a stream entry has beside its ADDRESS, one a pair of lanes; 0 without gather. And host words of an element of the index memory, of which the
 * addresses take two a word; elements are a power of two of words apart. */
static inline uint32_t hd_geometry_pairs(const hd_geometry *g) { return g->gather ? g->lanes / 2 : 0; }
static inline uint32_t hd_geometry_index_words(const hd_geometry *g) { return 1 + hd_geometry_pairs(g) / 2; }
static inline uint32_t hd_geometry_weight_words(const hd_geometry *g) { return g->pump * hd_geometry_part_words(g); }

typedef struct hd_port { /* input or output of a program */
    uint32_t h, w, c;
    float scale;
    int32_t zero;
    uint32_t address, stride; /* activation words; words per position */
    /* input only: */
    uint32_t expanded, kh, kw, sy, sx, dy, dx, out_h, out_w;
    int32_t pad_top, pad_left;
} hd_port;

typedef struct hd_layer_info {
    char *name;
    uint32_t first_desc, n_desc;
    uint64_t macs, useful_ops; /* of one inference: dense MACs; int8 x 1-bit ops over present array blocks, real channels only */
    uint32_t blocks, blocks_present;
    uint32_t planes;           /* B, before rounding up to PLANES; 0 for MAXPOOL */
    float zeros_used;          /* zero weights that sit in absent array blocks / all zero weights (1 when there are none) */
} hd_layer_info;

typedef struct hd_program {
    hd_geometry geometry; /* of the compiler's target; the memories are what the program needs, rounded up as a device must have */
    char *model, *board;
    hd_port input, output;
    uint32_t n_desc, n_stream, n_param, n_table, n_layers;
    uint32_t *desc;   /* n_desc * HD_DESC_WORDS, ends with END */
    uint16_t *index;  /* n_stream */
    uint16_t *pair;   /* n_stream * hd_geometry_pairs window words: with gather what each pair of lanes reads */
    uint32_t *weight; /* n_stream * hd_geometry_weight_words */
    uint32_t n_extern, *external; /* with extern: the same entries as words of external memory (docs/formats.md, "External stream"); else none */
    uint32_t *param;  /* n_param * 2 */
    uint8_t *table;   /* n_table * 256 */
    hd_layer_info *layer;
} hd_program;

typedef struct hd_lower_options {
    const char *board;  /* name or "" */
    int expand_input;   /* -1 the compiler decides, 0 never, 1 always where possible */
    int raw_stream;     /* 1: no codes in the external stream */
    int join_outputs;   /* 1: the outputs of all stages are the program's output, beside each other in each position, every one from a whole word on. The stages are convolutions
                         * of the model's input without residual, their outputs have one height and width */
} hd_lower_options;

hd_status hd_lower(hd_program **out, const hd_model *m, const hd_geometry *g, const hd_lower_options *o, hd_err *err);
void hd_program_free(hd_program *p);
hd_status hd_program_load(hd_program **out, const char *path, hd_err *err); /* ends with hd_program_check */
hd_status hd_program_save(const hd_program *p, const char *path, hd_err *err);
/* The payload alone, of a file that holds several; label stands in messages for the path. */
hd_status hd_program_read(hd_program **out, const hd_reader *payload, const char *label, hd_err *err);
hd_status hd_program_write(hd_writer *w, const hd_program *p, hd_err *err);
/* Every address, count and flag of every descriptor and stream entry inside the geometry's memories: a device never hangs on or
 * reads outside for a program that passes. */
hd_status hd_program_check(const hd_program *p, hd_err *err);
#endif
