/* The demo's page: summary table, plots, and each point's layers. One file, no scripts, readable in light and dark. */
#include <math.h>
#include <stdio.h>

#include "../core/file.h"
#include "demo.h"
#include "svg.h"

/* Okabe-Ito colours: told apart with any common colour blindness. */
static const char style[] =
    "<style>:root{--bg:#fff;--fg:#1b1f24;--soft:#5a6370;--rule:#d8dde3;--c0:#0072b2;--c1:#e69f00;--c2:#009e73;--c3:#cc79a7;--c4:#56b4e9;--c5:#d55e00;--c6:#999}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e8eaed;--soft:#a3acb8;--rule:#363c44;--c0:#3d9be0}}"
    "body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.25rem;margin-top:2.2rem}.soft{color:var(--soft)}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}"
    "th,td{padding:.35rem .6rem;border-bottom:1px solid var(--rule);text-align:right}th:first-child,td:first-child,.why{text-align:left}th{font-weight:600}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1.5rem}figure{margin:0}figcaption{font-weight:600;margin:.6rem 0}"
    "svg{width:100%;height:auto;font:13px system-ui,sans-serif}svg text{fill:var(--fg)}.mid{text-anchor:middle}.end{text-anchor:end}.start{text-anchor:start}"
    ".grid{stroke:var(--rule)}.axis{stroke:var(--soft)}.dash{stroke:var(--soft);stroke-dasharray:6 5}.dot{stroke:var(--bg);stroke-width:2}"
    ".bar{display:inline-block;height:.7em;background:var(--c0);vertical-align:baseline}summary{cursor:pointer;font-weight:600;padding:.4rem 0}"
    "code{background:var(--rule);padding:.1em .3em;border-radius:3px}</style>";

static void head(hd_writer *w, const hd_demo *d) {
    const hd_geometry *g = &d->geometry;
    page_print(w, "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>heddle demo</title>");
    hd_put_bytes(w, style, sizeof style - 1);
    page_print(w, "</head><body>\n<h1>heddle: one network, %s compressions</h1><p class='soft'>", d->n_points == HD_DEMO_POINTS ? "six" : "four");
    page_text(w, d->model);
    page_print(w, ", %u weights, on ", d->weights);
    if (d->board) page_text(w, d->board->title);
    else page_print(w, "the default geometry");
    page_print(w, ": %u rows &times; %u columns &times; %u lanes &times; %u planes = %llu int8&nbsp;&times;&nbsp;1-bit operations a cycle, at %s %.6g MHz. ", g->rows, g->cols, g->lanes,
               g->planes, (unsigned long long)hd_program_ops(g), d->clock_assumed ? "an <b>assumed clock</b> of" : "a measured clock of", d->clock_hz / 1e6);
    page_text(w, d->clock_basis);
    page_print(w, ".</p>\n");
}

static void summary(hd_writer *w, const hd_demo *d) {
    page_print(w, "<div class='wide'><table><thead><tr><th>weights</th><th>accuracy</th><th>stored bytes</th><th>bits/weight</th><th>cycles/image</th>"
                  "<th>images/s%s</th><th>utilisation</th><th>speed-up</th><th>RTL = models</th></tr></thead><tbody>\n", d->clock_assumed ? " (assumed clock)" : "");
    for (int i = 0; i < d->n_points; i++) {
        const hd_demo_point *p = &d->point[i];
        page_print(w, "<tr><td title='");
        page_text(w, p->about);
        page_print(w, "'>");
        page_text(w, p->name);
        page_print(w, "</td><td>%.2f%%</td><td>%zu</td><td>%.3f</td><td>%llu</td><td>%.0f</td><td>%.1f%%</td><td>%.2f&times;</td><td>%u images</td></tr>\n", 100 * p->accuracy, p->bytes,
                   p->bits_per_weight, (unsigned long long)p->cost->cycles, p->images_per_second, 100 * p->cost->utilisation, p->speedup, p->compared);
    }
    page_print(w, "<tr><td>float</td><td>%.2f%%</td><td>%llu</td><td>32</td><td></td><td></td><td></td><td></td><td></td></tr></tbody></table></div>\n", 100 * d->float_accuracy,
               (unsigned long long)d->weights * 4);
    page_print(w, "<p class='soft'>Accuracy [measured] over %u test images of Fashion-MNIST. Cycles and utilisation [simulated] by the Verilated RTL; every layer took exactly the cycles the "
                  "instruction-level model predicts, and every compared image gave the same bytes on the RTL, on that model and on the integer executor. Bits per weight "
                  "[measured] count scales, biases, multipliers and masks. Images a second [derived] = clock / cycles; moving data over a link is not in it.</p>\n", d->images);
}

static void plots(hd_writer *w, const hd_demo *d) {
    static const char *const parts[] = {"useful", "window", "drain", "padding", "start", "pool"};
    enum { PARTS = sizeof parts / sizeof *parts };
    svg_point point[HD_DEMO_POINTS];
    const char *label[HD_DEMO_POINTS];
    double rate[HD_DEMO_POINTS], lost[HD_DEMO_POINTS * PARTS] = {0};
    char rate_text[HD_DEMO_POINTS][32], cycles_text[HD_DEMO_POINTS][32];
    const char *rate_note[HD_DEMO_POINTS], *cycles_note[HD_DEMO_POINTS];
    for (int i = 0; i < d->n_points; i++) {
        const hd_demo_point *p = &d->point[i];
        label[i] = p->name;
        point[i] = (svg_point){p->name, p->bits_per_weight, 100 * p->accuracy};
        rate[i] = p->images_per_second;
        snprintf(rate_text[i], sizeof rate_text[i], "%.2f\u00d7", p->speedup);
        snprintf(cycles_text[i], sizeof cycles_text[i], "%.1f%%", 100 * p->cost->utilisation);
        rate_note[i] = rate_text[i];
        cycles_note[i] = cycles_text[i];
        for (uint32_t l = 0; l < p->cost->n_layers; l++)
            for (int k = 0; k < PARTS; k++) lost[i * PARTS + k] += (double)p->cost->layer[l].lost[k];
    }
    page_print(w, "<h2>Plots</h2><div class='plots'>\n");
    svg_draw_scatter(w, &(svg_scatter){"Accuracy against stored size", "total bits per weight", "test accuracy, %", "float", 100 * d->float_accuracy, d->n_points, point});
    svg_draw_bars(w, &(svg_bars){d->clock_assumed ? "Images a second (assumed clock), and speed-up over W8" : "Images a second, and speed-up over W8", "images a second",
                                 d->n_points, 1, label, NULL, rate, rate_note});
    svg_draw_bars(w, &(svg_bars){"Where the cycles of an image go, and utilisation", "cycles", d->n_points, PARTS, label, parts, lost, cycles_note});
    page_print(w, "</div>\n<p class='soft'>useful: steps doing wanted work; window: waiting for activations; drain: tiles shorter than the drain of the tile before; padding: unused rows, columns "
                  "or lanes of a step; start: descriptor load, first window, last drain; pool: maximum pooling, which leaves the array idle.</p>\n");
}

static void layers(hd_writer *w, const hd_demo *d) {
    page_print(w, "<h2>Layers</h2>\n");
    for (int i = 0; i < d->n_points; i++) {
        const hd_demo_point *p = &d->point[i];
        page_print(w, "<details%s><summary>", i == 1 ? " open" : "");
        page_text(w, p->name);
        page_print(w, " <span class='soft'>");
        page_text(w, p->about);
        page_print(w, "</span></summary><div class='wide'><table><thead><tr><th>layer</th><th>MACs</th><th>blocks</th><th>planes</th><th>cycles</th><th>predicted</th><th>utilisation</th>"
                      "<th class='why'>why not more</th></tr></thead><tbody>\n");
        for (uint32_t k = 0; k < p->cost->n_layers; k++) {
            const hd_layer_cost *l = &p->cost->layer[k];
            page_print(w, "<tr><td>");
            page_text(w, l->info->name);
            page_print(w, "</td><td>%llu</td><td>%u of %u</td><td>%u</td><td>%llu</td><td>%llu</td><td>%.1f%% <span class='bar' style='width:%.1fpx'></span></td><td class='why'>",
                       (unsigned long long)l->info->macs, l->info->blocks_present, l->info->blocks, l->info->planes, (unsigned long long)l->cycles, (unsigned long long)l->predicted,
                       100 * l->utilisation, 60 * l->utilisation);
            page_text(w, l->reason);
            page_print(w, "</td></tr>\n");
        }
        page_print(w, "</tbody></table></div></details>\n");
    }
}

hd_status hd_demo_html(const hd_demo *d, const char *path, hd_err *err) {
    hd_writer w = {0};
    head(&w, d);
    summary(&w, d);
    plots(&w, d);
    layers(&w, d);
    page_print(&w, "<p class='soft'>Made by <code>heddle demo</code> in %.0f s. Nothing here was run on a physical board.</p></body></html>\n", d->seconds);
    hd_status s = w.failed ? hd_fail(err, HD_NOMEM, "%s: no memory for the page", path) : hd_file_write(path, w.data, w.size, err);
    hd_writer_free(&w);
    return s;
}
