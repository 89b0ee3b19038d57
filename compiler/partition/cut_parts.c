/* Which nodes go where.
 *
 * From every node that is not placed yet a piece is grown: nodes are added, in order, whose inputs are the piece's one input or its own results,
 * as long as the importer takes what leads to them. Of all nodes of the piece that could be its only output, the one with the most work behind it
 * ends it. A piece without a layer with weights is not worth the way to the array and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../compress/compress_internal.h"
#include "../import/import.h"
#include "../onnx/cut.h"
#include "parts.h"

enum { MAX_TABLES = 16 }; /* table functions of a program, as docs/contract.md has it */

typedef struct cutter {
    hd_cut *c;
    int *part;      /* [node] array part, or -1 */
    char **why;     /* [node] */
    uint8_t *in_s, *closure, *made; /* [node], [node], [value]: in the piece, leads to a node, written in the piece */
    int *list;      /* scratch of nodes */
    int n_parts, *entry, *exit; /* [part] values */
    double left;    /* of SEARCH */
} cutter;

/* Nodes that the importer reads in all tries, and 4 KiB of constants for each: trying takes the cube of a network's nodes, and a file of a few kilobytes has a thousand. Of 240 nodes
 * that no piece takes it is 2.4e6; more than this would be minutes. */
static const double SEARCH = 1e7;

static int is_layer(const char *op) { return !strcmp(op, "Conv") || !strcmp(op, "Gemm") || !strcmp(op, "MatMul"); }

static char *copy(const char *s) {
    char *t = malloc(strlen(s) + 1);
    return t ? strcpy(t, s) : NULL;
}

static void set_why(cutter *w, int node, const char *text) {
    free(w->why[node]);
    w->why[node] = copy(text);
}

/* The one input of a node that is not constant; -1 for none, -2 for several. */
static int data_input(const hd_cut *c, const hd_cut_node *n) {
    int found = -1;
    for (int j = 0; j < n->n_in; j++) {
        if (n->in[j] < 0 || c->value[n->in[j]].constant || n->in[j] == found) continue;
        if (found >= 0) return -2;
        found = n->in[j];
    }
    return found;
}

/* Marks in closure the nodes of the piece that lead to `node`, and lists them in order. */
static int lead_to(cutter *w, int node) {
    const hd_cut *c = w->c;
    int n = 0;
    memset(w->closure, 0, (size_t)c->n_nodes);
    w->closure[node] = 1;
    for (int k = c->n_nodes; k-- > 0;) {
        int at = c->order[k];
        if (!w->closure[at]) continue;
        for (int j = 0; j < c->node[at].n_in; j++) {
            int v = c->node[at].in[j], from = v < 0 || c->value[v].constant ? -1 : c->value[v].producer;
            if (from >= 0 && w->in_s[from]) w->closure[from] = 1;
        }
    }
    for (int k = 0; k < c->n_nodes; k++)
        if (w->closure[c->order[k]]) w->list[n++] = c->order[k];
    return n;
}

/* Does the importer, and then the compressor's planner, take the nodes that lead to `node`? The reason goes to err. */
static hd_status try_piece(cutter *w, int node, int entry, int plan, hd_err *err) {
    int n = lead_to(w, node);
    hd_writer bytes = {0};
    hd_graph *g = NULL;
    hd_plan p = {0};
    hd_status s = hd_cut_model(&bytes, w->c, w->list, n, &entry, 1, &w->c->node[node].out[0], 1, err);
    if (s == HD_OK && bytes.failed) s = hd_fail(err, HD_NOMEM, "out of memory");
    w->left -= n + (double)bytes.size / 4096;
    if (s == HD_OK && w->left < 0) s = hd_fail(err, HD_RANGE, "the search for pieces before it took all the time that it may");
    if (s == HD_OK) s = hd_import_onnx_memory(&g, bytes.data, bytes.size, "part", err);
    int tables = 0;
    for (int k = 0; s == HD_OK && k < g->n_nodes; k++) tables += g->node[k].op == HD_OP_UNARY;
    if (s == HD_OK && tables > MAX_TABLES) s = hd_fail(err, HD_NOFIT, "the piece has its %d table functions already", MAX_TABLES);
    if (s == HD_OK && plan) {
        s = hd_compress_plan_make(&p, g, 0, err);
        if (s == HD_OK) hd_compress_plan_free(&p);
    }
    hd_graph_free(g);
    hd_writer_free(&bytes);
    return s;
}

/* What the importer says about a node, without the file's and the node's name before it. */
static const char *reason(const hd_err *err) {
    const char *p = strstr(err->message, "): ");
    if (strncmp(err->message, "part: node '", 12) == 0 && p) return p + 3;
    return strncmp(err->message, "part: ", 6) == 0 ? err->message + 6 : err->message;
}

static int fits_entry(const hd_cut_value *v) { return v->type == HD_TYPE_F32 && v->rank >= 2 && v->rank <= 4 && v->dim[0] == 1; }

static void grow(cutter *w, int first, int entry) {
    const hd_cut *c = w->c;
    memset(w->in_s, 0, (size_t)c->n_nodes);
    memset(w->made, 0, (size_t)c->n_values);
    int started = 0;
    for (int k = 0; k < c->n_nodes; k++) {
        int at = c->order[k], reads = 0, inside = 1;
        const hd_cut_node *n = &c->node[at];
        started |= at == first;
        if (!started || !n->live || w->part[at] >= 0) continue;
        for (int j = 0; j < n->n_in && inside; j++) {
            int v = n->in[j];
            if (v < 0 || c->value[v].constant) continue;
            inside = v == entry || w->made[v];
            reads = 1;
        }
        if (!inside || !reads) continue;
        hd_err err = {0};
        if (!strcmp(n->p->op_type, "Softmax")) hd_fail(&err, HD_UNSUPPORTED, "softmax has no place on the array");
        else if (n->n_out < 1 || n->out[0] < 0 || c->value[n->out[0]].type != HD_TYPE_F32) hd_fail(&err, HD_UNSUPPORTED, "gives no float tensor");
        else if (try_piece(w, at, entry, 0, &err) == HD_OK) {
            w->in_s[at] = 1;
            w->made[n->out[0]] = 1;
            continue;
        }
        set_why(w, at, reason(&err));
    }
}

/* Could `node` be the piece's only output? The work behind it, or -1. Leaves the piece in closure. */
static double work_behind(cutter *w, int node, int *layers) {
    const hd_cut *c = w->c;
    int n = lead_to(w, node);
    double work = 0;
    *layers = 0;
    for (int k = 0; k < n; k++) {
        const hd_cut_node *m = &c->node[w->list[k]];
        work += m->operations + 1;
        *layers += is_layer(m->p->op_type);
        if (w->list[k] != node && c->value[m->out[0]].output) return -1;
    }
    for (int k = 0; k < c->n_nodes; k++) {
        if (!c->node[k].live || w->closure[k]) continue;
        for (int j = 0; j < c->node[k].n_in; j++) {
            int v = c->node[k].in[j], from = v < 0 || c->value[v].constant ? -1 : c->value[v].producer;
            if (from >= 0 && from != node && w->closure[from]) return -1;
        }
    }
    return work;
}

/* Ends the piece where most work is done; 0 when there is no good end. */
static int place(cutter *w, int entry) {
    const hd_cut *c = w->c;
    uint8_t *refused = calloc((size_t)c->n_nodes + 1, 1);
    for (int tries = 0; refused && tries < 8; tries++) {
        int best = -1, layers;
        double most = 0;
        for (int k = 0; k < c->n_nodes; k++) {
            if (!w->in_s[k] || refused[k]) continue;
            double work = work_behind(w, k, &layers);
            if (work > most && layers) most = work, best = k;
        }
        if (best < 0) break;
        hd_err err = {0};
        if (try_piece(w, best, entry, 1, &err) != HD_OK) {
            refused[best] = 1;
            continue;
        }
        for (int k = 0; k < c->n_nodes; k++)
            if (w->closure[k]) w->part[k] = w->n_parts;
        w->entry[w->n_parts] = entry;
        w->exit[w->n_parts++] = c->node[best].out[0];
        free(refused);
        return 1;
    }
    free(refused);
    return 0;
}

static void cut_array(cutter *w) {
    hd_cut *c = w->c;
    for (int k = 0; k < c->n_nodes; k++) {
        int at = c->order[k];
        hd_cut_node *n = &c->node[at];
        if (!n->live || w->part[at] >= 0) continue;
        int entry = data_input(c, n);
        if (entry < 0) {
            /* What the importer said, when the node was tried behind another, tells more. */
            if (!w->why[at]) set_why(w, at, entry == -1 ? "reads constants alone" : "reads several computed tensors");
        } else if (!fits_entry(&c->value[entry])) set_why(w, at, "its input is no float tensor of 2 to 4 dimensions with a batch of 1");
        else {
            grow(w, at, entry);
            if (w->in_s[at] && !place(w, entry)) set_why(w, at, "no layer with weights beside it that one tensor leads into and one out of");
        }
    }
    /* What stands for several nodes is the array's; the host runs the nodes of the file. */
    for (int k = 0; k < c->n_nodes; k++)
        if (c->node[k].live && c->node[k].own && w->part[k] < 0) hd_cut_unfuse(c, k);
}

static hd_status add_value(hd_parts *p, const hd_cut *c, int *index, int v, hd_err *err) {
    if (index[v] >= 0) return HD_OK;
    hd_parts_value *to = &p->value[p->n_values];
    *to = (hd_parts_value){copy(c->value[v].name), c->value[v].type, c->value[v].rank, {0}};
    memcpy(to->dim, c->value[v].dim, sizeof to->dim);
    if (!to->name) return hd_fail(err, HD_NOMEM, "out of memory");
    index[v] = p->n_values++;
    return HD_OK;
}

/* One part of the listed nodes: its ONNX model, and the values that pass in and out. */
static hd_status add_part(hd_parts *p, const hd_cut *c, hd_part_kind kind, const int *nodes, int n, int *index, hd_err *err) {
    hd_part *part = &p->part[p->n_parts++];
    uint8_t *mine = calloc((size_t)c->n_nodes + 1, 1), *seen = calloc((size_t)c->n_values + 1, 1);
    int *in = malloc(((size_t)c->n_values + 1) * sizeof *in), *out = malloc(((size_t)c->n_values + 1) * sizeof *out), n_in = 0, n_out = 0;
    hd_status s = mine && seen && in && out ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    part->kind = kind;
    for (int k = 0; s == HD_OK && k < n; k++) mine[nodes[k]] = 1;
    for (int k = 0; s == HD_OK && k < n; k++)
        for (int j = 0; j < c->node[nodes[k]].n_in; j++) {
            int v = c->node[nodes[k]].in[j];
            if (v < 0 || c->value[v].constant || seen[v] || (c->value[v].producer >= 0 && mine[c->value[v].producer])) continue;
            seen[v] = 1;
            in[n_in++] = v;
        }
    if (s == HD_OK) memset(seen, 0, (size_t)c->n_values);
    for (int k = 0; s == HD_OK && k < c->n_nodes; k++)
        for (int j = 0; c->node[k].live && !mine[k] && j < c->node[k].n_in; j++)
            if (c->node[k].in[j] >= 0) seen[c->node[k].in[j]] = 1;
    for (int k = 0; s == HD_OK && k < n; k++)
        for (int j = 0; j < c->node[nodes[k]].n_out; j++) {
            int v = c->node[nodes[k]].out[j];
            if (v >= 0 && (seen[v] || c->value[v].output)) out[n_out++] = v;
        }
    for (int k = 0; s == HD_OK && k < n_in + n_out; k++) s = add_value(p, c, index, k < n_in ? in[k] : out[k - n_in], err);
    if (s == HD_OK) s = hd_cut_model(&part->onnx, c, nodes, n, in, n_in, out, n_out, err);
    part->in = malloc(((size_t)n_in + 1) * sizeof *part->in);
    part->out = malloc(((size_t)n_out + 1) * sizeof *part->out);
    part->name = n ? copy(hd_cut_node_name(&c->node[nodes[0]])) : NULL;
    if (s == HD_OK && (!part->in || !part->out || !part->name || part->onnx.failed)) s = hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; s == HD_OK && k < n_in; k++) part->in[part->n_in++] = index[in[k]];
    for (int k = 0; s == HD_OK && k < n_out; k++) part->out[part->n_out++] = index[out[k]];
    if (s == HD_OK && kind == HD_PART_HOST) s = hd_host_load_memory(&part->host, part->onnx.data, part->onnx.size, part->name, err);
    free(mine);
    free(seen);
    free(in);
    free(out);
    return s;
}

static int ready(const hd_cut *c, int node, const uint8_t *done) {
    for (int j = 0; j < c->node[node].n_in; j++) {
        int v = c->node[node].in[j];
        if (v >= 0 && !c->value[v].constant && c->value[v].producer >= 0 && !done[c->value[v].producer]) return 0;
    }
    return 1;
}

/* Host nodes as soon as they can run, all that can in one part; then array parts. */
static hd_status arrange(hd_parts *p, cutter *w, int *index, hd_err *err) {
    const hd_cut *c = w->c;
    uint8_t *done = calloc((size_t)c->n_nodes + 1, 1);
    hd_status s = done ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    for (int moved = 1; s == HD_OK && moved;) {
        int n = 0;
        moved = 0;
        for (int k = 0; k < c->n_nodes; k++) {
            int at = c->order[k];
            if (!c->node[at].live || done[at] || w->part[at] >= 0 || !ready(c, at, done)) continue;
            done[at] = 1;
            w->list[n++] = at;
        }
        for (int k = 0; k < n; k++) p->node[w->list[k]].part = p->n_parts;
        if (n) s = add_part(p, c, HD_PART_HOST, w->list, n, index, err), moved = 1;
        for (int a = 0; s == HD_OK && a < w->n_parts; a++) {
            int from = c->value[w->entry[a]].producer;
            n = 0;
            if (from >= 0 && !done[from]) continue;
            for (int k = 0; k < c->n_nodes; k++)
                if (w->part[c->order[k]] == a && !done[c->order[k]]) w->list[n++] = c->order[k];
            if (!n) continue;
            for (int k = 0; k < n; k++) {
                done[w->list[k]] = 1;
                p->node[w->list[k]].part = p->n_parts;
            }
            s = add_part(p, c, HD_PART_ARRAY, w->list, n, index, err);
            moved = 1;
        }
    }
    free(done);
    return s;
}

/* The report's rows: live nodes in order. Before, row k is node k. */
static hd_status list_nodes(hd_parts *p, cutter *w, hd_err *err) {
    const hd_cut *c = w->c;
    hd_parts_node *rows = calloc((size_t)c->n_nodes + 1, sizeof *rows);
    int n = 0;
    if (!rows) return hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; k < c->n_nodes; k++) {
        int at = c->order[k];
        if (!c->node[at].live) continue;
        hd_parts_node *r = &rows[n++];
        int host = w->part[at] < 0;
        *r = (hd_parts_node){copy(hd_cut_node_name(&c->node[at])), copy(c->node[at].p->op_type), copy(!host ? "" : w->why[at] ? w->why[at] : "its inputs come from the host"), p->node[at].part, c->node[at].operations};
        if (!r->name || !r->op || !r->why) {
            p->n_nodes = n;
            free(p->node);
            p->node = rows;
            return hd_fail(err, HD_NOMEM, "out of memory");
        }
    }
    free(p->node);
    p->node = rows;
    p->n_nodes = n;
    return HD_OK;
}

static hd_status assemble(hd_parts *p, cutter *w, hd_err *err) {
    hd_cut *c = w->c;
    const char *slash = strrchr(c->label, '/');
    int *index = malloc(((size_t)c->n_values + 1) * sizeof *index);
    p->name = copy(slash ? slash + 1 : c->label);
    p->value = calloc((size_t)c->n_values + 1, sizeof *p->value);
    p->part = calloc((size_t)c->n_nodes + 1, sizeof *p->part);
    p->node = calloc((size_t)c->n_nodes + 1, sizeof *p->node);
    p->input = malloc(((size_t)c->n_inputs + 1) * sizeof *p->input);
    p->output = malloc(((size_t)c->n_outputs + 1) * sizeof *p->output);
    hd_status s = index && p->name && p->value && p->part && p->node && p->input && p->output ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; s == HD_OK && k < c->n_values; k++) index[k] = -1;
    for (int k = 0; s == HD_OK && k < c->n_inputs; k++) {
        s = add_value(p, c, index, c->input[k], err);
        p->input[p->n_inputs++] = index[c->input[k]];
    }
    if (s == HD_OK) s = arrange(p, w, index, err);
    for (int k = 0; s == HD_OK && k < c->n_outputs; k++) p->output[p->n_outputs++] = index[c->output[k]];
    if (s == HD_OK) s = list_nodes(p, w, err);
    free(index);
    return s;
}

hd_status hd_parts_cut(hd_parts **out, const char *path, const hd_cut_options *o, hd_err *err) {
    *out = NULL;
    cutter w = {.left = SEARCH};
    hd_status s = hd_cut_new(&w.c, path, o, err);
    if (s == HD_OK) s = hd_cut_fuse(w.c, err);
    if (s != HD_OK) {
        hd_cut_free(w.c);
        return s;
    }
    size_t n = (size_t)w.c->n_nodes + 1;
    hd_parts *p = calloc(1, sizeof *p);
    w.part = malloc(n * sizeof *w.part);
    w.why = calloc(n, sizeof *w.why);
    w.in_s = calloc(n, 1);
    w.closure = calloc(n, 1);
    w.made = calloc((size_t)w.c->n_values + 1, 1);
    w.list = malloc(n * sizeof *w.list);
    w.entry = malloc(n * sizeof *w.entry);
    w.exit = malloc(n * sizeof *w.exit);
    if (!p || !w.part || !w.why || !w.in_s || !w.closure || !w.made || !w.list || !w.entry || !w.exit) s = hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    for (size_t k = 0; s == HD_OK && k < n; k++) w.part[k] = -1;
    if (s == HD_OK) {
        cut_array(&w);
        s = assemble(p, &w, err);
        if (s != HD_OK) hd_fail_in(err, path);
    }
    for (size_t k = 0; w.why && k < n; k++) free(w.why[k]);
    free(w.part);
    free(w.why);
    free(w.in_s);
    free(w.closure);
    free(w.made);
    free(w.list);
    free(w.entry);
    free(w.exit);
    hd_cut_free(w.c);
    if (s == HD_OK) *out = p;
    else hd_parts_free(p);
    return s;
}
