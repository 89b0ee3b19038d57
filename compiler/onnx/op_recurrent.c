/* RNN, GRU and LSTM: one or two directions over a sequence. States are kept in double. */
#include <math.h>
#include <string.h>

#include "call.h"

typedef struct activation {
    char kind; /* 's' sigmoid, 't' tanh, 'r' relu, ... */
    double alpha, beta;
} activation;

typedef struct recurrent {
    char kind; /* 'R', 'G', 'L' */
    int64_t gates, steps, batch, in, hidden, directions, batch_first, linear_before_reset, input_forget;
    double clip;
    const double *x, *w, *r, *b, *h0, *c0, *peephole;
    const int64_t *length; /* NULL: all steps */
    activation act[6];
    double *y, *last_h, *last_c, *h, *c, *gate, *rec; /* h, c: [batch][hidden]; gate, rec: [gates * hidden] */
} recurrent;

static const struct named {
    const char *name;
    char kind;
    double alpha, beta;
} known[] = {
    {"Sigmoid", 's', 0, 0}, {"Tanh", 't', 0, 0}, {"Relu", 'r', 0, 0}, {"Affine", 'a', 1, 0}, {"LeakyRelu", 'l', 0.01, 0}, {"ThresholdedRelu", 'T', 1, 0},
    {"ScaledTanh", 'S', 1, 1}, {"HardSigmoid", 'h', 0.2, 0.5}, {"Elu", 'e', 1, 0}, {"Softsign", 'q', 0, 0}, {"Softplus", 'p', 0, 0},
};

static double apply(const activation *a, double x) {
    switch (a->kind) {
    case 's': return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
    case 't': return tanh(x);
    case 'r': return fmax(0, x);
    case 'a': return a->alpha * x + a->beta;
    case 'l': return x < 0 ? a->alpha * x : x;
    case 'T': return x > a->alpha ? x : 0;
    case 'S': return a->alpha * tanh(a->beta * x);
    case 'h': return fmax(0, fmin(1, a->alpha * x + a->beta));
    case 'e': return x < 0 ? a->alpha * expm1(x) : x;
    case 'q': return x / (1 + fabs(x));
    default: return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    }
}

static hd_status read_activations(recurrent *v, hd_call *c) {
    const Onnx__AttributeProto *names = hd_attribute(c, "activations"), *alpha = hd_attribute(c, "activation_alpha"), *beta = hd_attribute(c, "activation_beta");
    static const char *const usual[] = {"RTT", "GST", "LSTT"};
    int64_t each = v->kind == 'L' ? 3 : v->kind == 'G' ? 2 : 1, n = each * v->directions;
    size_t a = 0, b = 0;
    if (names && names->n_strings != (size_t)n) return hd_call_fail(c, HD_MISMATCH, "%zu activations; %lld are expected", names->n_strings, (long long)n);
    for (int64_t k = 0; k < n; k++) {
        const struct named *found = NULL;
        char wanted = v->kind == 'L' ? usual[2][1 + k % 3] : v->kind == 'G' ? usual[1][1 + k % 2] : 'T';
        for (size_t j = 0; j < sizeof known / sizeof *known; j++) {
            if (names ? names->strings[k].len == strlen(known[j].name) && memcmp(names->strings[k].data, known[j].name, names->strings[k].len) == 0
                      : known[j].name[0] == wanted && known[j].name[1] != 'h')
                found = found ? found : &known[j];
        }
        if (!found) return hd_call_fail(c, HD_UNSUPPORTED, "activation %lld is not known", (long long)k);
        v->act[k] = (activation){found->kind, found->alpha, found->beta};
        int takes_alpha = strchr("alTShe", found->kind) != NULL, takes_beta = strchr("aSh", found->kind) != NULL;
        if (takes_alpha && alpha && a < alpha->n_floats) v->act[k].alpha = (double)alpha->floats[a++];
        if (takes_beta && beta && b < beta->n_floats) v->act[k].beta = (double)beta->floats[b++];
    }
    return HD_OK;
}

/* Input k as doubles of exactly the given dims; NULL where it is left out. */
static hd_status operand(hd_call *c, int k, int rank, const int64_t *dim, const double **out) {
    *out = NULL;
    if (k >= c->n_in || !c->in[k]) return HD_OK;
    int agree = c->in[k]->rank == rank;
    for (int j = 0; agree && j < rank; j++) agree = c->in[k]->dim[j] == dim[j];
    if (!agree) {
        char a[HD_ND_SHAPE_TEXT], b[HD_ND_SHAPE_TEXT];
        return hd_call_fail(c, HD_MISMATCH, "input %d is %s; %s is expected", k, hd_nd_shape_text(a, c->in[k]->rank, c->in[k]->dim), hd_nd_shape_text(b, rank, dim));
    }
    const hd_nd *v = hd_call_as(c, c->in[k], HD_TYPE_F64);
    if (!v) return HD_NOMEM;
    *out = v->data;
    return HD_OK;
}

static hd_status read_operands(recurrent *v, hd_call *c) {
    const hd_nd *x = c->in[0], *r = c->in[2];
    v->kind = c->op->name[0];
    v->gates = v->kind == 'L' ? 4 : v->kind == 'G' ? 3 : 1;
    v->batch_first = hd_attr_i(c, "layout", 0);
    if (x->rank != 3 || r->rank != 3) return hd_call_fail(c, HD_MISMATCH, "an input of %d dimensions; 3 are expected", x->rank);
    v->steps = x->dim[v->batch_first ? 1 : 0];
    v->batch = x->dim[v->batch_first ? 0 : 1];
    v->in = x->dim[2];
    v->hidden = hd_attr_i(c, "hidden_size", r->dim[2]);
    int both = hd_attr_is(c, "direction", "forward", "bidirectional");
    v->directions = both ? 2 : 1;
    v->linear_before_reset = hd_attr_i(c, "linear_before_reset", 0);
    v->input_forget = hd_attr_i(c, "input_forget", 0);
    v->clip = hd_attribute(c, "clip") ? (double)hd_attr_f(c, "clip", 0) : INFINITY;
    if (!both && !hd_attr_is(c, "direction", "forward", "forward") && !hd_attr_is(c, "direction", "forward", "reverse")) return hd_call_fail(c, HD_FORMAT, "attribute direction is none of forward, reverse and bidirectional");
    if (v->hidden < 0 || v->hidden > 1 << 24) return hd_call_fail(c, HD_RANGE, "hidden_size %lld", (long long)v->hidden);
    int64_t d = v->directions, gh = v->gates * v->hidden, first = v->batch_first ? v->batch : d, second = v->batch_first ? d : v->batch;
    HD_TRY(operand(c, 0, 3, x->dim, &v->x));
    HD_TRY(operand(c, 1, 3, (const int64_t[]){d, gh, v->in}, &v->w));
    HD_TRY(operand(c, 2, 3, (const int64_t[]){d, gh, v->hidden}, &v->r));
    HD_TRY(operand(c, 3, 2, (const int64_t[]){d, 2 * gh}, &v->b));
    HD_TRY(operand(c, 5, 3, (const int64_t[]){first, second, v->hidden}, &v->h0));
    if (v->kind == 'L') HD_TRY(operand(c, 6, 3, (const int64_t[]){first, second, v->hidden}, &v->c0));
    if (v->kind == 'L') HD_TRY(operand(c, 7, 2, (const int64_t[]){d, 3 * v->hidden}, &v->peephole));
    size_t n;
    HD_TRY(hd_in_ints(c, 4, &v->length, &n));
    if (v->length && n != (size_t)v->batch) return hd_call_fail(c, HD_MISMATCH, "%zu sequence lengths for a batch of %lld", n, (long long)v->batch);
    for (size_t k = 0; v->length && k < n; k++)
        if (v->length[k] < 0 || v->length[k] > v->steps) return hd_call_fail(c, HD_RANGE, "a sequence length of %lld; there are %lld steps", (long long)v->length[k], (long long)v->steps);
    return read_activations(v, c);
}

static double clipped(const recurrent *v, double x) { return x > v->clip ? v->clip : x < -v->clip ? -v->clip : x; }

/* One step of sequence b: the state h (and c) of it moves on. */
static void step(const recurrent *v, int64_t d, int64_t b, const double *x) {
    int64_t n = v->hidden, gh = v->gates * n;
    double *h = v->h + b * n, *cell = v->c + b * n, *g = v->gate, *rec = v->rec;
    const double *w = v->w + d * gh * v->in, *r = v->r + d * gh * n, *bias = v->b ? v->b + d * 2 * gh : NULL, *p = v->peephole ? v->peephole + d * 3 * n : NULL;
    const activation *f = v->act + d * (v->kind == 'L' ? 3 : v->kind == 'G' ? 2 : 1);
    for (int64_t k = 0; k < gh; k++) {
        double from_x = bias ? bias[k] : 0, from_h = bias ? bias[gh + k] : 0;
        for (int64_t j = 0; j < v->in; j++) from_x += w[k * v->in + j] * x[j];
        for (int64_t j = 0; j < n; j++) from_h += r[k * n + j] * h[j];
        g[k] = from_x;
        rec[k] = from_h;
    }
    if (v->kind == 'R') {
        for (int64_t k = 0; k < n; k++) h[k] = apply(&f[0], clipped(v, g[k] + rec[k]));
    } else if (v->kind == 'L') { /* gates in the order i, o, f, c */
        for (int64_t k = 0; k < n; k++) {
            double i = apply(&f[0], clipped(v, g[k] + rec[k] + (p ? p[k] * cell[k] : 0)));
            double forget = v->input_forget ? 1 - i : apply(&f[0], clipped(v, g[2 * n + k] + rec[2 * n + k] + (p ? p[2 * n + k] * cell[k] : 0)));
            double fresh = apply(&f[1], clipped(v, g[3 * n + k] + rec[3 * n + k]));
            cell[k] = forget * cell[k] + i * fresh;
            double o = apply(&f[0], clipped(v, g[n + k] + rec[n + k] + (p ? p[n + k] * cell[k] : 0)));
            h[k] = o * apply(&f[2], cell[k]);
        }
    } else { /* z, r, h */
        for (int64_t k = 0; k < 2 * n; k++) g[k] = apply(&f[0], clipped(v, g[k] + rec[k]));
        for (int64_t k = 0; k < n; k++) {
            double hidden = rec[2 * n + k];
            if (!v->linear_before_reset) {
                hidden = bias ? bias[gh + 2 * n + k] : 0;
                for (int64_t j = 0; j < n; j++) hidden += r[(2 * n + k) * n + j] * g[n + j] * h[j];
            } else hidden *= g[n + k];
            rec[k] = apply(&f[1], clipped(v, g[2 * n + k] + hidden));
        }
        for (int64_t k = 0; k < n; k++) h[k] = (1 - g[k]) * rec[k] + g[k] * h[k];
    }
}

/* Position of a state [direction][batch] (or the other way round), in vectors. */
static int64_t state_at(const recurrent *v, int64_t d, int64_t b) { return v->batch_first ? b * v->directions + d : d * v->batch + b; }

static void run_direction(const recurrent *v, int64_t d, int reverse) {
    size_t bytes = (size_t)v->hidden * sizeof(double);
    for (int64_t b = 0; b < v->batch; b++) {
        double *h = v->h + b * v->hidden, *cell = v->c + b * v->hidden;
        for (int64_t k = 0; k < v->hidden; k++) {
            h[k] = v->h0 ? v->h0[state_at(v, d, b) * v->hidden + k] : 0;
            cell[k] = v->c0 ? v->c0[state_at(v, d, b) * v->hidden + k] : 0;
        }
        int64_t n = v->length ? v->length[b] : v->steps;
        for (int64_t t = 0; t < n; t++) {
            int64_t at = reverse ? n - 1 - t : t;
            step(v, d, b, v->x + (v->batch_first ? b * v->steps + at : at * v->batch + b) * v->in);
            int64_t row = v->batch_first ? (b * v->steps + at) * v->directions + d : (at * v->directions + d) * v->batch + b;
            if (bytes) memcpy(v->y + row * v->hidden, h, bytes);
        }
        if (!bytes) continue;
        memcpy(v->last_h + state_at(v, d, b) * v->hidden, h, bytes);
        memcpy(v->last_c + state_at(v, d, b) * v->hidden, cell, bytes);
    }
}

static hd_status give(hd_call *c, int k, const double *values, int rank, const int64_t *dim) {
    if (k >= c->n_out) return HD_OK;
    hd_nd v;
    hd_err err = {0};
    hd_status status = hd_nd_new(&v, HD_TYPE_F64, rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    if (v.count) memcpy(v.data, values, v.count * sizeof *values);
    return hd_out_cast(c, k, &v, c->in[0]->type);
}

hd_status hd_op_recurrent(hd_call *c) {
    recurrent v = {0};
    HD_TRY(read_operands(&v, c));
    size_t d = (size_t)v.directions, b = (size_t)v.batch, h = (size_t)v.hidden;
    HD_TRY(hd_work(c, (double)d * (double)b * (double)(v.steps ? v.steps : 1) * (double)v.gates * (double)h * (double)(v.in + v.hidden)));
    double **room[] = {&v.y, &v.last_h, &v.last_c, &v.h, &v.c, &v.gate, &v.rec};
    size_t size[] = {(size_t)v.steps * d * b * h, d * b * h, d * b * h, b * h, b * h, (size_t)v.gates * h, (size_t)v.gates * h};
    for (int k = 0; k < 7; k++) {
        *room[k] = hd_call_memory(c, size[k], sizeof(double));
        if (!*room[k]) return HD_NOMEM;
    }
    int reverse = hd_attr_is(c, "direction", "forward", "reverse");
    for (int64_t k = 0; k < v.directions; k++) run_direction(&v, k, reverse || k == 1);
    int64_t all[4] = {v.steps, v.directions, v.batch, v.hidden}, all_first[4] = {v.batch, v.steps, v.directions, v.hidden};
    int64_t last[3] = {v.directions, v.batch, v.hidden}, last_first[3] = {v.batch, v.directions, v.hidden};
    HD_TRY(give(c, 0, v.y, 4, v.batch_first ? all_first : all));
    HD_TRY(give(c, 1, v.last_h, 3, v.batch_first ? last_first : last));
    return v.kind == 'L' ? give(c, 2, v.last_c, 3, v.batch_first ? last_first : last) : HD_OK;
}
