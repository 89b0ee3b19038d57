/* If, Loop and Scan: graphs inside of nodes. */
#include <stdlib.h>
#include <string.h>

#include "call.h"

static hd_status truth(hd_call *c, const hd_nd *v, int *out) {
    if (v->kind != HD_ND_TENSOR || v->type != HD_TYPE_BOOL || v->count != 1) return hd_call_fail(c, HD_MISMATCH, "a condition is one bool");
    *out = *(const uint8_t *)v->data != 0;
    return HD_OK;
}

hd_status hd_op_if(hd_call *c) {
    int yes = 0;
    HD_TRY(truth(c, c->in[0], &yes));
    return hd_call_body(c, yes ? "then_branch" : "else_branch", NULL, 0, c->out, c->n_out);
}

static void release(hd_nd *v, size_t n) {
    for (size_t k = 0; v && k < n; k++) hd_nd_free(&v[k]);
}

/* n tensors of one shape and type stacked along a new axis (or, for no tensor, a list of length 0). */
static hd_status stack(hd_call *c, int k, const hd_nd *v, size_t n, int axis, int reverse) {
    int64_t dim[HD_ND_MAX_RANK] = {(int64_t)n};
    int rank = 1;
    if (n) {
        /* Of strings only the addresses would be copied. */
        if (v[0].type == HD_TYPE_STRING) return hd_call_fail(c, HD_UNSUPPORTED, "an output of strings cannot be stacked");
        rank = v[0].rank + 1;
        if (rank > HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "gives %d dimensions; at most %d are allowed", rank, HD_ND_MAX_RANK);
        if (axis < 0) axis += rank;
        if (axis < 0 || axis >= rank) return hd_call_fail(c, HD_RANGE, "axis %d of %d dimensions", axis, rank);
        for (int j = 0, from = 0; j < rank; j++) dim[j] = j == axis ? (int64_t)n : v[0].dim[from++];
    }
    HD_TRY(hd_out(c, k, n ? v[0].type : HD_TYPE_F32, rank, dim));
    size_t before, along, after;
    hd_split_at(&c->out[k], axis, &before, &along, &after);
    size_t bytes = after * hd_type_size(c->out[k].type);
    for (size_t j = 0; j < n; j++) {
        const hd_nd *from = &v[reverse ? n - 1 - j : j];
        if (from->kind != HD_ND_TENSOR || from->type != v[0].type || !hd_nd_same_shape(from, &v[0])) return hd_call_fail(c, HD_MISMATCH, "an output changes its shape from step to step");
        for (size_t b = 0; bytes && b < before; b++) memcpy((char *)c->out[k].data + (b * along + j) * bytes, (const char *)from->data + b * bytes, bytes);
    }
    return HD_OK;
}

/* What a loop keeps while it runs: states of the body, and everything it gave for the outputs that are stacked. */
typedef struct kept {
    int n_states, n_scans;
    size_t steps, capacity;
    double bytes; /* of the scans */
    hd_nd *state, *made;
    hd_nd *scan; /* [steps][n_scans] */
} kept;

static hd_status keep_begin(kept *k, hd_call *c, int n_states, int n_scans) {
    *k = (kept){.n_states = n_states, .n_scans = n_scans};
    k->state = hd_call_memory(c, (size_t)n_states + 2, sizeof *k->state);
    k->made = k->state ? hd_call_memory(c, (size_t)(n_states + n_scans) + 2, sizeof *k->made) : NULL;
    return k->made ? HD_OK : HD_NOMEM;
}

static void keep_end(kept *k) {
    release(k->state, (size_t)k->n_states);
    release(k->scan, k->steps * (size_t)k->n_scans);
    free(k->scan);
}

/* Takes over made[from..]: new states, then what is stacked. */
static hd_status keep_step(kept *k, hd_call *c, int from) {
    for (int j = 0; j < k->n_states; j++) {
        hd_nd_free(&k->state[j]);
        k->state[j] = k->made[from + j];
        k->made[from + j] = (hd_nd){0};
    }
    if (k->n_scans && k->steps == k->capacity) {
        size_t more = k->capacity ? 2 * k->capacity : 16;
        hd_nd *grown = realloc(k->scan, more * (size_t)k->n_scans * sizeof *grown);
        if (!grown) {
            release(k->made + from, (size_t)(k->n_states + k->n_scans));
            return hd_call_fail(c, HD_NOMEM, "no memory for %zu steps", more);
        }
        k->scan = grown;
        k->capacity = more;
    }
    for (int j = 0; j < k->n_scans; j++) {
        k->scan[k->steps * (size_t)k->n_scans + (size_t)j] = k->made[from + k->n_states + j];
        k->made[from + k->n_states + j] = (hd_nd){0};
        const hd_nd *v = &k->scan[k->steps * (size_t)k->n_scans + (size_t)j];
        k->bytes += (double)sizeof *v + (double)v->count * (double)hd_type_size(v->type);
    }
    k->steps++;
    /* They are to be one tensor for each output; without end they would fill the memory first. */
    if (k->bytes > (double)hd_limit(c) * k->n_scans) return hd_call_fail(c, HD_RANGE, "%zu steps give more than %zu bytes an output, the most that is allowed", k->steps, hd_limit(c));
    return HD_OK;
}

static hd_status keep_outputs(kept *k, hd_call *c, const int64_t *axes, const int64_t *directions) {
    for (int j = 0; j < k->n_states && j < c->n_out; j++) {
        c->out[j] = k->state[j];
        k->state[j] = (hd_nd){0};
    }
    hd_nd *column = hd_call_memory(c, k->steps, sizeof *column);
    if (!column) return HD_NOMEM;
    for (int j = 0; j < k->n_scans && k->n_states + j < c->n_out; j++) {
        for (size_t t = 0; t < k->steps; t++) column[t] = k->scan[t * (size_t)k->n_scans + (size_t)j];
        HD_TRY(stack(c, k->n_states + j, column, k->steps, axes ? (int)axes[j] : 0, directions ? directions[j] != 0 : 0));
    }
    return HD_OK;
}

hd_status hd_op_loop(hd_call *c) {
    int64_t most = INT64_MAX;
    int go = 1, states = c->n_in - 2, outputs = hd_body_outputs(c, "body");
    if (states < 0) return hd_call_fail(c, HD_FORMAT, "%d inputs; a trip count and a condition, which may be left out, come before the states", c->n_in);
    if (c->in[0]) {
        if (c->in[0]->kind != HD_ND_TENSOR || c->in[0]->count != 1 || c->in[0]->type != HD_TYPE_I64) return hd_call_fail(c, HD_MISMATCH, "the trip count is not one int64");
        most = *(const int64_t *)c->in[0]->data;
    }
    if (c->in[1]) HD_TRY(truth(c, c->in[1], &go));
    if (outputs < 1 + states || outputs - 1 > HD_CALL_MAX_OUT) return hd_call_fail(c, HD_MISMATCH, "the body has %d outputs for %d states", outputs, states);
    kept k;
    HD_TRY(keep_begin(&k, c, states, outputs - 1 - states));
    for (int j = 0; j < states; j++)
        if (c->in[j + 2]) k.state[j] = hd_nd_share(c->in[j + 2]);
    hd_nd *in = hd_call_memory(c, (size_t)states + 2, sizeof *in);
    hd_status status = in ? HD_OK : HD_NOMEM;
    for (int64_t t = 0; status == HD_OK && go && t < most; t++) {
        status = hd_nd_new(&in[0], HD_TYPE_I64, 0, NULL, 64, c->err);
        if (status == HD_OK) status = hd_nd_new(&in[1], HD_TYPE_BOOL, 0, NULL, 64, c->err);
        if (status != HD_OK) break;
        *(int64_t *)in[0].data = t;
        *(uint8_t *)in[1].data = 1;
        for (int j = 0; j < states; j++) in[j + 2] = hd_nd_share(&k.state[j]);
        status = hd_call_body(c, "body", in, states + 2, k.made, outputs);
        if (status == HD_OK) status = truth(c, &k.made[0], &go);
        if (k.made) hd_nd_free(&k.made[0]);
        if (status == HD_OK) status = keep_step(&k, c, 1);
        else release(k.made, (size_t)outputs);
        if (status == HD_OK) status = hd_work(c, 1);
    }
    if (status == HD_OK) status = keep_outputs(&k, c, NULL, NULL);
    keep_end(&k);
    return status;
}

/* Step t of input v along `axis`, as a new tensor without it. */
static hd_status take(hd_call *c, const hd_nd *v, int axis, int64_t t, hd_nd *out) {
    int64_t dim[HD_ND_MAX_RANK];
    size_t before, along, after;
    hd_err err = {0};
    for (int k = 0, to = 0; k < v->rank; k++)
        if (k != axis) dim[to++] = v->dim[k];
    hd_split_at(v, axis, &before, &along, &after);
    hd_status status = hd_nd_new(out, v->type, v->rank - 1, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    size_t bytes = after * hd_type_size(v->type);
    for (size_t b = 0; bytes && b < before; b++) memcpy((char *)out->data + b * bytes, (const char *)v->data + (b * along + (size_t)t) * bytes, bytes);
    return HD_OK;
}

static hd_status scan_list(hd_call *c, const char *name, int n, const int64_t **list) {
    size_t count;
    *list = hd_attr_ints(c, name, &count);
    return *list && count != (size_t)n ? hd_call_fail(c, HD_MISMATCH, "attribute '%s' has %zu entries; %d are expected", name, count, n) : HD_OK;
}

static int scanned(const hd_call *c) {
    int64_t n = hd_attr_i(c, "num_scan_inputs", 0);
    return n < 0 || n > HD_CALL_MAX_IN ? 0 : (int)n;
}

/* The scan over in[0..n_in - 1]: states first. The form of operator set 8 gives one sample's. */
static hd_status scan(hd_call *c, const hd_nd *const *in, int n_in, kept *k) {
    int scans = scanned(c), states = n_in - scans, outputs = hd_body_outputs(c, "body");
    const int64_t *axes, *directions;
    if (scans < 1 || states < 0 || outputs < states) return hd_call_fail(c, HD_MISMATCH, "%d inputs are scanned of %d", scans, n_in);
    HD_TRY(scan_list(c, "scan_input_axes", scans, &axes));
    HD_TRY(scan_list(c, c->opset < 9 ? "directions" : "scan_input_directions", scans, &directions));
    HD_TRY(keep_begin(k, c, states, outputs - states));
    hd_nd *given = hd_call_memory(c, (size_t)n_in + 1, sizeof *given);
    int axis[HD_CALL_MAX_IN];
    int64_t steps = -1;
    if (!given) return HD_NOMEM;
    for (int j = 0; j < scans; j++) {
        const hd_nd *v = in[states + j];
        HD_TRY(hd_axis(c, axes ? axes[j] : 0, v->rank, &axis[j]));
        if (steps >= 0 && v->dim[axis[j]] != steps) return hd_call_fail(c, HD_MISMATCH, "scanned inputs of %lld and %lld steps", (long long)steps, (long long)v->dim[axis[j]]);
        steps = v->dim[axis[j]];
    }
    for (int j = 0; j < states; j++) k->state[j] = hd_nd_share(in[j]);
    hd_status status = HD_OK;
    for (int64_t t = 0; status == HD_OK && t < steps; t++) {
        for (int j = 0; j < states; j++) given[j] = hd_nd_share(&k->state[j]);
        for (int j = 0; status == HD_OK && j < scans; j++) status = take(c, in[states + j], axis[j], directions && directions[j] ? steps - 1 - t : t, &given[states + j]);
        if (status == HD_OK) status = hd_call_body(c, "body", given, n_in, k->made, outputs);
        else release(given, (size_t)n_in);
        if (status == HD_OK) status = keep_step(k, c, 0);
        if (status == HD_OK) status = hd_work(c, 1);
    }
    return status;
}

hd_status hd_op_scan(hd_call *c) {
    kept k = {0};
    int old = c->opset < 9, n_in = c->n_in - old, states = n_in - scanned(c), outputs = hd_body_outputs(c, "body");
    const int64_t *axes = NULL, *directions = NULL;
    for (int j = 0; j < n_in; j++)
        if (!c->in[j + old] || c->in[j + old]->kind != HD_ND_TENSOR) return hd_call_fail(c, HD_FORMAT, "input %d is missing", j + old);
    if (!old) {
        HD_TRY(scan_list(c, "scan_output_axes", outputs - states, &axes));
        HD_TRY(scan_list(c, "scan_output_directions", outputs - states, &directions));
        hd_status status = scan(c, c->in, n_in, &k);
        if (status == HD_OK) status = keep_outputs(&k, c, axes, directions);
        keep_end(&k);
        return status;
    }
    if (c->in[0]) return hd_call_fail(c, HD_UNSUPPORTED, "sequence lengths (operator set 8)");
    /* Every tensor has a batch axis in front: samples run one after the other. Only a batch of one is needed by exporters. */
    hd_nd sample[HD_CALL_MAX_IN];
    const hd_nd *in[HD_CALL_MAX_IN];
    for (int j = 0; j < n_in; j++) {
        sample[j] = *c->in[j + 1];
        if (sample[j].rank < 1 || sample[j].dim[0] != 1) return hd_call_fail(c, HD_UNSUPPORTED, "a batch other than 1 (operator set 8)");
        sample[j].rank--;
        memmove(sample[j].dim, sample[j].dim + 1, sizeof *sample[j].dim * (HD_ND_MAX_RANK - 1));
        in[j] = &sample[j];
    }
    hd_status status = scan(c, in, n_in, &k);
    if (status == HD_OK) status = keep_outputs(&k, c, NULL, NULL);
    keep_end(&k);
    for (int j = 0; status == HD_OK && j < c->n_out; j++) {
        if (c->out[j].rank == HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "gives too many dimensions");
        memmove(c->out[j].dim + 1, c->out[j].dim, sizeof *c->out[j].dim * (HD_ND_MAX_RANK - 1));
        c->out[j].dim[0] = 1;
        c->out[j].rank++;
    }
    return status;
}
