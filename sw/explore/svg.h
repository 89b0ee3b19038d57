/* Inline SVG plots for reports. Text goes through page_text, so any name is safe. Colours are CSS variables --c0..--c6 of the page. */
#ifndef HD_SVG_H
#define HD_SVG_H
#include "../core/bytes.h"

/* printf into a page; page_text escapes & < > and quotes. Numbers come out in the C locale. */
void page_print(hd_writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void page_text(hd_writer *w, const char *text);

typedef struct svg_point {
    const char *label;
    double x, y;
} svg_point;

/* Points with labels; `line` (if finite) is a dashed horizontal with `line_label`. */
typedef struct svg_scatter {
    const char *title, *x_label, *y_label, *line_label;
    double line;
    int n;
    const svg_point *point;
} svg_scatter;
void svg_draw_scatter(hd_writer *w, const svg_scatter *s);

/* Horizontal bars, each the sum of its parts; parts have one colour each and a legend when there are several. */
typedef struct svg_bars {
    const char *title, *x_label;
    int n, n_parts;
    const char *const *label; /* n */
    const char *const *part;  /* n_parts names */
    const double *value;      /* n * n_parts */
    const char *const *note;  /* n texts at the bars' ends */
} svg_bars;
void svg_draw_bars(hd_writer *w, const svg_bars *b);
#endif
