#include "collect.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"
#include "files.h"
#include "nsga2.h"
#include "svg.h"

/* ---- reading ---- */

static const char *text_of(const cJSON *o, const char *name) {
    const cJSON *e = cJSON_GetObjectItem(o, name);
    return cJSON_IsString(e) ? e->valuestring : "";
}

static double number_of(const cJSON *o, const char *name) {
    const cJSON *e = cJSON_GetObjectItem(o, name);
    return cJSON_IsNumber(e) ? e->valuedouble : NAN;
}

static void read_row(hd_row *r, const char *path) {
    const cJSON *figures = cJSON_GetObjectItem(r->json, "figures"), *fits = cJSON_GetObjectItem(r->json, "fits_fpga");
    const char *name = strrchr(path, '/') + 1;
    snprintf(r->name, sizeof r->name, "%.16s", name);
    r->ok = !strcmp(text_of(r->json, "status"), "ok");
    r->fits = fits ? cJSON_IsTrue(fits) : -1;
    for (int i = 0; i < HD_FIGURES; i++) {
        const cJSON *f = cJSON_GetObjectItem(figures, hd_figure_infos[i].name);
        r->figure[i] = (hd_point_figure){number_of(f, "value"), number_of(f, "low"), number_of(f, "high"), text_of(f, "fidelity")};
    }
}

hd_status hd_table_load(hd_table *t, hd_explorer *x, const hd_sweep *s, hd_err *err) {
    *t = (hd_table){.study = s->study, .row = calloc((size_t)s->n + 1, sizeof *t->row)};
    hd_status st = t->row ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for the results of %d points", s->n);
    for (int i = 0; !st && i < s->n; i++) {
        char path[1024], placed[1024];
        st = hd_point_path(path, sizeof path, x, &s->point[i], err);
        const char *slash = st ? NULL : strrchr(path, '/');
        if (st) break;
        /* .../points/NAME and .../placed/NAME */
        st = hd_tool_path(placed, sizeof placed, err, "%.*s/placed%s", (int)(slash - path - 7), path, slash);
        if (st) break;
        if (access(path, R_OK)) {
            t->missing++;
            continue;
        }
        const char *use = access(placed, R_OK) ? path : placed;
        st = hd_json_read(&t->row[t->n].json, use, err);
        if (!st) read_row(&t->row[t->n++], use);
    }
    if (st) hd_table_free(t);
    return st;
}

void hd_table_free(hd_table *t) {
    for (int i = 0; i < t->n; i++) cJSON_Delete(t->row[i].json);
    free(t->row);
    *t = (hd_table){0};
}

/* ---- the front ---- */

void hd_row_objectives(double *v, const hd_row *r, const hd_figure_id *objective, int n) {
    int good = r->ok && r->fits != 0;
    for (int k = 0; k < n; k++) good &= !isnan(r->figure[objective[k]].value);
    for (int k = 0; k < n; k++) v[k] = !good ? INFINITY : hd_figure_infos[objective[k]].better > 0 ? -r->figure[objective[k]].value : r->figure[objective[k]].value;
}

hd_status hd_table_front(hd_table *t, const hd_figure_id *objective, int n, int *front, hd_err *err) {
    double *v = malloc(((size_t)t->n * (size_t)n + 1) * sizeof *v);
    int *rank = malloc(((size_t)t->n + 1) * sizeof *rank);
    hd_status s = v && rank ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for the front of %d points", t->n);
    *front = 0;
    for (int i = 0; !s && i < t->n; i++) hd_row_objectives(v + (size_t)i * (size_t)n, &t->row[i], objective, n);
    if (!s) s = hd_pareto_rank(rank, v, t->n, n, err);
    for (int i = 0; !s && i < t->n; i++) {
        t->row[i].front = rank[i] == 0 && isfinite(v[(size_t)i * (size_t)n]);
        *front += t->row[i].front;
    }
    free(v);
    free(rank);
    return s;
}

/* ---- CSV ---- */

static void csv_text(hd_writer *w, const char *text) {
    hd_put_u8(w, '"');
    for (; *text; text++) {
        if (*text == '"') hd_put_u8(w, '"');
        hd_put_u8(w, (uint8_t)*text);
    }
    hd_put_u8(w, '"');
}

static void csv_row(hd_writer *w, const hd_row *r) {
    page_print(w, "%s", r->name);
    for (int i = 0; i < HD_AXES; i++) {
        page_print(w, ",");
        csv_text(w, text_of(cJSON_GetObjectItem(r->json, "axes"), hd_axes[i].name));
    }
    for (int i = 0; i < HD_FIGURES; i++) {
        page_print(w, ",");
        if (!isnan(r->figure[i].value)) page_print(w, "%.9g", r->figure[i].value);
        if (i != HD_FIGURE_ENERGY) continue;
        page_print(w, ",");
        if (!isnan(r->figure[i].low)) page_print(w, "%.9g", r->figure[i].low);
        page_print(w, ",");
        if (!isnan(r->figure[i].high)) page_print(w, "%.9g", r->figure[i].high);
    }
    page_print(w, ",%s,%s,%d,", r->ok ? "ok" : "nofit", r->fits < 0 ? "" : r->fits ? "1" : "0", r->front);
    csv_text(w, r->ok ? text_of(r->json, "lacks") : text_of(r->json, "message"));
    page_print(w, ",");
    csv_text(w, text_of(r->json, "command"));
    page_print(w, "\n");
}

static hd_status write_page(hd_writer *w, const char *path, hd_err *err) {
    hd_status s = w->failed ? hd_fail(err, HD_NOMEM, "%s: no memory for the text", path) : hd_file_write(path, w->data, w->size, err);
    hd_writer_free(w);
    return s;
}

hd_status hd_table_csv(const hd_table *t, const char *path, hd_err *err) {
    hd_writer w = {0};
    page_print(&w, "point");
    for (int i = 0; i < HD_AXES; i++) page_print(&w, ",%s", hd_axes[i].name);
    for (int i = 0; i < HD_FIGURES; i++) page_print(&w, i == HD_FIGURE_ENERGY ? ",%s,energy_low,energy_high" : ",%s", hd_figure_infos[i].name);
    page_print(&w, ",status,fits_fpga,front,why_not,command\n");
    for (int i = 0; i < t->n; i++) csv_row(&w, &t->row[i]);
    return write_page(&w, path, err);
}

/* ---- SQLite ---- */

typedef struct database {
    sqlite3 *db;
    sqlite3_stmt *point, *figure, *layer;
} database;

static hd_status db_failed(const database *d, const char *path, hd_err *err) {
    return hd_fail(err, HD_IO, "%s: SQLite: %s", path, d->db ? sqlite3_errmsg(d->db) : "no memory");
}

static void bind_text(sqlite3_stmt *s, int at, const char *text) {
    sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

static void bind_number(sqlite3_stmt *s, int at, double v) {
    if (isnan(v)) sqlite3_bind_null(s, at);
    else sqlite3_bind_double(s, at, v);
}

static int step(sqlite3_stmt *s) {
    int good = sqlite3_step(s) == SQLITE_DONE;
    return sqlite3_reset(s) == SQLITE_OK && good;
}

static int make_tables(database *d) {
    char sql[4096];
    size_t n = (size_t)snprintf(sql, sizeof sql, "BEGIN; CREATE TABLE point(point TEXT PRIMARY KEY");
    for (int i = 0; i < HD_AXES; i++) n += (size_t)snprintf(sql + n, sizeof sql - n, ", %s TEXT", hd_axes[i].name);
    for (int i = 0; i < HD_FIGURES; i++) n += (size_t)snprintf(sql + n, sizeof sql - n, ", %s REAL", hd_figure_infos[i].name);
    snprintf(sql + n, sizeof sql - n, ", status TEXT, fits_fpga INTEGER, front INTEGER, why_not TEXT, memories TEXT, command TEXT);"
             "CREATE TABLE figure(point TEXT REFERENCES point, name TEXT, value REAL, low REAL, high REAL, unit TEXT, fidelity TEXT, PRIMARY KEY(point, name));"
             "CREATE TABLE layer(point TEXT REFERENCES point, number INTEGER, name TEXT, cycles REAL, utilisation REAL, stall TEXT, reason TEXT, PRIMARY KEY(point, number));");
    if (sqlite3_exec(d->db, sql, NULL, NULL, NULL) != SQLITE_OK) return 0;
    n = (size_t)snprintf(sql, sizeof sql, "INSERT INTO point VALUES(?");
    for (int i = 0; i < HD_AXES + HD_FIGURES + 6; i++) n += (size_t)snprintf(sql + n, sizeof sql - n, ",?");
    snprintf(sql + n, sizeof sql - n, ")");
    return sqlite3_prepare_v2(d->db, sql, -1, &d->point, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(d->db, "INSERT INTO figure VALUES(?,?,?,?,?,?,?)", -1, &d->figure, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(d->db, "INSERT INTO layer VALUES(?,?,?,?,?,?,?)", -1, &d->layer, NULL) == SQLITE_OK;
}

static int insert_row(database *d, const hd_row *r) {
    int at = 1, number = 0, good = 1;
    bind_text(d->point, at++, r->name);
    for (int i = 0; i < HD_AXES; i++) bind_text(d->point, at++, text_of(cJSON_GetObjectItem(r->json, "axes"), hd_axes[i].name));
    for (int i = 0; i < HD_FIGURES; i++) bind_number(d->point, at++, r->figure[i].value);
    bind_text(d->point, at++, r->ok ? "ok" : "nofit");
    bind_number(d->point, at++, r->fits < 0 ? (double)NAN : r->fits);
    bind_number(d->point, at++, r->front);
    bind_text(d->point, at++, r->ok ? text_of(r->json, "lacks") : text_of(r->json, "message"));
    bind_text(d->point, at++, text_of(r->json, "memories"));
    bind_text(d->point, at, text_of(r->json, "command"));
    good &= step(d->point);
    for (int i = 0; i < HD_FIGURES && good; i++) {
        const hd_point_figure *f = &r->figure[i];
        if (isnan(f->value)) continue;
        bind_text(d->figure, 1, r->name);
        bind_text(d->figure, 2, hd_figure_infos[i].name);
        bind_number(d->figure, 3, f->value);
        bind_number(d->figure, 4, f->low);
        bind_number(d->figure, 5, f->high);
        bind_text(d->figure, 6, hd_figure_infos[i].unit);
        bind_text(d->figure, 7, f->fidelity);
        good &= step(d->figure);
    }
    const cJSON *l;
    cJSON_ArrayForEach(l, cJSON_GetObjectItem(r->json, "layers")) {
        bind_text(d->layer, 1, r->name);
        bind_number(d->layer, 2, number++);
        bind_text(d->layer, 3, text_of(l, "name"));
        bind_number(d->layer, 4, number_of(l, "cycles"));
        bind_number(d->layer, 5, number_of(l, "utilisation"));
        bind_text(d->layer, 6, text_of(l, "stall"));
        bind_text(d->layer, 7, text_of(l, "reason"));
        good &= step(d->layer);
    }
    return good;
}

/* The database is made in memory, so that nothing half-written stays of a process that is killed. */
hd_status hd_table_sqlite(const hd_table *t, const char *path, hd_err *err) {
    database d = {0};
    sqlite3_int64 size = 0;
    int good = sqlite3_open(":memory:", &d.db) == SQLITE_OK && make_tables(&d);
    for (int i = 0; i < t->n && good; i++) good = insert_row(&d, &t->row[i]);
    good = good && sqlite3_exec(d.db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    hd_status s = good ? HD_OK : db_failed(&d, path, err);
    unsigned char *file = s ? NULL : sqlite3_serialize(d.db, "main", &size, 0);
    if (!s && !file) s = hd_fail(err, HD_NOMEM, "%s: no memory for the database", path);
    if (!s) s = hd_file_write(path, file, (size_t)size, err);
    sqlite3_free(file);
    sqlite3_finalize(d.point);
    sqlite3_finalize(d.figure);
    sqlite3_finalize(d.layer);
    sqlite3_close(d.db);
    return s;
}
