/* What the suites on language models share: stories260K, calibrated and trained on rows 0..88 of its tokens, evaluated on rows 89..178. */
#ifndef HD_BENCH_LANGUAGE_H
#define HD_BENCH_LANGUAGE_H
#include "../../compiler/compress/lm.h"
#include "../core/idx.h"
#include "bench.h"

enum { HD_CALIBRATION_ROWS = 89, HD_EVALUATION_ROWS = 90, HD_ROW_TOKENS = 256, HD_ROW_STRIDE = HD_ROW_TOKENS + 1 };

typedef struct hd_language {
    hd_llama *m;
    hd_idx *idx;
    const int16_t *calibration, *evaluation; /* rows HD_ROW_STRIDE apart */
} hd_language;

/* Close also after a failure. */
hd_status hd_language_open(hd_language *r, hd_err *err);
void hd_language_close(hd_language *r);
/* Half of the processor time: seconds on two cores, whatever else the machine does. */
double hd_two_core_seconds(void);
/* Figures NAME, NAME.bpw and NAME.seconds: the cross-entropy of c over the evaluation rows against `reference`, and seconds against
 * `most` (in words: `limit`). */
hd_status hd_language_add(hd_figures *f, const hd_language *r, const hd_lm *c, const char *name, double reference, const char *compared, double seconds, double most,
                          const char *limit, hd_err *err);
/* Rows of the settings that train: suites compress and tune have them both. */
hd_status hd_bench_tuned_language(hd_figures *f, const hd_language *r, hd_err *err);
/* Rows bpw2_tuned. */
hd_status hd_bench_pv(hd_figures *f, const hd_language *r, hd_err *err);
/* bench_resnet8.c */
hd_status hd_bench_resnet8(hd_figures *f, hd_err *err);
#endif
