/* The front of an exploration as a still picture: one SVG file, readable on light and dark pages. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/file.h"
#include "collect.h"
#include "svg.h"

enum { WIDTH = 820, HEIGHT = 470, LEFT = 70, RIGHT = 800, TOP = 20, BOTTOM = 380, SERIES = 8 };

typedef struct scale {
    double lo, hi, from, to;
    int log;
} scale;

static double at(const scale *s, double v) {
    double a = s->log ? log(s->lo) : s->lo, b = s->log ? log(s->hi) : s->hi, c = s->log ? log(v) : v;
    return s->from + (c - a) / (b - a) * (s->to - s->from);
}

static int drawn(const hd_row *r, hd_figure_id x, hd_figure_id y) {
    return r->ok && r->fits != 0 && !isnan(r->figure[x].value) && !isnan(r->figure[y].value);
}

static scale make_scale(const hd_table *t, hd_figure_id id, hd_figure_id other, double from, double to) {
    scale s = {INFINITY, -INFINITY, from, to, 0};
    for (int i = 0; i < t->n; i++) {
        if (!drawn(&t->row[i], id, other)) continue;
        s.lo = fmin(s.lo, t->row[i].figure[id].value);
        s.hi = fmax(s.hi, t->row[i].figure[id].value);
    }
    s.log = s.lo > 0 && s.hi / s.lo > 4;
    double room = s.log ? pow(s.hi / s.lo, 0.05) : s.hi > s.lo ? (s.hi - s.lo) * 0.06 : fabs(s.hi) * 0.05 + 1e-12;
    if (s.log) s.lo /= room, s.hi *= room;
    else s.lo -= room, s.hi += room;
    if (!strcmp(hd_figure_infos[id].unit, "share")) s.hi = fmin(s.hi, 1);
    return s;
}

static void number(hd_writer *w, hd_figure_id id, double v) {
    static const struct { double least, by; const char *prefix; } steps[] = {{1e9, 1e-9, "G"}, {1e6, 1e-6, "M"}, {1, 1, ""}, {1e-3, 1e3, "m"}, {1e-6, 1e6, "\u00b5"}, {0, 1e9, "n"}};
    const char *unit = hd_figure_infos[id].unit;
    size_t k = 0;
    if (!strcmp(unit, "share")) {
        page_print(w, "%.4g%%", 100 * v);
    } else if (!strcmp(unit, "s") || !strcmp(unit, "J") || !strcmp(unit, "Hz")) {
        while (fabs(v) < steps[k].least * 0.9999) k++;
        page_print(w, "%.4g %s%s", v * steps[k].by, steps[k].prefix, unit);
    } else {
        page_print(w, "%.6g", v);
    }
}

static void tick(hd_writer *w, const scale *s, hd_figure_id id, double v, int across) {
    double p = at(s, v);
    if (across) page_print(w, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' class='g'/><text x='%.1f' y='%d' text-anchor='middle'>", p, p, TOP, BOTTOM, p, BOTTOM + 20);
    else page_print(w, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='g'/><text x='%d' y='%.1f' text-anchor='end'>", LEFT, RIGHT, p, p, LEFT - 8, p + 4);
    number(w, id, v);
    page_print(w, "</text>\n");
}

static void axis(hd_writer *w, const scale *s, hd_figure_id id, int across) {
    static const double marks[] = {1, 2, 5};
    if (s->log) {
        for (double decade = pow(10, floor(log10(s->lo))); decade <= s->hi; decade *= 10)
            for (int k = 0; k < 3; k++)
                if (decade * marks[k] >= s->lo && decade * marks[k] <= s->hi && (s->hi / s->lo < 300 || !k)) tick(w, s, id, decade * marks[k], across);
        return;
    }
    double raw = (s->hi - s->lo) / 6, base = pow(10, floor(log10(raw))), m = raw / base, by = base * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
    for (double v = ceil(s->lo / by) * by; v <= s->hi; v += by) tick(w, s, id, fabs(v) < by / 1e6 ? 0 : v, across);
}

/* One shape a series, so that colours need not be told apart. */
static void marker(hd_writer *w, double x, double y, int series, double r, int filled) {
    page_print(w, "<g transform='translate(%.1f %.1f)' class='s%d%s'>", x, y, series % SERIES, filled ? "" : " o");
    switch (series % 4) {
    case 0: page_print(w, "<circle r='%.1f'/>", r); break;
    case 1: page_print(w, "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f'/>", -0.9 * r, -0.9 * r, 1.8 * r, 1.8 * r); break;
    case 2: page_print(w, "<polygon points='0,%.1f %.1f,%.1f %.1f,%.1f'/>", -1.2 * r, 1.1 * r, 0.8 * r, -1.1 * r, 0.8 * r); break;
    default: page_print(w, "<polygon points='0,%.1f %.1f,0 0,%.1f %.1f,0'/>", -1.3 * r, 1.3 * r, 1.3 * r, -1.3 * r); break;
    }
    page_print(w, "</g>\n");
}

static const char *weights_of(const hd_row *r) {
    const cJSON *e = cJSON_GetObjectItem(cJSON_GetObjectItem(r->json, "axes"), hd_axes[HD_AXIS_WEIGHTS].name);
    return cJSON_IsString(e) ? e->valuestring : "";
}

static double bits_of(const char *weights) {
    return !strcmp(weights, "ternary") ? 1.58 : strtod(weights + (strncmp(weights, "auto:", 5) ? 0 : 5), NULL);
}

/* Series are the weights, by their bits; beyond SERIES they share the last one. */
static int find_series(const char *name[SERIES], const hd_table *t) {
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        const char *w = weights_of(&t->row[i]);
        int at = 0;
        while (at < n && strcmp(name[at], w)) at++;
        if (at < n || n == SERIES) continue;
        for (at = n++; at && bits_of(name[at - 1]) > bits_of(w); at--) name[at] = name[at - 1];
        name[at] = w;
    }
    return n;
}

static int series_of(const char *const name[SERIES], int n, const char *weights) {
    for (int i = 0; i < n; i++)
        if (!strcmp(name[i], weights)) return i;
    return n - 1;
}

/* The front of the two figures drawn: sorted by x from the good end, y must improve. */
static void front_line(hd_writer *w, const hd_table *t, hd_figure_id x, hd_figure_id y, const scale *sx, const scale *sy) {
    const int up = hd_figure_infos[x].better > 0, high = hd_figure_infos[y].better > 0;
    double last_x = up ? INFINITY : -INFINITY, best_y = high ? -INFINITY : INFINITY;
    int points = 0;
    for (;;) {
        const hd_row *next = NULL;
        for (int i = 0; i < t->n; i++) {
            const hd_row *r = &t->row[i];
            if (!drawn(r, x, y)) continue;
            double vx = r->figure[x].value, vy = r->figure[y].value;
            if (high ? vy <= best_y : vy >= best_y) continue;
            if (up ? vx > last_x : vx < last_x) continue;
            double nx = next ? next->figure[x].value : 0, ny = next ? next->figure[y].value : 0;
            int nearer = up ? vx > nx : vx < nx, same = !(vx < nx) && !(vx > nx);
            if (!next || nearer || (same && (high ? vy > ny : vy < ny))) next = r;
        }
        if (!next) break;
        last_x = next->figure[x].value;
        best_y = next->figure[y].value;
        if (!points++) page_print(w, "<path class='f' d='M%.1f %.1f", at(sx, last_x), at(sy, best_y));
        else page_print(w, "H%.1fV%.1f", at(sx, last_x), at(sy, best_y));
    }
    if (points) page_print(w, "'/>\n");
}

static const char style[] =
    "<style>text{font:13px system-ui,sans-serif;fill:#1b1f24}.g{stroke:#dde1e6}.f{fill:none;stroke:#59626e;stroke-width:1.5;stroke-dasharray:5 4}.bg{fill:#fff}g{stroke-width:1.6}"
    ".s0{fill:#0072b2;stroke:#0072b2}.s1{fill:#d55e00;stroke:#d55e00}.s2{fill:#009e73;stroke:#009e73}.s3{fill:#cc79a7;stroke:#cc79a7}.s4{fill:#e69f00;stroke:#e69f00}.s5{fill:#56b4e9;stroke:#56b4e9}"
    ".s6{fill:#6b6b6b;stroke:#6b6b6b}.s7{fill:#000;stroke:#000}.o{fill:none}"
    "@media(prefers-color-scheme:dark){text{fill:#e8eaed}.g{stroke:#333a44}.f{stroke:#a5aeba}.bg{fill:#14171b}.s0{fill:#4aa8e8;stroke:#4aa8e8}.s7{fill:#fff;stroke:#fff}.o{fill:none}}</style>\n";

hd_status hd_table_svg(const hd_table *t, hd_figure_id x, hd_figure_id y, const char *path, hd_err *err) {
    hd_writer w = {0};
    const char *name[SERIES];
    const int n = find_series(name, t);
    page_print(&w, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' role='img' aria-label='%s over %s'>\n", WIDTH, HEIGHT, hd_figure_infos[y].title, hd_figure_infos[x].title);
    hd_put_bytes(&w, style, sizeof style - 1);
    page_print(&w, "<rect class='bg' width='%d' height='%d'/>\n", WIDTH, HEIGHT);
    scale sx = make_scale(t, x, y, LEFT, RIGHT), sy = make_scale(t, y, x, BOTTOM, TOP);
    if (sx.hi > sx.lo && sy.hi > sy.lo) {
        axis(&w, &sx, x, 1);
        axis(&w, &sy, y, 0);
        front_line(&w, t, x, y, &sx, &sy);
        /* Those of the front over the others. */
        for (int front = 0; front < 2; front++)
            for (int i = 0; i < t->n; i++) {
                const hd_row *r = &t->row[i];
                if (!drawn(r, x, y) || r->front != front) continue;
                marker(&w, at(&sx, r->figure[x].value), at(&sy, r->figure[y].value), series_of(name, n, weights_of(r)), front ? 6 : 4.2, front);
            }
    }
    page_print(&w, "<text x='%d' y='%d' text-anchor='middle'>%s</text><text transform='translate(16 %d) rotate(-90)' text-anchor='middle'>%s</text>\n", (LEFT + RIGHT) / 2, BOTTOM + 44,
               hd_figure_infos[x].title, (TOP + BOTTOM) / 2, hd_figure_infos[y].title);
    page_print(&w, "<text x='%d' y='%d'>weights</text>\n", LEFT, HEIGHT - 14);
    for (int i = 0; i < n; i++) {
        marker(&w, LEFT + 72 + 84.0 * i, HEIGHT - 18.5, i, 5.5, 1);
        page_print(&w, "<text x='%.1f' y='%d'>", LEFT + 84 + 84.0 * i, HEIGHT - 14);
        page_text(&w, name[i]);
        page_print(&w, "</text>\n");
    }
    page_print(&w, "</svg>\n");
    hd_status s = w.failed ? hd_fail(err, HD_NOMEM, "%s: no memory for the picture", path) : hd_file_write(path, w.data, w.size, err);
    hd_writer_free(&w);
    return s;
}
