/* Geometries: what an instance of the accelerator may look like. The same rules stop elaboration of the RTL; here
 * they come with the values that broke them. */
#include <stdio.h>
#include <string.h>

#include "program.h"

typedef struct memory_rule {
    const char *name;
    size_t offset;
    uint32_t lo, hi;
} memory_rule;

/* The memories, whose limits are here, then the options, which hd_geometry_check looks at one by one. */
enum { MEMORIES = 6 };
static const memory_rule memories[] = {
    {"act", offsetof(hd_geometry, act_words), 64, 1u << 22},
    {"window", offsetof(hd_geometry, window_words), 16, HD_MAX_WINDOW_WORDS},
    {"stream", offsetof(hd_geometry, stream_words), 16, 1u << 22},
    {"param", offsetof(hd_geometry, param_words), 16, 65536},
    {"descriptors", offsetof(hd_geometry, descriptors), 2, 1024},
    {"tables", offsetof(hd_geometry, tables), 0, 16},
    {"hop", offsetof(hd_geometry, hop), 0, 0},
    {"acc", offsetof(hd_geometry, acc_bits), 0, 0},
    {"fetch", offsetof(hd_geometry, fetch), 0, 0},
    {"post", offsetof(hd_geometry, post), 0, 0},
    {"residual", offsetof(hd_geometry, residual), 0, 0},
    {"extern", offsetof(hd_geometry, extern_log2), 0, 0},
    {"mhz", offsetof(hd_geometry, extern_mhz), 0, 0},
    {"decode", offsetof(hd_geometry, decode), 0, 0},
    {"pump", offsetof(hd_geometry, pump), 0, 0},
    {"pool", offsetof(hd_geometry, pool), 0, 0},
    {"slot", offsetof(hd_geometry, slot), 0, 0},
    {"gather", offsetof(hd_geometry, gather), 0, 0},
    {"sums", offsetof(hd_geometry, sums), 0, 0},
    {"perf", offsetof(hd_geometry, perf), 0, 0},
};
enum { FIELDS = sizeof memories / sizeof memories[0] };

static int power_of_two(uint32_t v) {
    return v && !(v & (v - 1));
}

static uint32_t *field(hd_geometry *g, size_t offset) {
    return (uint32_t *)(void *)((char *)g + offset);
}

hd_status hd_geometry_check(const hd_geometry *g, hd_err *err) {
    if (g->rows < 1 || g->rows > HD_MAX_ROWS)
        return hd_fail(err, HD_RANGE, "geometry: rows %u; allowed 1..%d", g->rows, HD_MAX_ROWS);
    if (g->cols < 1 || g->cols > HD_MAX_COLS)
        return hd_fail(err, HD_RANGE, "geometry: cols %u; allowed 1..%d", g->cols, HD_MAX_COLS);
    if (g->lanes < 4 || g->lanes > HD_MAX_LANES || !power_of_two(g->lanes))
        return hd_fail(err, HD_RANGE, "geometry: lanes %u; allowed powers of two 4..%d", g->lanes, HD_MAX_LANES);
    if (g->rows > g->lanes)
        return hd_fail(err, HD_RANGE, "geometry: rows %u; allowed at most lanes, %u", g->rows, g->lanes);
    if (g->planes != 1 && g->planes != 2 && g->planes != 4)
        return hd_fail(err, HD_RANGE, "geometry: planes %u; allowed 1, 2 or 4", g->planes);
    if (g->hop < 1 || g->hop > g->cols)
        return hd_fail(err, HD_RANGE, "geometry: hop %u; allowed 1..cols, %u", g->hop, g->cols);
    if (g->pump != 1 && g->pump != 2 && g->pump != 4) return hd_fail(err, HD_RANGE, "geometry: pump %u; allowed 1, 2 or 4", g->pump);
    if (g->lanes / g->pump < 4) return hd_fail(err, HD_RANGE, "geometry: lanes/pump = %u; allowed 4 or more", g->lanes / g->pump);
    if (g->slot != 1 && (g->slot != g->lanes / 2 || !g->post || g->fetch != 1 || g->pool))
        return hd_fail(err, HD_RANGE, "geometry: slot=%u with post=%u,fetch=%u,pool=%u; allowed 1, or lanes/2, %u, with post 1 or more, fetch=1,pool=0", g->slot, g->post,
                       g->fetch, g->pool, g->lanes / 2);
    if (g->pump > 1 && g->slot == 1 && (g->post < 4 || g->fetch != 1 || g->residual || g->pool))
        return hd_fail(err, HD_RANGE, "geometry: pump=%u with post=%u,fetch=%u,residual=%u,pool=%u; allowed only with post 4, 8 or 16, fetch=1,residual=0,pool=0, or with slot=%u",
                       g->pump, g->post, g->fetch, g->residual, g->pool, g->lanes / 2);
    if (g->pump > 1 && g->rows * g->post < 4)
        return hd_fail(err, HD_RANGE, "geometry: pump=%u with rows*post = %u; allowed 4 or more", g->pump, g->rows * g->post);
    if (g->gather > 1 || (g->gather && (g->pump > 1 || g->slot > 1 || g->extern_log2)))
        return hd_fail(err, HD_RANGE, "geometry: gather=%u with pump=%u,slot=%u,extern=%u; allowed 0, or 1 with pump=1,slot=1,extern=0", g->gather, g->pump, g->slot, g->extern_log2);
    uint64_t index_words = g->stream_words;
    for (uint32_t n = hd_geometry_index_words(g) - 1; n; n /= 2) index_words *= 2;
    if (index_words >> 24)
        return hd_fail(err, HD_RANGE, "geometry: gather=1 with stream=%u and %u lanes: index memory of %llu host words; allowed below %u", g->stream_words, g->lanes,
                       (unsigned long long)index_words, 1u << 24);
    if (g->hop < g->cols && (g->hop * (g->lanes / g->pump) * g->planes) % 32)
        return hd_fail(err, HD_RANGE, "geometry: hop*lanes%s*planes = %u; with hop < cols only multiples of 32 are allowed", g->pump > 1 ? "/pump" : "",
                       g->hop * (g->lanes / g->pump) * g->planes);
    if (g->acc_bits < 16 || g->acc_bits > 32)
        return hd_fail(err, HD_RANGE, "geometry: acc %u bits; allowed 16..32", g->acc_bits);
    uint32_t least = 10 + 2 * (g->planes / 2); /* the widest step of a column and one bit; hw/heddle_core.v has the same rule */
    for (uint32_t pairs = g->lanes / 2; pairs > 1; pairs /= 2) least++;
    if (g->acc_bits < least) return hd_fail(err, HD_RANGE, "geometry: acc %u bits; %u lanes of %u planes need %u or more", g->acc_bits, g->lanes, g->planes, least);
    if (g->fetch != 1 && g->fetch != 2) return hd_fail(err, HD_RANGE, "geometry: fetch %u; allowed 1 or 2", g->fetch);
    if (g->post > 16 || (g->post && !power_of_two(g->post)) || g->rows * g->post == 1)
        return hd_fail(err, HD_RANGE, "geometry: post %u with %u rows; allowed 0, 1, 2, 4, 8 or 16, and 1 only with two rows or more", g->post, g->rows);
    if (g->pool > 1) return hd_fail(err, HD_RANGE, "geometry: pool %u; allowed 0 or 1", g->pool);
    if (g->sums > 1) return hd_fail(err, HD_RANGE, "geometry: sums %u; allowed 0 or 1", g->sums);
    if (g->perf > 1) return hd_fail(err, HD_RANGE, "geometry: perf %u; allowed 0 or 1", g->perf);
    if (g->residual > 1) return hd_fail(err, HD_RANGE, "geometry: residual %u; allowed 0 or 1", g->residual);
    for (size_t i = 0; i < MEMORIES; i++) {
        const memory_rule *m = &memories[i];
        uint32_t v;
        memcpy(&v, (const char *)g + m->offset, sizeof v);
        if (v < m->lo || v > m->hi || (v && !power_of_two(v)))
            return hd_fail(err, HD_RANGE, "geometry: memory %s=%u; allowed %spowers of two %u..%u", m->name, v, m->lo ? "" : "0 and ", m->lo ? m->lo : 1, m->hi);
    }
    if (g->extern_log2 && (g->extern_log2 < 10 || g->extern_log2 > HD_EXTERN_MAX))
        return hd_fail(err, HD_RANGE, "geometry: extern %u; allowed 0 or 10..%d", g->extern_log2, HD_EXTERN_MAX);
    if (g->extern_log2 && g->slot > 1) return hd_fail(err, HD_RANGE, "geometry: extern %u with slot %u; allowed only with slot 1", g->extern_log2, g->slot);
    if (g->extern_log2 && g->pump > 1) return hd_fail(err, HD_RANGE, "geometry: extern %u with pump %u; allowed only with pump 1", g->extern_log2, g->pump);
    if (g->decode && !g->sums) return hd_fail(err, HD_RANGE, "geometry: decode %u with sums 0; allowed only with sums 1", g->decode);
    uint32_t slow = g->extern_log2 ? HD_EXTERN_MIN_MHZ : 0, fast = g->extern_log2 ? HD_SDRAM_MAX_MHZ : 0;
    if (!g->extern_log2 && g->extern_mhz) return hd_fail(err, HD_RANGE, "geometry: mhz %u without external memory; it goes with extern=10 to %d", g->extern_mhz, HD_EXTERN_MAX);
    if (g->extern_mhz < slow || g->extern_mhz > fast)
        return hd_fail(err, HD_RANGE, "geometry: mhz %u with extern %u; allowed %u..%u", g->extern_mhz, g->extern_log2, slow, fast);
    if (g->decode > 7 || (g->decode && (!g->extern_log2 || !hd_code_fits(HD_CODE_E8P, g))))
        return hd_fail(err, HD_RANGE, "geometry: decode %u with extern %u, %ux%ux%ux%u; allowed 0..7, above 0 with extern, lanes of 8 or more, cols*planes a multiple of 4 and "
                       "cols*lanes*planes of 64", g->decode, g->extern_log2, g->rows, g->cols, g->lanes, g->planes);
    return HD_OK;
}

/* A decimal number of at most nine digits at *p; 0 and *p unmoved when there is none. */
static int number(const char **p, uint32_t *out) {
    const char *s = *p;
    uint32_t v = 0;
    int n = 0;
    for (; *s >= '0' && *s <= '9'; s++, n++) {
        if (n == 9) return 0;
        v = v * 10 + (uint32_t)(*s - '0');
    }
    if (!n) return 0;
    *out = v;
    *p = s;
    return 1;
}

hd_status hd_geometry_parse(hd_geometry *g, const char *text, hd_err *err) {
    uint32_t v[4];
    const char *p = text;
    for (int i = 0; i < 4; i++) {
        int ok = number(&p, &v[i]);
        if (ok) ok = i < 3 ? *p++ == 'x' : *p == 0;
        if (!ok)
            return hd_fail(err, HD_USAGE, "geometry '%.60s': expected ROWSxCOLSxLANESxPLANES, such as 4x8x8x2", text);
    }
    hd_geometry n = {.rows = v[0], .cols = v[1], .lanes = v[2], .planes = v[3], .acc_bits = 24, .fetch = 2, .residual = 1, .pump = 1, .pool = 1, .slot = 1, .sums = 1, .perf = 1, .act_words = 65536,
                     .window_words = 1024, .stream_words = 262144, .param_words = 8192, .descriptors = 256, .tables = 4};
    /* 8 columns of the narrowest PE (4 lanes, 1 plane) already make 32 bits, so 8 is always legal below cols. */
    n.hop = n.cols > 8 ? 8 : n.cols;
    hd_status st = hd_geometry_check(&n, err);
    if (st == HD_OK) *g = n;
    return st;
}

void hd_geometry_memory_names(char *out, size_t n) {
    size_t used = 0;
    if (n) *out = 0;
    for (size_t i = 0; i < FIELDS && used < n; i++) used += (size_t)snprintf(out + used, n - used, "%s%s", i ? ", " : "", memories[i].name);
}

hd_status hd_geometry_memory(hd_geometry *g, const char *text, hd_err *err) {
    hd_geometry n = *g;
    const char *p = text;
    int ring = 0;
    while (*p) {
        size_t len = strcspn(p, "=,"), i = 0;
        while (i < FIELDS && (strlen(memories[i].name) != len || strncmp(p, memories[i].name, len))) i++;
        if (i == FIELDS) {
            char list[256];
            hd_geometry_memory_names(list, sizeof list);
            return hd_fail(err, HD_USAGE, "memory '%.*s': allowed %s", (int)(len > 60 ? 60 : len), p, list);
        }
        const size_t offset = memories[i].offset;
        const char *name = p;
        p += len;
        uint32_t v;
        if (*p++ != '=' || !number(&p, &v) || (*p && *p != ','))
            return hd_fail(err, HD_USAGE, "memory '%.*s': expected %.*s=NUMBER, of at most nine digits", (int)strcspn(name, ",") > 60 ? 60 : (int)strcspn(name, ","), name,
                           (int)len, name);
        *field(&n, offset) = v;
        if (offset == offsetof(hd_geometry, stream_words)) ring = 1;
        if (*p == ',' && !*++p) return hd_fail(err, HD_USAGE, "memory '%.60s': ends in a comma", text);
    }
    if (n.extern_log2 && !n.extern_mhz) n.extern_mhz = 50;
    /* What goes with external memory goes without it too, unless it was named. */
    if (!n.extern_log2 && g->extern_log2 && n.extern_mhz == g->extern_mhz) n.extern_mhz = 0;
    if (!n.extern_log2 && g->extern_log2 && n.decode == g->decode) n.decode = 0;
    if (n.extern_log2 && !g->extern_log2 && !ring) n.stream_words = 1024;
    hd_status st = hd_geometry_check(&n, err);
    if (st == HD_OK) *g = n;
    return st;
}
