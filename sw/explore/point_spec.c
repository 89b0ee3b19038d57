/* What a design point is: the texts of its axes, their checks, and the command line that makes it again. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/recipe.h"
#include "point.h"

const hd_axis_info hd_axes[HD_AXES] = {
    [HD_AXIS_WEIGHTS] = {"weights", "8", ','},
    [HD_AXIS_SPARSITY] = {"sparsity", "0", ','},
    [HD_AXIS_BLOCK] = {"block", "8x8", ','},
    [HD_AXIS_METHOD] = {"method", "gptq", ','},
    [HD_AXIS_ENDS] = {"ends", "8", ','},
    [HD_AXIS_GEOMETRY] = {"geometry", "board", ','},
    [HD_AXIS_BOARD] = {"board", "ulx3s", ','},
    [HD_AXIS_MEMORY] = {"memory", "fit", ';'},
};

const hd_figure_info hd_figure_infos[HD_FIGURES] = {
#define HD_FIGURE(id, name, title, unit, better) {#name, title, unit, better},
#include "figures.def"
#undef HD_FIGURE
};

hd_status hd_figure_find(hd_figure_id *id, const char *name, hd_err *err) {
    char list[400] = "";
    for (int i = 0; i < HD_FIGURES; i++) {
        if (!strcmp(name, hd_figure_infos[i].name)) {
            *id = (hd_figure_id)i;
            return HD_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", hd_figure_infos[i].name);
    }
    return hd_fail(err, HD_USAGE, "figure '%.40s': unknown; there are %s", name, list);
}

static hd_status refuse(hd_axis axis, const char *text, const char *allowed, hd_err *err) {
    return hd_fail(err, HD_USAGE, "--%s: found '%.60s'; allowed %s", hd_axes[axis].name, text, allowed);
}

/* A number lo..hi as short as it can be written. */
static int canonical_number(char *out, size_t n, const char *text, double lo, double hi) {
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(v) || v < lo || v > hi) return 0;
    snprintf(out, n, "%.6g", v > 0 ? v : 0.0);
    return 1;
}

static int two_numbers(const char *text, int *in, int *out) {
    char rest;
    return sscanf(text, "%5dx%5d%c", in, out, &rest) == 2 && *in >= 1 && *out >= 1 && *in <= 65535 && *out <= 65535;
}

static hd_status set_weights(char *to, const char *text, hd_err *err) {
    char number[32];
    if (!strncmp(text, "auto:", 5) && canonical_number(number, sizeof number, text + 5, 0.5, 8)) snprintf(to, HD_AXIS_TEXT, "auto:%s", number);
    else if (!strcmp(text, "ternary") || (text[0] >= '1' && text[0] <= '8' && !text[1])) snprintf(to, HD_AXIS_TEXT, "%s", text);
    else return refuse(HD_AXIS_WEIGHTS, text, "are 1..8, ternary, and auto:B with B 0.5..8", err);
    return HD_OK;
}

/* "fit", "board" or neither, and what comes after: *rest points at the overrides. */
static int memory_base(const char *text, const char **rest) {
    size_t n = strcspn(text, ",");
    int board = n == 5 && !strncmp(text, "board", 5), fit = n == 3 && !strncmp(text, "fit", 3);
    *rest = board || fit ? text + n + (text[n] == ',') : text;
    return board;
}

static hd_status set_memory(char *to, const char *text, hd_err *err) {
    const char *rest;
    int board = memory_base(text, &rest);
    snprintf(to, HD_AXIS_TEXT, "%s%s%s", board ? "board" : "fit", *rest ? "," : "", rest);
    if (!text[strcspn(text, ",")] || *rest) return HD_OK;
    return refuse(HD_AXIS_MEMORY, text, "is a list that does not end in a comma", err);
}

hd_status hd_point_set(hd_point_spec *p, hd_axis axis, const char *text, hd_err *err) {
    char *to = p->axis[axis];
    const hd_board *board;
    hd_geometry g;
    int in, out;
    if (strlen(text) >= HD_AXIS_TEXT - 8) return hd_fail(err, HD_USAGE, "--%s: '%.40s...' has %zu characters; allowed are %d", hd_axes[axis].name, text, strlen(text), HD_AXIS_TEXT - 9);
    if (!*text) return hd_fail(err, HD_USAGE, "--%s: an empty value; a value looks like %s", hd_axes[axis].name, hd_axes[axis].otherwise);
    hd_status s = HD_OK;
    switch (axis) {
    case HD_AXIS_WEIGHTS: return set_weights(to, text, err);
    case HD_AXIS_SPARSITY: return canonical_number(to, HD_AXIS_TEXT, text, 0, 0.99) ? HD_OK : refuse(axis, text, "is a number 0..0.99", err);
    case HD_AXIS_BLOCK:
        if (strcmp(text, "array") && !two_numbers(text, &in, &out)) return refuse(axis, text, "are INxOUT, each 1..65535, as in 8x8, and array", err);
        if (strcmp(text, "array")) snprintf(to, HD_AXIS_TEXT, "%dx%d", in, out);
        else snprintf(to, HD_AXIS_TEXT, "array");
        return HD_OK;
    case HD_AXIS_METHOD: {
        hd_recipe r = {0};
        s = hd_recipe_parse(&r, text, err);
        if (s) return hd_fail_in(err, "--method"), s;
        break;
    }
    case HD_AXIS_ENDS:
        if (strcmp(text, "8") && strcmp(text, "dense") && strcmp(text, "same")) return refuse(axis, text, "are 8, dense and same", err);
        break;
    case HD_AXIS_GEOMETRY:
        if (strcmp(text, "board")) s = hd_geometry_parse(&g, text, err);
        break;
    case HD_AXIS_BOARD:
        if (strcmp(text, "none")) s = hd_board_find(&board, text, err);
        break;
    case HD_AXIS_MEMORY: return set_memory(to, text, err);
    case HD_AXES: break;
    }
    if (!s) snprintf(to, HD_AXIS_TEXT, "%s", text);
    return s;
}

void hd_point_default(hd_point_spec *p) {
    memset(p, 0, sizeof *p);
    for (int i = 0; i < HD_AXES; i++) snprintf(p->axis[i], HD_AXIS_TEXT, "%s", hd_axes[i].otherwise);
}

hd_status hd_point_geometry(hd_geometry *g, const hd_board **board, int *fit, const hd_point_spec *p, hd_err *err) {
    const char *shape = p->axis[HD_AXIS_GEOMETRY], *name = p->axis[HD_AXIS_BOARD], *rest;
    const int own = !strcmp(shape, "board"), none = !strcmp(name, "none");
    hd_geometry roomy = {0};
    *board = NULL;
    *fit = !memory_base(p->axis[HD_AXIS_MEMORY], &rest);
    hd_status s = none ? HD_OK : hd_board_find(board, name, err);
    if (!s && none && own) s = hd_fail(err, HD_USAGE, "--board none has no geometry of its own; give --geometry, as in 4x8x8x2");
    if (!s && none && !*fit) s = hd_fail(err, HD_USAGE, "--board none has no memories of its own; allowed is --memory fit");
    if (!s && !own) s = hd_geometry_parse(&roomy, shape, err);
    if (!s && none) *g = roomy;
    if (!s && !none) s = hd_board_geometry(g, *board, err);
    if (s) return s;
    if (!own && !none) {
        g->rows = roomy.rows, g->cols = roomy.cols, g->lanes = roomy.lanes, g->planes = roomy.planes, g->hop = roomy.hop;
        if (g->slot > 1) g->slot = g->lanes / 2; /* the only slot above 1 that there is */
    }
    if (*fit && !none) {
        /* Depths that no network of these boards fills: the compiler keeps what it uses. A ring stays as deep as it is. */
        g->act_words = g->lanes > 16 ? 1u << 15 : 1u << 16;
        g->window_words = 1024;
        if (!g->extern_log2) g->stream_words = 1u << 18;
        g->param_words = 8192;
        g->descriptors = 256;
        g->tables = 4;
    }
    if (*rest) s = hd_geometry_memory(g, rest, err);
    if (!s) s = hd_geometry_check(g, err);
    /* Without its SDRAM the stream memory is no ring any more. */
    if (!s && *fit && !none && !g->extern_log2 && !strstr(rest, "stream=")) g->stream_words = 1u << 18;
    return s;
}

hd_status hd_point_settle(hd_point_spec *p, hd_err *err) {
    hd_geometry g;
    const hd_board *board;
    int fit;
    if (!strncmp(p->axis[HD_AXIS_WEIGHTS], "auto:", 5)) {
        snprintf(p->axis[HD_AXIS_SPARSITY], HD_AXIS_TEXT, "0");
        snprintf(p->axis[HD_AXIS_ENDS], HD_AXIS_TEXT, "same");
    } else if (!strcmp(p->axis[HD_AXIS_SPARSITY], "0")) {
        snprintf(p->axis[HD_AXIS_BLOCK], HD_AXIS_TEXT, "%s", hd_axes[HD_AXIS_BLOCK].otherwise);
    }
    hd_status s = hd_point_geometry(&g, &board, &fit, p, err);
    char who[200];
    snprintf(who, sizeof who, "geometry %.40s, board %.20s, memory %.80s", p->axis[HD_AXIS_GEOMETRY], p->axis[HD_AXIS_BOARD], p->axis[HD_AXIS_MEMORY]);
    return s == HD_RANGE ? (hd_fail_in(err, who), s) : s;
}

/* ---- studies ---- */

void hd_study_default(hd_study *s) {
    *s = (hd_study){.model = "default", .calib_count = 512, .count = 2000};
}

typedef struct writer {
    char *text;
    size_t n, used;
} writer;

/* One argument; quoted where a shell would take it apart. */
static void argument(writer *w, const char *text) {
    int plain = *text && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%") == strlen(text);
    if (w->used + 4 * strlen(text) + 8 >= w->n) return;
    if (w->used) w->text[w->used++] = ' ';
    if (!plain) w->text[w->used++] = '\'';
    for (const char *c = text; *c; c++) {
        if (*c == '\'') w->used += (size_t)snprintf(w->text + w->used, w->n - w->used, "'\\''");
        else w->text[w->used++] = *c;
    }
    if (!plain) w->text[w->used++] = '\'';
    w->text[w->used] = 0;
}

static void option(writer *w, const char *name, const char *value) {
    argument(w, name);
    argument(w, value);
}

static void count_option(writer *w, const char *name, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.10g", value);
    option(w, name, text);
}

void hd_point_command(char *text, size_t n, const hd_study *s, const hd_point_spec *p) {
    writer w = {text, n, 0};
    hd_study plain;
    hd_study_default(&plain);
    *text = 0;
    argument(&w, "heddle");
    argument(&w, "point");
    argument(&w, s->model);
    for (int i = 0; i < HD_AXES; i++) {
        char name[24];
        snprintf(name, sizeof name, "--%s", hd_axes[i].name);
        if (i == HD_AXIS_BOARD || strcmp(p->axis[i], hd_axes[i].otherwise)) option(&w, name, p->axis[i]);
    }
    if (*s->calib) option(&w, "--calib", s->calib);
    if (*s->images) option(&w, "--images", s->images);
    if (*s->labels) option(&w, "--labels", s->labels);
    if (s->calib_count != plain.calib_count) count_option(&w, "--calib-count", s->calib_count);
    if (s->count != plain.count) count_option(&w, "--count", s->count);
    if (s->clock_hz > 0) count_option(&w, "--clock", s->clock_hz);
    if (s->raw) argument(&w, "--raw");
    if (s->hwc) argument(&w, "--hwc");
    if (s->no_area) argument(&w, "--no-area");
}

cJSON *hd_study_json(const hd_study *s) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", s->model);
    cJSON_AddStringToObject(o, "calib", s->calib);
    cJSON_AddStringToObject(o, "images", s->images);
    cJSON_AddStringToObject(o, "labels", s->labels);
    cJSON_AddNumberToObject(o, "calib_count", s->calib_count);
    cJSON_AddNumberToObject(o, "count", s->count);
    cJSON_AddBoolToObject(o, "raw", s->raw);
    cJSON_AddBoolToObject(o, "hwc", s->hwc);
    cJSON_AddNumberToObject(o, "clock_hz", s->clock_hz);
    cJSON_AddBoolToObject(o, "no_area", s->no_area);
    return o;
}

static hd_status read_text(char *to, const cJSON *o, const char *name, hd_err *err) {
    const cJSON *e = cJSON_GetObjectItem(o, name);
    if (!cJSON_IsString(e) || strlen(e->valuestring) >= HD_STUDY_PATH) return hd_fail(err, HD_FORMAT, "no sweep that heddle explore wrote: 'study' has no text '%s' of less than %d characters", name, HD_STUDY_PATH);
    snprintf(to, HD_STUDY_PATH, "%s", e->valuestring);
    return HD_OK;
}

static hd_status read_number(double *to, const cJSON *o, const char *name, double hi, hd_err *err) {
    const cJSON *e = cJSON_GetObjectItem(o, name);
    if (!cJSON_IsNumber(e) || !(e->valuedouble >= 0 && e->valuedouble <= hi)) return hd_fail(err, HD_FORMAT, "no sweep that heddle explore wrote: 'study' has no number '%s' of 0..%.10g", name, hi);
    *to = e->valuedouble;
    return HD_OK;
}

hd_status hd_study_read(hd_study *s, const cJSON *o, hd_err *err) {
    double calib_count = 0, count = 0;
    hd_study_default(s);
    hd_status st = read_text(s->model, o, "model", err);
    if (!st) st = read_text(s->calib, o, "calib", err);
    if (!st) st = read_text(s->images, o, "images", err);
    if (!st) st = read_text(s->labels, o, "labels", err);
    if (!st) st = read_number(&calib_count, o, "calib_count", 1e6, err);
    if (!st) st = read_number(&count, o, "count", 1e9, err);
    if (!st) st = read_number(&s->clock_hz, o, "clock_hz", 1e12, err);
    s->calib_count = (uint32_t)calib_count;
    s->count = (uint32_t)count;
    s->raw = cJSON_IsTrue(cJSON_GetObjectItem(o, "raw"));
    s->hwc = cJSON_IsTrue(cJSON_GetObjectItem(o, "hwc"));
    s->no_area = cJSON_IsTrue(cJSON_GetObjectItem(o, "no_area"));
    return st;
}
