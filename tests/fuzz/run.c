/* What passed a reader runs: a file that is taken must not break what comes after the reader either. */
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../../drivers/predict.h"
#include "../../sw/runtime/runtime.h"
#include "fuzz.h"

enum { MOST_ELEMENTS = 1 << 16, MOST_WORK = 1 << 21, MOST_BYTES = 1 << 24 };

/* Values that cover the codes' range without being all alike. */
static void fill_codes(int8_t *to, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = (int8_t)(i * 37 + 11);
}

/* Multiply-adds of a node or stage, saturated. */
static size_t work_of(size_t positions, int kh, int kw, size_t inputs, size_t outputs) {
    double w = (double)positions * kh * kw * (double)inputs * (double)outputs;
    return w < MOST_WORK ? (size_t)w : MOST_WORK;
}

void fuzz_run_graph(const hd_graph *g) {
    hd_err err = {0};
    hd_exec *e = NULL;
    hd_model *m = NULL;
    size_t elements = 0, work = 0;
    fuzz_expect(hd_graph_check(g, &err) == HD_OK, "an imported network does not pass its check: %s", err.message);
    for (int t = 0; t < g->n_tensors && elements < MOST_ELEMENTS; t++) {
        size_t n = hd_shape_size(g->tensor[t].shape);
        elements += n < MOST_ELEMENTS ? n : MOST_ELEMENTS;
    }
    for (int k = 0; k < g->n_nodes && work < MOST_WORK; k++) {
        const hd_node *n = &g->node[k];
        hd_shape y = g->tensor[n->output].shape;
        if (n->op == HD_OP_CONV2D) work += work_of((size_t)y.h * (size_t)y.w, n->kh, n->kw, (size_t)(n->cin / n->groups), (size_t)n->cout);
        else if (n->op == HD_OP_FC) work += work_of(1, 1, 1, (size_t)n->cin, (size_t)n->cout);
        else work += work_of((size_t)y.h * (size_t)y.w, n->kh > 0 ? n->kh : 1, n->kw > 0 ? n->kw : 1, 1, (size_t)y.c);
    }
    if (elements >= MOST_ELEMENTS || work >= MOST_WORK) return;
    if (FUZZ_GOOD(hd_exec_new(&e, g, &err), &err, e)) {
        size_t n = hd_shape_size(g->tensor[g->input].shape);
        float *x = malloc(n * sizeof *x);
        for (size_t i = 0; x && i < n; i++) x[i] = (float)((int)(i % 7) - 3) / 4;
        if (x) hd_exec_run(e, x);
        free(x);
        hd_exec_free(e);
    }
    if (g->tensor[g->input].scale > 0 && FUZZ_GOOD(hd_compress_kept(&m, g, &err), &err, m)) fuzz_run_model(m);
    hd_model_free(m);
}

static size_t model_work(const hd_model *m) {
    size_t work = 0, elements = 0;
    for (int t = 0; t < m->n_tensors && elements < MOST_ELEMENTS; t++) elements += work_of((size_t)m->tensor[t].h * (size_t)m->tensor[t].w, 1, 1, 1, (size_t)m->tensor[t].c);
    for (int k = 0; k < m->n_stages && work < MOST_WORK; k++) {
        const hd_stage *s = &m->stage[k];
        const hd_qtensor *y = &m->tensor[s->output];
        work += work_of((size_t)y->h * (size_t)y->w, s->kh, s->kw, s->kind == HD_STAGE_CONV ? (size_t)(s->cin / s->groups) : 1, (size_t)y->c);
    }
    return elements < MOST_ELEMENTS ? work : MOST_WORK;
}

static void same_when_written(const hd_model *m) {
    hd_writer a = {0}, b = {0};
    hd_model *again = NULL;
    hd_err err = {0};
    fuzz_expect(hd_model_write(&a, m, &err) == HD_OK, "a model that was read cannot be written: %s", err.message);
    hd_reader r = {.data = a.data, .size = a.size};
    fuzz_expect(hd_model_read(&again, &r, "again", &err) == HD_OK, "a model that was written cannot be read: %s", err.message);
    fuzz_expect(hd_model_write(&b, again, &err) == HD_OK && a.size == b.size && !memcmp(a.data, b.data, a.size), "a model is written in two forms");
    hd_model_free(again);
    hd_writer_free(&a);
    hd_writer_free(&b);
}

static size_t device_bytes(const hd_geometry *g) {
    return (size_t)g->act_words * g->lanes + (size_t)g->stream_words * (4 + 4 * hd_geometry_weight_words(g)) + (g->extern_log2 ? (size_t)4 << g->extern_log2 : 0);
}

/* p on ref: outputs into `output`, which may be NULL. */
static void run_on_ref(const hd_program *p, const int8_t *input, int8_t *output) {
    hd_session *s = NULL;
    hd_prediction *predicted = NULL;
    hd_err err = {0};
    uint64_t cycles = 0;
    fuzz_expect(hd_predict(&predicted, p, &err) == HD_OK, "a checked program has no prediction: %s", err.message);
    /* A run's work is its cycles; a legal program may take 2^32 of them. */
    if (predicted->cycles < MOST_WORK / 4) {
        fuzz_expect(hd_session_open(&s, p, &hd_driver_ref, NULL, &err) == HD_OK, "a checked program is refused: %s", err.message);
        fuzz_expect(hd_session_run(s, input, output, &err) == HD_OK, "a checked program fails: %s", err.message);
        fuzz_expect(hd_session_cycles(s, &cycles, &err) == HD_OK && cycles == predicted->cycles, "%llu cycles, %llu predicted", (unsigned long long)cycles,
                    (unsigned long long)predicted->cycles);
        hd_session_close(s);
    }
    hd_prediction_free(predicted);
}

void fuzz_run_program(const hd_program *p) {
    size_t n_in = (size_t)p->input.h * p->input.w * p->input.c, n_out = (size_t)p->output.h * p->output.w * p->output.c;
    if (device_bytes(&p->geometry) > MOST_BYTES || n_in > MOST_BYTES || n_out > MOST_BYTES) return;
    int8_t *in = malloc(n_in + 1), *out = malloc(n_out + 1);
    if (in && out) {
        fill_codes(in, n_in);
        run_on_ref(p, in, out);
    }
    free(in);
    free(out);
}

/* Compiled for one small array; outputs of ref and of the executor are the same bytes. */
static void compile(const hd_model *m, const int8_t *input, const int8_t *want, size_t n_out) {
    hd_geometry g;
    hd_program *p = NULL;
    hd_err err = {0};
    fuzz_expect(!hd_geometry_parse(&g, "2x4x8x2", &err) && !hd_geometry_memory(&g, "act=4096,window=256,stream=8192,param=1024,descriptors=64", &err), "%s", err.message);
    if (!FUZZ_GOOD(hd_lower(&p, m, &g, NULL, &err), &err, p)) return;
    hd_prediction *predicted = NULL;
    int8_t *out = malloc(n_out + 1);
    fuzz_expect(hd_predict(&predicted, p, &err) == HD_OK, "a compiled program has no prediction: %s", err.message);
    if (out && predicted->cycles < MOST_WORK / 4) {
        run_on_ref(p, input, out);
        fuzz_expect(!memcmp(out, want, n_out), "ref and executor differ");
    }
    hd_prediction_free(predicted);
    free(out);
    hd_program_free(p);
}

void fuzz_run_model(const hd_model *m) {
    hd_integer *e = NULL;
    hd_err err = {0};
    fuzz_expect(hd_model_check(m, &err) == HD_OK, "a model that was read does not pass its check: %s", err.message);
    if (model_work(m) >= MOST_WORK) return;
    same_when_written(m);
    if (!FUZZ_GOOD(hd_integer_new(&e, m, &err), &err, e)) return;
    const hd_qtensor *x = &m->tensor[m->input], *y = &m->tensor[m->output];
    size_t n_in = (size_t)x->h * (size_t)x->w * (size_t)x->c;
    int8_t *in = malloc(n_in + 1);
    if (in) {
        fill_codes(in, n_in);
        hd_integer_run(e, in);
        compile(m, in, hd_integer_tensor(e, m->output), (size_t)y->h * (size_t)y->w * (size_t)y->c);
    }
    free(in);
    hd_integer_free(e);
}

void fuzz_run_llama(const hd_llama *m) {
    hd_llama_state *s = NULL;
    hd_err err = {0};
    double work = (double)m->vocab * m->dim + (double)m->layers * m->dim * (4.0 * m->dim + 3.0 * m->hidden), cache = (double)m->layers * m->max_tokens * m->dim;
    if (work >= MOST_WORK || cache >= MOST_BYTES) return;
    if (!FUZZ_GOOD(hd_llama_state_new(&s, m, &err), &err, s)) return;
    for (int at = 0; at < 3 && at < m->max_tokens; at++) fuzz_expect(hd_llama_step(s, at % m->vocab, at) != NULL, "a step without logits");
    hd_llama_state_free(s);
}

void fuzz_run_tokenizer(const hd_tokenizer *t, int vocab, const char *text) {
    int16_t token[512];
    hd_err err = {0};
    for (int k = 0; k < vocab; k++) {
        size_t n;
        const char *piece = hd_tokenizer_piece(t, k % 2 ? HD_TOKEN_BOS : HD_TOKEN_EOS, k, &n);
        unsigned sum = 0;
        for (size_t i = 0; i < n; i++) sum += (unsigned char)piece[i];
        fuzz_expect(sum <= 255 * n, "a piece of %zu bytes", n);
    }
    int n = hd_tokenizer_encode(t, text, token, 512, &err);
    fuzz_expect(n >= 0 ? n <= 512 : err.message[0] != 0, "encoding gives %d", n);
    for (int k = 0; k < n; k++) fuzz_expect(token[k] >= 0 && token[k] < vocab, "token %d of a vocabulary of %d", token[k], vocab);
}

/* Zeros of an input's type; open sizes are 2. */
static int make_input(hd_nd *v, const hd_host_port *p) {
    int64_t dim[HD_ND_MAX_RANK];
    if (p->type == HD_TYPE_NONE || p->rank > HD_ND_MAX_RANK) return 0;
    for (int k = 0; k < p->rank; k++) dim[k] = p->dim[k] < 0 ? 2 : p->dim[k];
    return hd_nd_new(v, p->type, p->rank < 0 ? 0 : p->rank, dim, 1 << 20, NULL) == HD_OK;
}

hd_status fuzz_run_host(hd_host *h) {
    int n_in = hd_host_n_inputs(h), n_out = hd_host_n_outputs(h);
    hd_err err = {0};
    hd_nd *in = calloc((size_t)n_in + 1, sizeof *in), *out = calloc((size_t)n_out + 1, sizeof *out);
    fuzz_expect(in && out, "no memory for %d inputs and %d outputs", n_in, n_out);
    hd_host_set_limits(h, (hd_host_limits){(size_t)1 << 22, 2e6});
    for (int k = 0; k < n_in; k++)
        if (!make_input(&in[k], hd_host_input(h, k))) in[k] = (hd_nd){0};
    hd_status s = hd_host_run(h, in, out, NULL, &err);
    fuzz_expect(s == HD_OK || (s == err.code && err.message[0]), "status %d without a message", (int)s);
    for (int k = 0; k < n_in; k++) hd_nd_free(&in[k]);
    for (int k = 0; k < n_out; k++) hd_nd_free(&out[k]);
    free(in);
    free(out);
    return s;
}
