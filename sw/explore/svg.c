#include "svg.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 640, LEFT = 150, RIGHT = 620, LINE = 34 };

void page_print(hd_writer *w, const char *format, ...) {
    char text[2048];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (n < 0 || (size_t)n >= sizeof text) w->failed = 1; /* cut markup must not pass for a page */
    else hd_put_bytes(w, text, (size_t)n);
}

void page_text(hd_writer *w, const char *text) {
    for (; *text; text++) {
        const char *entity = *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '"' ? "&quot;" : NULL;
        if (entity) hd_put_bytes(w, entity, strlen(entity));
        else hd_put_bytes(w, text, 1);
    }
}

/* A round step that makes about `parts` ticks of `span`. */
static double tick_step(double span, int parts) {
    if (!(span > 0)) return 1;
    double raw = span / parts, base = pow(10, floor(log10(raw))), m = raw / base;
    return base * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void label(hd_writer *w, double x, double y, const char *class, const char *text) {
    page_print(w, "<text x='%.1f' y='%.1f' class='%s'>", x, y, class);
    page_text(w, text);
    page_print(w, "</text>");
}

static void number(hd_writer *w, double x, double y, const char *class, double v) {
    page_print(w, "<text x='%.1f' y='%.1f' class='%s'>%.6g</text>", x, y, class, v);
}

static void open_svg(hd_writer *w, const char *title, int height) {
    page_print(w, "<figure><figcaption>");
    page_text(w, title);
    page_print(w, "</figcaption><svg viewBox='0 0 %d %d' role='img' aria-label='", WIDTH, height);
    page_text(w, title);
    page_print(w, "'>");
}

static void close_svg(hd_writer *w) {
    page_print(w, "</svg></figure>\n");
}

typedef struct axis {
    double lo, hi, step, from, to; /* values, and pixels */
} axis;

static double place(const axis *a, double v) {
    return a->from + (v - a->lo) / (a->hi - a->lo) * (a->to - a->from);
}

/* Whole steps around lo..hi. */
static axis make_axis(double lo, double hi, double from, double to) {
    axis a = {.from = from, .to = to, .step = tick_step(hi - lo, 6)};
    a.lo = floor(lo / a.step) * a.step;
    a.hi = ceil(hi / a.step) * a.step;
    if (a.hi <= a.lo) a.hi = a.lo + a.step;
    return a;
}

void svg_draw_scatter(hd_writer *w, const svg_scatter *s) {
    const int top = 20, bottom = 300, left = 60;
    double y_lo = isfinite(s->line) ? s->line : s->point[0].y, y_hi = y_lo, x_hi = 0;
    for (int i = 0; i < s->n; i++) {
        y_lo = fmin(y_lo, s->point[i].y);
        y_hi = fmax(y_hi, s->point[i].y);
        x_hi = fmax(x_hi, s->point[i].x);
    }
    axis x = make_axis(0, x_hi, left, RIGHT), y = make_axis(y_lo, y_hi, bottom, top);
    open_svg(w, s->title, 350);
    for (double v = y.lo; v <= y.hi + y.step / 2; v += y.step) {
        page_print(w, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='grid'/>", left, RIGHT, place(&y, v), place(&y, v));
        number(w, left - 8, place(&y, v) + 4, "end", v);
    }
    for (double v = x.lo; v <= x.hi + x.step / 2; v += x.step) number(w, place(&x, v), bottom + 18, "mid", v);
    page_print(w, "<line x1='%d' x2='%d' y1='%d' y2='%d' class='axis'/>", left, RIGHT, bottom, bottom);
    label(w, (left + RIGHT) / 2.0, bottom + 40, "mid", s->x_label);
    label(w, left, top - 6, "start", s->y_label);
    if (isfinite(s->line)) {
        page_print(w, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='dash'/>", left, RIGHT, place(&y, s->line), place(&y, s->line));
        label(w, left + 6, place(&y, s->line) - 6, "start", s->line_label);
    }
    for (int i = 0; i < s->n; i++) {
        double px = place(&x, s->point[i].x), py = place(&y, s->point[i].y);
        page_print(w, "<circle cx='%.1f' cy='%.1f' r='7' fill='var(--c%d)' class='dot'/>", px, py, i);
        /* Labels on the right half go to the left of their point; below it, clear of the dashed line, unless the axis is there. */
        double ly = py > bottom - 26 ? py - 9 : py + 18;
        if (px > (left + RIGHT) / 2.0) label(w, px - 12, ly, "end", s->point[i].label);
        else label(w, px + 12, ly, "start", s->point[i].label);
    }
    close_svg(w);
}

static void draw_legend(hd_writer *w, const svg_bars *b, int y) {
    double x = LEFT;
    for (int k = 0; k < b->n_parts; k++) {
        page_print(w, "<rect x='%.1f' y='%d' width='12' height='12' fill='var(--c%d)'/>", x, y, k);
        label(w, x + 17, y + 11, "start", b->part[k]);
        x += 32 + 7.2 * (double)strlen(b->part[k]);
    }
}

void svg_draw_bars(hd_writer *w, const svg_bars *b) {
    double longest = 0;
    for (int i = 0; i < b->n; i++) {
        double sum = 0;
        for (int k = 0; k < b->n_parts; k++) sum += b->value[i * b->n_parts + k];
        longest = fmax(longest, sum);
    }
    int legend = b->n_parts > 1 ? 26 : 0, bottom = legend + 8 + b->n * LINE;
    axis x = make_axis(0, longest > 0 ? longest : 1, LEFT, RIGHT - 70); /* room for the notes */
    open_svg(w, b->title, bottom + 48);
    if (legend) draw_legend(w, b, 2);
    for (double v = x.lo; v <= x.hi + x.step / 2; v += x.step) {
        page_print(w, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' class='grid'/>", place(&x, v), place(&x, v), legend + 4, bottom);
        number(w, place(&x, v), bottom + 18, "mid", v);
    }
    label(w, (LEFT + RIGHT - 70) / 2.0, bottom + 40, "mid", b->x_label);
    for (int i = 0; i < b->n; i++) {
        double y = legend + 10 + i * LINE, at = 0;
        label(w, LEFT - 8, y + 17, "end", b->label[i]);
        for (int k = 0; k < b->n_parts; k++) {
            double v = b->value[i * b->n_parts + k];
            if (v <= 0) continue;
            page_print(w, "<rect x='%.1f' y='%.1f' width='%.2f' height='24' fill='var(--c%d)'><title>", place(&x, at), y, place(&x, at + v) - place(&x, at), b->n_parts > 1 ? k : i);
            page_text(w, b->n_parts > 1 ? b->part[k] : b->label[i]);
            page_print(w, ": %.6g</title></rect>", v);
            at += v;
        }
        label(w, place(&x, at) + 6, y + 17, "start", b->note[i]);
    }
    close_svg(w);
}
