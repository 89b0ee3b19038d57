/* The page of an exploration: page.html with the results in it; and the same front as a picture for documents. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/file.h"
#include "collect.h"
#include "svg.h"

__asm__(".pushsection .rodata\n"
        ".globl hd_explore_page_first\n"
        ".hidden hd_explore_page_first\n"
        "hd_explore_page_first:\n"
        ".incbin \"" HD_EXPLORE_PAGE "\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char hd_explore_page_first[];

static const char mark[] = "/*DATA*/";

/* ---- data ---- */

static cJSON *figure_rows(void) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < HD_FIGURES; i++) {
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", hd_figure_infos[i].name);
        cJSON_AddStringToObject(e, "title", hd_figure_infos[i].title);
        cJSON_AddStringToObject(e, "unit", hd_figure_infos[i].unit);
        cJSON_AddNumberToObject(e, "better", hd_figure_infos[i].better);
        cJSON_AddItemToArray(list, e);
    }
    return list;
}

/* What the page shows of a point: its file without what all of them share. */
static cJSON *point_json(const hd_row *r) {
    static const char *const taken[] = {"axes", "command", "compressed", "status", "message", "lacks", "memories", "array", "fpga", "clock_basis", "figures", "layers"};
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", r->name);
    cJSON_AddNumberToObject(o, "fits", !r->ok ? 0 : r->fits);
    cJSON_AddNumberToObject(o, "front", r->front);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        const cJSON *e = cJSON_GetObjectItem(r->json, taken[i]);
        if (e) cJSON_AddItemToObject(o, taken[i], cJSON_Duplicate(e, 1));
    }
    return o;
}

static cJSON *page_json(const hd_table *t, const hd_figure_id *objective, int n) {
    cJSON *o = cJSON_CreateObject(), *axes, *objectives, *points;
    cJSON_AddItemToObject(o, "study", hd_study_json(&t->study));
    cJSON_AddNumberToObject(o, "missing", t->missing);
    cJSON_AddItemToObject(o, "figures", figure_rows());
    axes = cJSON_AddArrayToObject(o, "axes");
    for (int i = 0; i < HD_AXES; i++) cJSON_AddItemToArray(axes, cJSON_CreateString(hd_axes[i].name));
    objectives = cJSON_AddArrayToObject(o, "objectives");
    for (int i = 0; i < n; i++) cJSON_AddItemToArray(objectives, cJSON_CreateString(hd_figure_infos[objective[i]].name));
    points = cJSON_AddArrayToObject(o, "points");
    for (int i = 0; i < t->n; i++) cJSON_AddItemToArray(points, point_json(&t->row[i]));
    return o;
}

/* Inside of a script element nothing may look like its end, or like a comment. */
static void put_script(hd_writer *w, const char *text) {
    for (; *text; text++) {
        if (*text == '<') hd_put_bytes(w, "\\u003c", 6);
        else hd_put_u8(w, (uint8_t)*text);
    }
}

hd_status hd_table_page(const hd_table *t, const hd_figure_id *objective, int n, const char *path, hd_err *err) {
    const char *page = hd_explore_page_first, *at = strstr(page, mark);
    cJSON *o = page_json(t, objective, n);
    char *text = o ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    if (!text) return hd_fail(err, HD_NOMEM, "%s: no memory for the data of %d points", path, t->n);
    hd_writer w = {0};
    hd_put_bytes(&w, page, (size_t)(at - page));
    put_script(&w, text);
    hd_put_bytes(&w, at + sizeof mark - 1, strlen(at + sizeof mark - 1));
    free(text);
    hd_status s = w.failed ? hd_fail(err, HD_NOMEM, "%s: no memory for the page", path) : hd_file_write(path, w.data, w.size, err);
    hd_writer_free(&w);
    return s;
}
