/* Codes of one row: beam search through the triangular factor of H, and coordinate descent on the exact error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codebook_internal.h"

/* A candidate of one step: what a survivor becomes when it takes an entry. */
typedef struct candidate {
    float metric;
    int from, index;
} candidate;

typedef struct survivor {
    float base;                        /* metric of the finished groups */
    int root;                          /* its row of `partial` */
    int index;                         /* last table index, the trellis state */
    float t[HD_CODEBOOK_GROUP];        /* what is left of this group's metric vector */
    float e[HD_CODEBOOK_GROUP];        /* what is left of this group's weights */
} survivor;

struct hd_search {
    const hd_prepared *p;
    const hd_codebook *c;
    int beam;
    survivor *now, *next;              /* [beam] */
    float *partial, *partial_next;     /* [beam][n]: (e U)_j over the groups done */
    candidate *heap;                   /* [beam] */
    float *score;                      /* [entries] */
    candidate *trace;                  /* [groups * books][beam] */
    double *e, *q;                     /* [n]: error of the row, e H */
    double *sum;                       /* [n]: the row's table sums */
};

void hd_search_free(hd_search *s) {
    if (!s) return;
    free(s->now);
    free(s->next);
    free(s->partial);
    free(s->partial_next);
    free(s->heap);
    free(s->score);
    free(s->trace);
    free(s->e);
    free(s->q);
    free(s->sum);
    free(s);
}

hd_search *hd_search_new(const hd_prepared *p, const hd_codebook *c, int beam) {
    hd_search *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    size_t b = (size_t)beam, n = (size_t)p->n, steps = (size_t)p->groups * (size_t)c->books;
    s->p = p;
    s->c = c;
    s->beam = beam;
    s->now = malloc(b * sizeof *s->now);
    s->next = malloc(b * sizeof *s->next);
    s->partial = malloc(b * n * sizeof *s->partial);
    s->partial_next = malloc(b * n * sizeof *s->partial_next);
    s->heap = malloc(b * sizeof *s->heap);
    s->score = malloc(((size_t)1 << c->window) * sizeof *s->score);
    s->trace = malloc(steps * b * sizeof *s->trace);
    s->e = malloc(n * sizeof *s->e);
    s->q = malloc(n * sizeof *s->q);
    s->sum = malloc(n * sizeof *s->sum);
    if (s->now && s->next && s->partial && s->partial_next && s->heap && s->score && s->trace && s->e && s->q && s->sum) return s;
    hd_search_free(s);
    return NULL;
}

/* Keeps the `beam` smallest in a heap with the largest on top. */
static int keep(candidate *heap, int count, int beam, candidate x) {
    int at;
    if (count < beam) {
        at = count++;
        for (; at > 0 && heap[(at - 1) / 2].metric < x.metric; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    } else {
        at = 0;
        for (;;) {
            int child = 2 * at + 1;
            if (child >= count) break;
            if (child + 1 < count && heap[child + 1].metric > heap[child].metric) child++;
            if (heap[child].metric <= x.metric) break;
            heap[at] = heap[child];
            at = child;
        }
    }
    heap[at] = x;
    return count;
}

/* score[k] = s^2 |u_k|^2 - 2 s t.u_k over `count` entries from `first`. */
static void score_entries(float *restrict score, const float *restrict u, const float *restrict norm, const float *t, int group, int entries, int first,
                          int count, float scale) {
    float square = scale * scale;
    for (int k = 0; k < count; k++) score[k] = square * norm[first + k];
    for (int d = 0; d < group; d++) {
        const float *row = u + (size_t)d * (size_t)entries + first;
        float a = -2.0f * scale * t[d];
        for (int k = 0; k < count; k++) score[k] += a * row[k];
    }
}

double hd_search_row(hd_search *s, const hd_metric *m, int row, float scale, int beam, uint16_t *index) {
    const hd_prepared *p = s->p;
    const hd_codebook *c = s->c;
    int group = c->group, books = c->books, entries = 1 << c->window, branches = 1 << c->bits;
    size_t n = (size_t)p->n;
    int alive = 1;
    s->now[0] = (survivor){0};
    memset(s->partial, 0, n * sizeof *s->partial);
    for (int step = 0; step < p->groups; step++) {
        size_t first = (size_t)(step * group);
        const float *w = p->w + (size_t)row * n + (size_t)(p->order[step] * group);
        for (int a = 0; a < alive; a++) {
            survivor *v = &s->now[a];
            const float *partial = s->partial + (size_t)a * n + first;
            v->root = a;
            for (int j = 0; j < group; j++) {
                float x = partial[j];
                for (int i = 0; i <= j; i++) x += w[i] * p->u[(first + (size_t)i) * n + first + (size_t)j];
                v->t[j] = x;
                v->e[j] = w[j];
            }
        }
        for (int book = 0; book < books; book++) {
            size_t table = (size_t)(step * books + book);
            const float *u = m->u + table * (size_t)(group * entries), *norm = m->u_norm + table * (size_t)entries;
            int count = 0;
            for (int a = 0; a < alive; a++) {
                const survivor *v = &s->now[a];
                int from = c->window == c->bits ? 0 : (v->index << c->bits) & (entries - 1);
                float base = v->base;
                for (int d = 0; d < group; d++) base += v->t[d] * v->t[d];
                score_entries(s->score, u, norm, v->t, group, entries, from, branches, scale);
                float worst = count < beam ? INFINITY : s->heap[0].metric;
                for (int k = 0; k < branches; k++)
                    if (base + s->score[k] < worst || count < beam) {
                        count = keep(s->heap, count, beam, (candidate){base + s->score[k], a, from + k});
                        if (count == beam) worst = s->heap[0].metric;
                    }
            }
            for (int a = 0; a < count; a++) {
                const candidate *x = &s->heap[a];
                survivor *v = &s->next[a];
                *v = s->now[x->from];
                v->index = x->index;
                const int16_t *entry = c->entry + ((size_t)book * (size_t)entries + (size_t)x->index) * (size_t)group;
                for (int d = 0; d < group; d++) {
                    v->t[d] -= scale * u[(size_t)(d * entries + x->index)];
                    v->e[d] -= scale * (float)entry[d];
                }
                s->trace[table * (size_t)s->beam + (size_t)a] = *x;
                if (book < books - 1) continue;
                for (int d = 0; d < group; d++) v->base += v->t[d] * v->t[d];
                float *to = s->partial_next + (size_t)a * n;
                const float *from = s->partial + (size_t)v->root * n;
                size_t rest = first + (size_t)group;
                memcpy(to + rest, from + rest, (n - rest) * sizeof *to);
                for (int d = 0; d < group; d++) {
                    const float *line = p->u + (first + (size_t)d) * n;
                    for (size_t j = rest; j < n; j++) to[j] += v->e[d] * line[j];
                }
            }
            alive = count;
            survivor *swap = s->now;
            s->now = s->next;
            s->next = swap;
        }
        float *swap = s->partial;
        s->partial = s->partial_next;
        s->partial_next = swap;
    }
    int best = 0;
    for (int a = 1; a < alive; a++)
        if (s->now[a].base < s->now[best].base) best = a;
    for (int step = p->groups - 1; step >= 0; step--)
        for (int book = books - 1; book >= 0; book--) {
            const candidate *x = &s->trace[(size_t)(step * books + book) * (size_t)s->beam + (size_t)best];
            index[p->order[step] * books + book] = (uint16_t)x->index;
            best = x->from;
        }
    return hd_row_error(s, row, scale, index);
}

/* sum = the row's table sums. */
static void add_entries(hd_search *s, const uint16_t *index) {
    const hd_codebook *c = s->c;
    size_t group = (size_t)c->group, entries = (size_t)1 << c->window;
    for (int g = 0; g < s->p->groups; g++)
        for (size_t d = 0; d < group; d++) {
            int sum = 0;
            for (int b = 0; b < c->books; b++) sum += c->entry[((size_t)b * entries + index[g * c->books + b]) * group + d];
            s->sum[(size_t)g * group + d] = sum;
        }
}

/* q = e H. */
static void times_h(const hd_prepared *p, const double *e, double *q) {
    size_t n = (size_t)p->n;
    memset(q, 0, n * sizeof *q);
    for (size_t i = 0; i < n; i++) {
        const double *h = p->h + i * n;
        for (size_t j = 0; j < n; j++) q[j] += e[i] * h[j];
    }
}

static double dot(const double *a, const double *b, size_t n) {
    double x = 0;
    for (size_t i = 0; i < n; i++) x += a[i] * b[i];
    return x;
}

double hd_best_scale(hd_search *s, int row, const uint16_t *index) {
    size_t n = (size_t)s->p->n;
    add_entries(s, index);
    times_h(s->p, s->sum, s->q);
    double square = dot(s->sum, s->q, n), cross = 0;
    for (size_t i = 0; i < n; i++) cross += (double)s->p->w[(size_t)row * n + i] * s->q[i];
    return square > 0 ? cross / square : 0.0;
}

static void start_error(hd_search *s, int row, float scale, const uint16_t *index) {
    size_t n = (size_t)s->p->n;
    add_entries(s, index);
    for (size_t i = 0; i < n; i++) s->e[i] = (double)s->p->w[(size_t)row * n + i] - (double)scale * s->sum[i];
    times_h(s->p, s->e, s->q);
}

double hd_row_error(hd_search *s, int row, float scale, const uint16_t *index) {
    start_error(s, row, scale, index);
    return dot(s->e, s->q, (size_t)s->p->n);
}

double hd_descend_row(hd_search *s, const hd_metric *m, int row, float scale, int sweeps, uint16_t *index) {
    const hd_prepared *p = s->p;
    const hd_codebook *c = s->c;
    int group = c->group, books = c->books, entries = 1 << c->window;
    size_t n = (size_t)p->n;
    double sc = (double)scale;
    start_error(s, row, scale, index);
    double floor_of_gain = 1e-9 * dot(s->e, s->q, n);
    for (int sweep = 0; sweep < sweeps; sweep++) {
        int changes = 0;
        for (int step = 0; step < p->groups * books; step++) {
            int g = p->order[step / books], book = step % books;
            size_t at = (size_t)(g * group), tables = (size_t)book * (size_t)entries;
            const float *norm = m->h_norm + (size_t)(g * books + book) * (size_t)entries;
            const int16_t *old = c->entry + (tables + index[g * books + book]) * (size_t)group;
            /* error with c' instead of c: const - 2 s c'.(q_g + s c H_gg) + s^2 c' H_gg c'^T */
            double target[HD_CODEBOOK_GROUP];
            for (int j = 0; j < group; j++) {
                double x = s->q[at + (size_t)j];
                for (int i = 0; i < group; i++) x += sc * old[i] * p->h[(at + (size_t)i) * n + at + (size_t)j];
                target[j] = x;
            }
            int best = -1;
            float t[HD_CODEBOOK_GROUP];
            for (int d = 0; d < group; d++) t[d] = (float)target[d];
            score_entries(s->score, m->plain + tables * (size_t)group, norm, t, group, entries, 0, entries, scale);
            for (int k = 0, least = 0; k < entries; k++)
                if (s->score[k] < s->score[least]) best = least = k;
            if (best < 0) best = 0;
            /* floats choose, doubles decide: only a real gain is taken */
            const int16_t *entry = c->entry + (tables + (size_t)best) * (size_t)group;
            double gain = 0;
            for (int i = 0; i < group; i++) {
                double x = 0;
                for (int j = 0; j < group; j++) x += sc * (old[j] - entry[j]) * p->h[(at + (size_t)i) * n + at + (size_t)j];
                gain -= sc * (old[i] - entry[i]) * (2.0 * s->q[at + (size_t)i] + x);
            }
            if (!(gain > floor_of_gain)) continue;
            for (int d = 0; d < group; d++) {
                double delta = sc * (old[d] - entry[d]);
                const double *h = p->h + (at + (size_t)d) * n;
                s->e[at + (size_t)d] += delta;
                for (size_t j = 0; j < n; j++) s->q[j] += delta * h[j];
            }
            index[g * books + book] = (uint16_t)best;
            changes++;
        }
        if (!changes) break;
    }
    return hd_row_error(s, row, scale, index);
}
