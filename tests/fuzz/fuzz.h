/* What the fuzz targets share. Each target is one file that calls the libraries as the program does with a stranger's bytes. Linked with libFuzzer (cmake -DHD_FUZZ=ON) it
 * searches; linked with replay.c it runs the inputs of a folder or pack once. docs/testing.md, "Fuzzing", says what counts as a bug. */
#ifndef FUZZ_H
#define FUZZ_H
#include <stddef.h>
#include <stdint.h>

#include "../../compiler/compress/model.h"
#include "../../compiler/graph/graph.h"
#include "../../compiler/graph/llama.h"
#include "../../compiler/lower/program.h"
#include "../../compiler/onnx/host.h"

/* Each target's. The bytes are lent; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- support.c */

/* The bytes as a file in memory; its path is lent until the next call with the same `slot` (0 or 1). */
const char *fuzz_file(int slot, const uint8_t *data, size_t size);
/* The same of a container (magic, version, size, checksum, payload), whose size and checksum are set right first: no search finds a CRC. */
const char *fuzz_container(const uint8_t *data, size_t size);
/* Ends the process with the text unless `truth`. */
void fuzz_expect(int truth, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A call that failed says so in err, and has made nothing; one that succeeded has. 1 for HD_OK. A macro, so that the call is over before `made` is looked at. */
#define FUZZ_GOOD(call, err, made) (fuzz_status = (call), fuzz_good(fuzz_status, err, made))
extern hd_status fuzz_status;
int fuzz_good(hd_status s, const hd_err *err, const void *made);

/* ---- run.c: what passed a reader runs, within bounds that keep an input to some milliseconds */

/* A float network: its check, one run, and what compress makes of it when its file is quantised. */
void fuzz_run_graph(const hd_graph *g);
/* An integer network: one form when written, the same outputs by the executor and by `ref` after compilation. */
void fuzz_run_model(const hd_model *m);
/* A program that passed its checker: ref runs it to an end, in the cycles predicted. */
void fuzz_run_program(const hd_program *p);
/* A language model: a few tokens. */
void fuzz_run_llama(const hd_llama *m);
/* Encodes `text` and asks for every piece. */
void fuzz_run_tokenizer(const hd_tokenizer *t, int vocab, const char *text);
/* An ONNX model on the host: zeros for its inputs, small limits; HD_RANGE may be one of these. */
hd_status fuzz_run_host(hd_host *h);
#endif
