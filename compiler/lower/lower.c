/* hd_lower: a compressed model to a program for one geometry. */
#include <stdlib.h>
#include <string.h>

#include "lower.h"

typedef struct lowering {
    const hd_model *m;
    const hd_geometry *g;
    hd_plan *plan; /* one a stage; unused for pooling */
    hd_lifetime *life;
    int thin;      /* of hd_plan_make */
    int expand;    /* stage that reads an expanded input, or -1 */
    hd_plan wide;  /* its plan with the input expanded */
    uint32_t joined; /* words of a position of all outputs, or 0: the model has one output */
} lowering;

static uint32_t words_of(const lowering *l, int tensor) { return hd_ceil_div((uint32_t)l->m->tensor[tensor].c, l->g->lanes); }

/* The input, then all outputs position after position. Returns the words needed. */
static uint64_t place_joined(lowering *l) {
    const hd_qtensor *in = &l->m->tensor[l->m->input], *out = &l->m->tensor[l->m->output];
    uint64_t at = (uint64_t)in->h * (uint64_t)in->w * words_of(l, l->m->input);
    l->joined = 0;
    for (int i = 0; i < l->m->n_stages; i++) {
        l->life[l->m->stage[i].output].address = at + l->joined;
        l->joined += words_of(l, l->m->stage[i].output);
    }
    return at + (uint64_t)out->h * (uint64_t)out->w * l->joined;
}

/* The stage whose input the runtime may expand: the only reader of the model's input, if it is a convolution. */
static int expandable(const hd_model *m) {
    int reader = -1;
    for (int i = 0; i < m->n_stages; i++) {
        if (m->stage[i].residual == m->input && m->stage[i].kind == HD_STAGE_CONV) return -1;
        if (m->stage[i].input != m->input) continue;
        if (reader >= 0) return -1;
        reader = i;
    }
    if (reader < 0 || m->output == m->input || m->stage[reader].kind != HD_STAGE_CONV) return -1;
    const hd_stage *s = &m->stage[reader];
    const hd_qtensor *out = &m->tensor[s->output];
    uint64_t bytes = (uint64_t)s->kh * (uint64_t)s->kw * (uint64_t)s->cin;
    /* Beyond these the expanded input passes any activation memory. */
    if (bytes > 1 << 20 || bytes * (uint64_t)out->h * (uint64_t)out->w > 1 << 30) return -1;
    return reader;
}

/* The sum of a residual layer may be written over the tensor that it adds, when nobody reads that again: fetch brings a position's residual words before post writes
 * that position, and no other position has them. The two are then placed as one. Returns the words needed that way where they are fewer than `apart`. */
static uint64_t place_in_place(lowering *l, uint64_t apart) {
    const hd_model *m = l->m;
    hd_lifetime *t = malloc((size_t)m->n_tensors * sizeof *t);
    int *under = malloc((size_t)m->n_tensors * sizeof *under), found = 0; /* the tensor that one lies over, or itself */
    if (t && under) {
        memcpy(t, l->life, (size_t)m->n_tensors * sizeof *t);
        for (int i = 0; i < m->n_tensors; i++) under[i] = i;
        for (int i = 0; i < m->n_stages; i++) {
            const hd_stage *s = &m->stage[i];
            if (s->kind != HD_STAGE_CONV || s->residual < 0 || s->residual == s->input) continue;
            const hd_lifetime *r = &l->life[s->residual], *o = &l->life[s->output];
            if (r->last != i || o->first != i || r->words != o->words) continue;
            int root = under[s->residual];
            under[s->output] = root;
            t[root].last = o->last;
            t[s->output].words = 0;
            found = 1;
        }
    }
    uint64_t need = found ? hd_place(t, m->n_tensors) : apart;
    for (int i = 0; need < apart && i < m->n_tensors; i++) l->life[i].address = t[under[i]].address;
    free(t);
    free(under);
    return need < apart ? need : apart;
}

/* Sizes and lifetimes; input and output of the model live before the first and after the last stage. */
static uint64_t place(lowering *l, int expanded) {
    const hd_model *m = l->m;
    for (int t = 0; t < m->n_tensors; t++) {
        const hd_qtensor *q = &m->tensor[t];
        uint64_t pixels = (uint64_t)q->h * (uint64_t)q->w, words = ((uint64_t)q->c + l->g->lanes - 1) / l->g->lanes;
        if (t == m->input && expanded) {
            const hd_walk *w = &l->wide.walk;
            pixels = (uint64_t)w->out_h * w->out_w;
            words = w->words;
        }
        l->life[t] = (hd_lifetime){.words = 0, .first = -2, .last = -2};
        int used = t == m->input || t == m->output;
        if (t == m->input) l->life[t].first = l->life[t].last = -1;
        for (int i = 0; i < m->n_stages; i++) {
            const hd_stage *s = &m->stage[i];
            int reads = s->input == t || (s->kind == HD_STAGE_CONV && s->residual == t);
            if (!reads && s->output != t) continue;
            used = 1;
            if (l->life[t].first < -1) l->life[t].first = i;
            l->life[t].last = i;
        }
        if (t == m->output) l->life[t].last = m->n_stages;
        if (used) l->life[t].words = pixels * words;
    }
    return place_in_place(l, hd_place(l->life, m->n_tensors));
}

/* Which tensor fills the memory when it is too small. */
static hd_status place_error(const lowering *l, uint64_t need, hd_err *err) {
    const hd_model *m = l->m;
    int worst = 0;
    uint64_t most = 0;
    for (int i = 0; i < m->n_stages; i++) {
        uint64_t live = 0;
        for (int t = 0; t < m->n_tensors; t++)
            if (l->life[t].first <= i && i <= l->life[t].last) live += l->life[t].words;
        if (live > most) most = live, worst = i;
    }
    return hd_nofit(l->g, m->stage[worst].name, need, "activation words", l->g->act_words, err);
}

static hd_status plan_all(lowering *l, const hd_lower_options *o, hd_err *err) {
    const hd_model *m = l->m;
    int can = o->expand_input && !o->join_outputs ? expandable(m) : -1;
    hd_status narrow = HD_OK, st = HD_OK;
    hd_err kept = {0};
    for (int i = 0; i < m->n_stages && !st; i++) {
        if (m->stage[i].kind != HD_STAGE_CONV) continue;
        st = hd_plan_make(&l->plan[i], m, &m->stage[i], l->g, 0, l->thin, i == can ? &kept : err);
        /* A window too large to be fetched may still fit when the host lays it out. */
        if (i == can) narrow = st, st = HD_OK;
    }
    if (st) return st;
    if (can >= 0) {
        hd_status wide = hd_plan_make(&l->wide, m, &m->stage[can], l->g, 1, 0, NULL);
        int better = !wide && (narrow || o->expand_input > 0 || l->wide.cycles < l->plan[can].cycles);
        if (better && place(l, 1) <= l->g->act_words) {
            l->expand = can;
            return HD_OK;
        }
        if (narrow) {
            if (err) *err = kept;
            return narrow;
        }
    }
    uint64_t need = o->join_outputs ? place_joined(l) : place(l, 0);
    if (o->join_outputs && need > l->g->act_words) return hd_nofit(l->g, m->stage[0].name, need, "activation words", l->g->act_words, err);
    return need > l->g->act_words ? place_error(l, need, err) : HD_OK;
}

static void set_port(hd_port *p, const lowering *l, int t) {
    const hd_qtensor *q = &l->m->tensor[t];
    *p = (hd_port){.h = (uint32_t)q->h, .w = (uint32_t)q->w, .c = (uint32_t)q->c, .scale = q->scale, .zero = q->zero,
                   .address = (uint32_t)l->life[t].address, .stride = hd_ceil_div((uint32_t)q->c, l->g->lanes)};
}

static void set_expanded(hd_port *p, const hd_plan *wide) {
    const hd_stage *s = wide->s;
    p->expanded = 1;
    p->stride = wide->walk.words;
    p->kh = (uint32_t)s->kh;
    p->kw = (uint32_t)s->kw;
    p->sy = (uint32_t)s->sy;
    p->sx = (uint32_t)s->sx;
    p->dy = (uint32_t)s->dy;
    p->dx = (uint32_t)s->dx;
    p->pad_top = s->pad_top;
    p->pad_left = s->pad_left;
    p->out_h = wide->walk.out_h;
    p->out_w = wide->walk.out_w;
}

static hd_status emit_all(lowering *l, hd_program *p, hd_err *err) {
    const hd_model *m = l->m;
    hd_emit e = {.p = p};
    hd_status st = HD_OK;
    for (int i = 0; i < m->n_stages && !st; i++) {
        const hd_stage *s = &m->stage[i];
        hd_layer_info *info = &p->layer[p->n_layers++];
        info->name = strdup(s->name);
        if (!info->name) return hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory", s->name);
        info->first_desc = p->n_desc;
        uint32_t in = (uint32_t)l->life[s->input].address, out = (uint32_t)l->life[s->output].address;
        if (s->kind == HD_STAGE_CONV) {
            uint32_t res = s->residual >= 0 ? (uint32_t)l->life[s->residual].address : 0;
            st = hd_emit_conv(&e, i == l->expand ? &l->wide : &l->plan[i], in, res, out, l->joined ? l->joined : words_of(l, s->output), info, err);
        } else {
            st = hd_emit_maxpool(&e, m, s, in, out, info, err);
        }
    }
    return st ? st : hd_emit_end(&e, err);
}

static hd_status lower(hd_program **out, const hd_model *m, const hd_geometry *g, const hd_lower_options *o, int thin, hd_err *err) {
    hd_status st = HD_OK;
    lowering l = {.m = m, .g = g, .thin = thin, .expand = -1, .plan = calloc((size_t)m->n_stages, sizeof *l.plan),
                  .life = calloc((size_t)m->n_tensors, sizeof *l.life)};
    hd_program *p = calloc(1, sizeof *p);
    if (p) {
        p->geometry = *g;
        p->model = strdup(m->name);
        p->board = strdup(o->board ? o->board : "");
        p->layer = calloc((size_t)m->n_stages, sizeof *p->layer);
    }
    if (!l.plan || !l.life || !p || !p->model || !p->board || !p->layer) st = hd_fail(err, HD_NOMEM, "model '%.100s': out of memory", m->name);
    if (!st) st = plan_all(&l, o, err);
    if (!st) {
        set_port(&p->input, &l, m->input);
        set_port(&p->output, &l, m->output);
        if (l.joined) {
            p->output.address = (uint32_t)l.life[m->stage[0].output].address;
            p->output.c = l.joined * g->lanes;
            p->output.stride = l.joined;
        }
        if (l.expand >= 0) set_expanded(&p->input, &l.wide);
        st = emit_all(&l, p, err);
        if (!st) st = hd_external_make(p, m, o->raw_stream, err);
    }
    for (int i = 0; l.plan && i < m->n_stages; i++) hd_plan_free(&l.plan[i]);
    hd_plan_free(&l.wide);
    free(l.plan);
    free(l.life);
    /* The checker is the contract with devices: what it would refuse to load is never handed out. */
    if (!st) st = hd_program_check(p, err);
    if (st) hd_program_free(p);
    else *out = p;
    return st;
}

hd_status hd_lower(hd_program **out, const hd_model *m, const hd_geometry *g, const hd_lower_options *o, hd_err *err) {
    static const hd_lower_options defaults = {.board = "", .expand_input = -1};
    if (!o) o = &defaults;
    *out = NULL;
    hd_status st = hd_geometry_check(g, err);
    if (st) return st;
    if (m->n_stages < 1 || m->n_tensors < 1) return hd_fail(err, HD_UNSUPPORTED, "model '%.100s' has no layers", m->name);
    st = lower(out, m, g, o, 0, err);
    /* Thin slices take descriptors for stream entries and parameters. */
    return st == HD_NOFIT && !lower(out, m, g, o, 1, NULL) ? HD_OK : st;
}
