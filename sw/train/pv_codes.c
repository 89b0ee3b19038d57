/* The P step: update buffers, and the groups that take another code. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pv_internal.h"

enum { MOST_BOOKS = 4, MOST_GROUP = 8, ROUNDS = 3 };

typedef struct move {
    float gain;
    int part;
    uint32_t group;       /* row * groups + group */
    uint16_t to[MOST_BOOKS]; /* codes, or the integer's bits */
} move;

void hd_pv_follow(hd_pv *p, const float *const *gradient, double rate) {
    enum { BETA = 95 };
    const float beta = BETA / 100.0f, correct = (float)(1.0 / (1.0 - pow(BETA / 100.0, p->steps)));
    for (int k = 0; k < p->parts; k++) {
        hd_pv_part *m = &p->part[k];
#pragma omp parallel for schedule(static)
        for (int r = 0; r < m->out; r++) {
            size_t first = (size_t)r * (size_t)m->in;
            float step = (float)rate * m->unit[r];
            for (size_t i = first; i < first + (size_t)m->in; i++) {
                float g = gradient[k][i];
                m->square[i] = beta * m->square[i] + (1 - beta) * g * g;
                m->buffer[i] -= step * g / (sqrtf(m->square[i] * correct) + 1e-12f);
            }
        }
    }
}

void hd_pv_settle(hd_pv *p, double keep) {
    for (int k = 0; k < p->parts; k++) {
        hd_pv_part *m = &p->part[k];
        const float *w = m->m->linear.w;
        for (size_t i = 0; i < (size_t)m->out * (size_t)m->in; i++) m->buffer[i] = w[i] + (float)keep * (m->buffer[i] - w[i]);
    }
}

/* What a weight of 1 on the grid is worth. */
static float unit_of(const hd_pv_part *m, int row, int i) {
    const hd_linear_result *l = &m->m->linear;
    if (m->table) return l->scale[row];
    int group = m->m->format.group ? m->m->format.group : m->in, groups = (m->in + group - 1) / group;
    float unit = l->shift ? l->scale[row] * (float)(1 << l->shift[row * groups + i / group]) : l->scale[row * groups + i / group];
    return l->in_scale ? unit / l->in_scale[i] : unit;
}

/* Index of the entry nearest to t: the least of |c|^2 - 2 c t; `now` unless another is really nearer. */
static int nearest_entry(const hd_pv_table *t, int book, const float *x, float *score, int now) {
    int entries = 1 << t->c->window, group = t->c->group, best = now;
    memcpy(score, t->norm + (size_t)book * (size_t)entries, (size_t)entries * sizeof *score);
    for (int d = 0; d < group; d++) {
        const float *plain = t->plain + ((size_t)book * (size_t)group + (size_t)d) * (size_t)entries;
        float twice = -2.0f * x[d];
        for (int k = 0; k < entries; k++) score[k] += twice * plain[k];
    }
    for (int k = 0; k < entries; k++)
        if (score[k] < score[best]) best = k;
    return best;
}

static float distance(const hd_pv_table *t, const float *x, const uint16_t *code, int n) {
    float sum = 0;
    size_t entries = (size_t)1 << t->c->window, group = (size_t)t->c->group;
    for (int d = 0; d < n; d++) {
        float e = x[d];
        for (int b = 0; b < t->c->books; b++) e -= (float)t->c->entry[((size_t)b * entries + code[b]) * group + (size_t)d];
        sum += e * e;
    }
    return sum;
}

/* The codes that a group of a table wants, and what it would gain. */
static float look_at_codes(move *to, const hd_pv_part *m, int row, int g, float *score) {
    const hd_pv_table *t = m->table;
    int first = g * m->group, n = m->in - first < m->group ? m->in - first : m->group, books = t->c->books;
    size_t entries = (size_t)1 << t->c->window, group = (size_t)m->group;
    const uint16_t *now = m->m->code->code + ((size_t)row * (size_t)m->groups + (size_t)g) * (size_t)books;
    float x[MOST_GROUP] = {0}, unit = unit_of(m, row, first);
    memcpy(to->to, now, (size_t)books * sizeof *now);
    /* Past the row's end any value will do: the present one makes no difference. */
    for (int d = 0; d < m->group; d++) {
        if (d < n) x[d] = m->buffer[(size_t)row * (size_t)m->in + (size_t)(first + d)] / unit;
        else
            for (int b = 0; b < books; b++) x[d] += (float)t->c->entry[((size_t)b * entries + now[b]) * group + (size_t)d];
    }
    for (int round = 0; round < (books > 1 ? ROUNDS : 1); round++) {
        int changed = 0;
        for (int b = 0; b < books; b++) {
            float rest[MOST_GROUP];
            for (int d = 0; d < m->group; d++) {
                rest[d] = x[d];
                for (int other = 0; other < books; other++)
                    if (other != b) rest[d] -= (float)t->c->entry[((size_t)other * entries + to->to[other]) * group + (size_t)d];
            }
            int best = nearest_entry(t, b, rest, score, to->to[b]);
            changed |= best != to->to[b];
            to->to[b] = (uint16_t)best;
        }
        if (!changed) break;
    }
    return distance(t, x, now, n) - distance(t, x, to->to, n);
}

static float look_at_integer(move *to, const hd_pv_part *m, int row, int i) {
    const hd_linear_result *l = &m->m->linear;
    size_t at = (size_t)row * (size_t)m->in + (size_t)i;
    if (l->mask && !l->mask[at]) return 0;
    int shift = l->shift ? 1 << l->shift[(size_t)row * (size_t)((m->in + m->m->format.group - 1) / m->m->format.group) + (size_t)(i / m->m->format.group)] : 1;
    float unit = unit_of(m, row, i);
    if (!(fabsf(unit) > 0)) return 0;
    float x = m->buffer[at] / unit, code = roundf((x - (float)m->lowest) / (float)m->step);
    float top = (float)((m->highest - m->lowest) / m->step), now = (float)(l->v[at] / shift);
    int v = m->lowest + m->step * (int)(code < 0 ? 0 : code > top ? top : code);
    int16_t stored = (int16_t)(v * shift);
    memcpy(&to->to[0], &stored, sizeof stored);
    return (x - now) * (x - now) - (x - (float)v) * (x - (float)v);
}

static int by_falling_gain(const void *a, const void *b) {
    const move *x = a, *y = b;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    if (x->part != y->part) return x->part - y->part;
    return x->group < y->group ? -1 : x->group > y->group;
}

static void apply(hd_pv_part *m, const move *x) {
    if (m->table) {
        int books = m->table->c->books;
        memcpy(m->m->code->code + (size_t)x->group * (size_t)books, x->to, (size_t)books * sizeof *x->to);
    } else
        memcpy(&m->m->linear.v[x->group], &x->to[0], sizeof(int16_t));
}

/* All groups of a part: to[group], gain 0 where nothing is better. */
static int look_at_part(hd_pv *p, int k, move *to) {
    const hd_pv_part *m = &p->part[k];
    int failed = 0;
#pragma omp parallel
    {
        float *score = malloc((m->table ? (size_t)1 << m->table->c->window : 1) * sizeof *score);
        if (!score) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int r = 0; r < m->out; r++)
            for (int g = 0; score && g < m->groups; g++) {
                move *x = &to[(size_t)r * (size_t)m->groups + (size_t)g];
                x->part = k;
                x->group = (uint32_t)(r * m->groups + g);
                x->gain = m->table ? look_at_codes(x, m, r, g, score) : look_at_integer(x, m, r, g);
            }
        free(score);
    }
    return !failed;
}

long hd_pv_move(hd_pv *p, size_t most) {
    move *all = malloc(p->groups * sizeof *all);
    size_t at = 0, wanted = 0;
    int good = all != NULL;
    for (int k = 0; good && k < p->parts; k++) {
        good = look_at_part(p, k, all + at);
        at += (size_t)p->part[k].out * (size_t)p->part[k].groups;
    }
    for (size_t i = 0; good && i < p->groups; i++)
        if (all[i].gain > 1e-6f) all[wanted++] = all[i];
    if (good && wanted > most) qsort(all, wanted, sizeof *all, by_falling_gain);
    if (wanted > most) wanted = most;
    for (size_t i = 0; good && i < wanted; i++) apply(&p->part[all[i].part], &all[i]);
    free(all);
    return good ? (long)wanted : (long)HD_NOMEM;
}
