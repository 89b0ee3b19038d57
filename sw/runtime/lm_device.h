/* A language model on a device: one program for each run of its layers, all of them side by side in the device's memories, so that a token writes codes and
 * reads codes and no weight moves twice. docs/language.md, "On the array". */
#ifndef HD_LM_DEVICE_H
#define HD_LM_DEVICE_H
#include "../../compiler/lower/lm_lower.h"
#include "../../drivers/driver.h"

typedef struct hd_lm_device hd_lm_device;

/* What runs moved and took since the device was opened. Words have 32 bits. */
typedef struct hd_lm_device_use {
    uint64_t runs, cycles;                       /* cycles as the device counts them; 0 where hd_lm_device_counts is 0 */
    uint64_t in_words, out_words, program_words; /* codes written and read; descriptors and parameters written for runs */
    uint64_t frames;                             /* of the link (docs/link.md) that carry these words; RUN's come beside them */
} hd_lm_device_use;

/* Compiles m (lent) for g and loads it: weights once; parameters once if all have room, else each run's before it. Programs take as many tokens at once as the activation
 * memory holds, `most` at most. HD_NOFIT names what is too small; and what hd_lower and the driver fail with. */
hd_status hd_lm_device_open(hd_lm_device **out, const hd_lm_integer *m, const hd_geometry *g, const char *board, int most, const hd_driver *driver, const hd_device_options *o,
                           hd_err *err);
/* The same without a device: its programs alone, for hd_lm_device_predict. */
hd_status hd_lm_device_compile(hd_lm_device **out, const hd_lm_integer *m, const hd_geometry *g, const char *board, int most, hd_err *err);
void hd_lm_device_close(hd_lm_device *l);
/* Tokens that one run takes at most. */
int hd_lm_device_tokens(const hd_lm_device *l);
/* hd_lm_project: arg is the hd_lm_device. */
hd_status hd_lm_device_project(void *arg, int run, const int8_t *codes, int tokens, int8_t *out, hd_err *err);
void hd_lm_device_used(hd_lm_device_use *out, const hd_lm_device *l);
/* What all runs of a step of `tokens` tokens take, with logits of `wanted`: exact cycles, without a device, and the words that they move when nothing is left over from a
 * step of another size. */
hd_status hd_lm_device_predict(hd_lm_device_use *out, const hd_lm_device *l, int tokens, int wanted, hd_err *err);
/* Is a device of this driver asked for its cycles? Behind a link it would cost a round trip each run. */
static inline int hd_lm_device_counts(const hd_driver *driver) { return driver == &hd_driver_ref || driver == &hd_driver_sim; }
/* The device, lent: what only its driver can tell. */
hd_device *hd_lm_device_device(const hd_lm_device *l);
/* Program i of hd_lm_integer.runs, lent. */
const hd_program *hd_lm_device_program(const hd_lm_device *l, int i);
#endif
