/* The search for a code: bit-planes back to offset binary, eight weights at a time, and each code's inverse. */
#include "codes.h"

#include <stdlib.h>
#include <string.h>

#include "../compress/e8p.h"

enum { GROUP = 8, BOOK = 256 };

/* A layer's groups of eight weights, each weight in offset binary: (u + 2^planes - 1) / 2. */
typedef struct groups {
    uint32_t n, per_entry;
    uint8_t *w;    /* [n][GROUP] */
    uint8_t *used; /* [n] */
} groups;

static void read_group(uint8_t w[GROUP], const hd_geometry *g, const uint32_t *words, uint32_t channel, uint32_t group, uint32_t planes) {
    uint32_t columns = planes / g->planes, row = g->lanes;
    memset(w, 0, GROUP);
    for (uint32_t k = 0; k < planes; k++) {
        uint32_t column = channel * columns + columns - 1 - k / g->planes;
        uint32_t bit = (column * g->planes + k % g->planes) * row + group * GROUP;
        for (uint32_t i = 0; i < GROUP; i += 2) {
            uint32_t pair = words[(bit + i) / 32] >> ((bit + i) % 32), sel = pair & 1, plus = ~pair >> 1 & 1;
            w[i] |= (uint8_t)(plus << k);
            w[i + 1] |= (uint8_t)((plus ^ sel) << k);
        }
    }
}

static hd_status read_groups(groups *to, const hd_geometry *g, const uint32_t *weight, uint32_t n, const uint16_t *channels, uint32_t planes, hd_err *err) {
    uint32_t of_channel = g->lanes / GROUP, words = hd_geometry_weight_words(g);
    to->per_entry = g->cols * g->planes / planes * of_channel;
    to->n = n * to->per_entry;
    to->w = malloc((size_t)to->n * GROUP);
    to->used = malloc(to->n);
    if (!to->w || !to->used) return hd_fail(err, HD_NOMEM, "out of memory for the codes of %u entries", n);
    for (uint32_t i = 0; i < to->n; i++) {
        uint32_t entry = i / to->per_entry, channel = i % to->per_entry / of_channel;
        to->used[i] = channel < channels[entry];
        read_group(to->w + (size_t)i * GROUP, g, weight + (size_t)entry * words, channel, i % of_channel, planes);
    }
    return HD_OK;
}

/* ---- E8P ---- */

/* Pattern of eight magnitudes 1, 3, 5, as a number of base 3; -1: none. */
static void pattern_numbers(int16_t number[6561]) {
    for (int i = 0; i < 6561; i++) number[i] = -1;
    for (int code = 0; code < BOOK; code++) {
        int8_t u[GROUP];
        int at = 0;
        hd_e8p_decode(u, (uint16_t)code);
        for (int i = GROUP - 1; i >= 0; i--) at = 3 * at + abs(u[i] - 1) / 4;
        number[at] = (int16_t)code;
    }
}

static int e8p_code(const int16_t number[6561], const uint8_t w[GROUP], uint32_t *code) {
    for (int shift = 0; shift < 2; shift++) {
        int at = 0, signs = 0, fits = 1;
        for (int i = GROUP - 1; i >= 0 && fits; i--) {
            int quarter = 2 * w[i] - 15 - (shift ? -1 : 1), size = abs(quarter);
            fits = size == 2 || size == 6 || size == 10;
            at = 3 * at + size / 4;
            signs = 2 * signs + (quarter < 0);
        }
        if (!fits || number[at] < 0) continue;
        int8_t u[GROUP];
        *code = (uint32_t)number[at] | (uint32_t)(signs & 127) << 8 | (uint32_t)shift << 15;
        hd_e8p_decode(u, (uint16_t)*code);
        for (int i = 0; i < GROUP; i++) fits &= u[i] == 2 * w[i] - 15; /* the last sign may be the wrong one */
        if (fits) return 1;
    }
    return 0;
}

/* ---- books ---- */

static uint32_t nibbles(const uint8_t w[GROUP]) {
    uint32_t v = 0;
    for (int i = 0; i < GROUP; i++) v |= (uint32_t)w[i] << (4 * i);
    return v;
}

/* Difference of eight numbers modulo 16. */
static uint32_t minus(uint32_t a, uint32_t b) {
    uint32_t low = 0x77777777u, high = ~low;
    return ((a | high) - (b & low)) ^ ((a ^ ~b) & high);
}

typedef struct book_entry {
    uint32_t value, code;
} book_entry;

static int by_value(const void *a, const void *b) {
    const book_entry *x = a, *y = b;
    return x->value != y->value ? (x->value > y->value) - (x->value < y->value) : (x->code > y->code) - (x->code < y->code);
}

static int books_code(const uint32_t *books, const book_entry second[BOOK], const uint8_t w[GROUP], uint32_t *code) {
    uint32_t wanted = nibbles(w);
    for (uint32_t a = 0; a < BOOK; a++) {
        uint32_t rest = minus(wanted, books[a]), low = 0, high = BOOK;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (second[middle].value < rest) low = middle + 1;
            else high = middle;
        }
        if (low < BOOK && second[low].value == rest) {
            *code = a | second[low].code << 8;
            return 1;
        }
    }
    return 0;
}

/* ---- tables ---- */

/* The values that occur, if there are at most `most`; returns how many, 0 for too many. */
static uint32_t values_of(const groups *g, uint8_t value[16], uint32_t most) {
    uint32_t n = 0;
    uint8_t seen[256] = {0};
    for (uint32_t i = 0; i < g->n; i++)
        for (uint32_t k = 0; k < GROUP && g->used[i]; k++) seen[g->w[(size_t)i * GROUP + k]] = 1;
    for (uint32_t v = 0; v < 256; v++)
        if (seen[v]) {
            if (n == most) return 0;
            value[n++] = (uint8_t)v;
        }
    return n;
}

/* Pairs of entries, two a word; entries that no weight has repeat the last one. */
static void pair_table(uint32_t *load, const uint8_t *value, uint32_t n, uint32_t size, uint32_t shift) {
    memset(load, 0, size * size / 2 * sizeof *load);
    for (uint32_t pair = 0; pair < size * size; pair++) {
        uint32_t c0 = pair % size, c1 = pair / size;
        uint32_t t0 = (uint32_t)value[c0 < n ? c0 : n - 1] << shift, t1 = (uint32_t)value[c1 < n ? c1 : n - 1] << shift;
        load[pair / 2] |= (t0 | t1 << 8) << (pair % 2 * 16);
    }
}

static uint32_t table_code(const uint8_t *value, uint32_t n, const uint8_t w[GROUP], uint32_t width) {
    uint32_t code = 0;
    for (uint32_t i = 0; i < GROUP; i++)
        for (uint32_t c = 0; c < n; c++)
            if (value[c] == w[i]) code |= c << (width * i);
    return code;
}

/* ---- the choice ---- */

/* Codes of all groups in `code` into code[]; 0 when the code does not say them. */
static int code_all(uint32_t *code, hd_coding *out, int which, const groups *g, const uint32_t *books) {
    int16_t number[6561];
    book_entry second[BOOK];
    uint8_t value[16];
    uint32_t n = 0, wide = which == HD_CODE_TABLE16 ? 16 : 4;
    if (which == HD_CODE_E8P) pattern_numbers(number);
    else if (which == HD_CODE_BOOKS) {
        for (uint32_t b = 0; b < BOOK; b++) second[b] = (book_entry){books[BOOK + b], b};
        qsort(second, BOOK, sizeof *second, by_value);
        memcpy(out->load, books, HD_BOOKS_WORDS * sizeof *books);
    } else {
        n = values_of(g, value, wide);
        if (!n) return 0;
        pair_table(out->load, value, n, wide, wide == 16 ? 0 : 4);
    }
    for (uint32_t i = 0; i < g->n; i++) {
        const uint8_t *w = g->w + (size_t)i * GROUP;
        int fits = 1;
        code[i] = 0;
        if (!g->used[i]) continue;
        if (which == HD_CODE_E8P) fits = e8p_code(number, w, &code[i]);
        else if (which == HD_CODE_BOOKS) fits = books_code(books, second, w, &code[i]);
        else code[i] = table_code(value, n, w, wide == 16 ? 4 : 2);
        if (!fits) return 0;
    }
    return 1;
}

void hd_coding_free(hd_coding *c) {
    free(c->load);
    free(c->payload);
    *c = (hd_coding){.code = -1};
}

hd_status hd_code_find(hd_coding *out, const hd_geometry *g, uint32_t decode, const uint32_t *weight, uint32_t n, const uint16_t *channels, uint32_t planes,
                       const uint32_t *books, hd_err *err) {
    static const int order[] = {HD_CODE_E8P, HD_CODE_TABLE4, HD_CODE_BOOKS, HD_CODE_TABLE16};
    *out = (hd_coding){.code = -1};
    groups all = {0};
    uint32_t *code = NULL, words = hd_geometry_weight_words(g);
    hd_status st = HD_OK;
    for (size_t k = 0; k < sizeof order / sizeof *order && !st && out->code < 0; k++) {
        int which = order[k];
        if (!(decode & hd_code_unit(which)) || planes != hd_code_planes(which) || !hd_code_fits(which, g)) continue;
        if ((which == HD_CODE_BOOKS && !books) || (uint64_t)n * (words / 2) <= hd_code_loads(which)) continue;
        if (!all.w) {
            st = read_groups(&all, g, weight, n, channels, planes, err);
            code = malloc(((size_t)all.n + 1) * sizeof *code);
            out->load = malloc(HD_BOOKS_WORDS * sizeof *out->load);
            out->payload = calloc((size_t)n * words / 2, sizeof *out->payload);
            if (!st && (!code || !out->load || !out->payload)) st = hd_fail(err, HD_NOMEM, "out of memory for the codes of %u entries", n);
            if (st) break;
        }
        if (!code_all(code, out, which, &all, books)) continue;
        out->code = which;
        out->n_load = hd_code_loads(which);
        uint32_t bits = hd_code_planes(which) * GROUP / 2, per_word = 32 / bits;
        for (uint32_t i = 0; i < all.n; i++) {
            uint32_t in_entry = i % all.per_entry;
            out->payload[(size_t)(i / all.per_entry) * (words / 2) + in_entry / per_word] |= code[i] << (in_entry % per_word * bits);
        }
    }
    free(all.w);
    free(all.used);
    free(code);
    if (out->code < 0) hd_coding_free(out);
    return st;
}
