/* What yosys and nextpnr left in a folder of the cache, as figures: cells in use, clock, longest path by unit. */
#include "synth_report.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"

enum { PATH_BYTES = HD_SYNTH_PATH };

char *hd_synth_read_log(const char *log, hd_err *err) {
    uint8_t *data = NULL;
    size_t size;
    return hd_file_read(&data, &size, log, 1 << 26, 0, err) ? NULL : (char *)data;
}

void hd_synth_read_uses(hd_synth_report *r, const char *text) {
    r->n_uses = 0;
    const char *at = strstr(text, "Device utilisation");
    if (!at) return;
    for (at = strchr(at, '\n'); at && r->n_uses < HD_SYNTH_USES; at = strchr(at, '\n')) {
        char name[32];
        unsigned used, available;
        at++;
        if (sscanf(at, "Info: %31[A-Z0-9_]: %u/ %u", name, &used, &available) != 3) break;
        if (!used) continue;
        memcpy(r->use[r->n_uses].name, name, sizeof name);
        r->use[r->n_uses].used = used;
        r->use[r->n_uses++].available = available;
    }
}

int hd_synth_fits(const hd_synth_report *r) {
    for (int i = 0; i < r->n_uses; i++)
        if (r->use[i].used > r->use[i].available) return 0;
    return 1;
}

/* "u_board.u_core.u_fetch.addr_SB_LUT4_O" belongs to unit u_core.u_fetch, "u_board.g_uart.u_link.u_link.ring" to u_link. */
static void unit_of(char *unit, size_t n, const char *cell) {
    const char *at = strstr(cell, "u_board.");
    if (!at) {
        snprintf(unit, n, "%s", strstr(cell, "$PACKER") ? "constants" : "others");
        return;
    }
    at += strlen("u_board.");
    if (!strncmp(at, "g_", 2) && strchr(at, '.')) at = strchr(at, '.') + 1; /* a generate block */
    size_t length = strcspn(at, ".");
    if (at[length] != '.') length = 0;
    if (length && !strncmp(at, "u_core.", 7)) {
        size_t more = strcspn(at + 7, ".");
        if (at[7 + more] == '.') length = 7 + more;
    }
    snprintf(unit, n, "%.*s", (int)length, at);
    if (!length) snprintf(unit, n, "board");
}

static void read_path(hd_synth_report *r, const cJSON *steps) {
    const cJSON *step;
    cJSON_ArrayForEach(step, steps) {
        const cJSON *delay = cJSON_GetObjectItem(step, "delay"), *to = cJSON_GetObjectItem(cJSON_GetObjectItem(step, "to"), "cell"), *type = cJSON_GetObjectItem(step, "type");
        char unit[48];
        if (!cJSON_IsNumber(delay) || !cJSON_IsString(to) || !cJSON_IsString(type)) continue;
        unit_of(unit, sizeof unit, to->valuestring);
        if (!r->n_path || strcmp(r->path[r->n_path - 1].unit, unit)) {
            if (r->n_path == HD_SYNTH_UNITS) return;
            memcpy(r->path[r->n_path].unit, unit, sizeof unit);
            r->path[r->n_path].logic_ns = r->path[r->n_path].routing_ns = 0;
            r->n_path++;
        }
        *(strcmp(type->valuestring, "routing") ? &r->path[r->n_path - 1].logic_ns : &r->path[r->n_path - 1].routing_ns) += delay->valuedouble;
    }
}

/* What a path between two clock edges allows clk to have: paths of clk_fast and between the clocks must fit a cycle of clk_fast (hw/datapath_pumped.v), paths
 * between the two edges of a clock (hw/link/uart_rx.v) half of one. */
static double path_mhz(const cJSON *found, unsigned pump) {
    const cJSON *from = cJSON_GetObjectItem(found, "from"), *to = cJSON_GetObjectItem(found, "to"), *step;
    if (!cJSON_IsString(from) || !cJSON_IsString(to) || !strstr(from->valuestring, "edge ") || !strstr(to->valuestring, "edge ")) return 0;
    double ns = 0;
    cJSON_ArrayForEach(step, cJSON_GetObjectItem(found, "path")) {
        const cJSON *delay = cJSON_GetObjectItem(step, "delay");
        if (cJSON_IsNumber(delay)) ns += delay->valuedouble;
    }
    int fast = strstr(from->valuestring, "fast") || strstr(to->valuestring, "fast");
    int half = strncmp(from->valuestring, to->valuestring, 3) != 0;
    return ns > 0 ? 1000 / ns / (fast ? pump : 1) / (half ? 2 : 1) : 0;
}

static hd_status read_timing(hd_synth_report *r, unsigned pump, const char *path, hd_err *err) {
    char *text = hd_synth_read_log(path, err);
    if (!text) return HD_IO;
    cJSON *report = cJSON_Parse(text);
    free(text);
    const cJSON *clock = cJSON_GetObjectItem(report, "fmax"), *main = clock ? clock->child : NULL;
    while (main && strstr(main->string, "usb_clk")) main = main->next;
    const cJSON *achieved = cJSON_GetObjectItem(main, "achieved");
    if (!cJSON_IsNumber(achieved)) {
        cJSON_Delete(report);
        return hd_fail(err, HD_TOOL, "%s: nextpnr reports no clock", path);
    }
    r->reached_mhz = achieved->valuedouble;
    const cJSON *found, *worst = NULL;
    /* USB's clock is fixed: what it misses, the design misses. */
    cJSON_ArrayForEach(found, clock) {
        const cJSON *has = cJSON_GetObjectItem(found, "achieved"), *wants = cJSON_GetObjectItem(found, "constraint");
        if (strstr(found->string, "usb_clk") && cJSON_IsNumber(has) && cJSON_IsNumber(wants) && has->valuedouble < wants->valuedouble)
            r->reached_mhz = fmin(r->reached_mhz, 0.99 * r->wanted_mhz * has->valuedouble / wants->valuedouble);
    }
    if (pump > 1) {
        r->reached_mhz = 0;
        cJSON_ArrayForEach(found, cJSON_GetObjectItem(report, "critical_paths")) {
            double mhz = path_mhz(found, pump);
            if (mhz > 0 && (!worst || mhz < r->reached_mhz)) worst = found, r->reached_mhz = mhz;
        }
        if (worst) read_path(r, cJSON_GetObjectItem(worst, "path"));
        cJSON_Delete(report);
        return worst ? HD_OK : hd_fail(err, HD_TOOL, "%s: nextpnr reports no path between two clock edges", path);
    }
    cJSON_ArrayForEach(found, cJSON_GetObjectItem(report, "critical_paths")) {
        const cJSON *from = cJSON_GetObjectItem(found, "from"), *to = cJSON_GetObjectItem(found, "to");
        if (!cJSON_IsString(from) || !cJSON_IsString(to) || !strstr(from->valuestring, main->string) || !strstr(to->valuestring, main->string)) continue;
        read_path(r, cJSON_GetObjectItem(found, "path"));
        break;
    }
    cJSON_Delete(report);
    return HD_OK;
}

unsigned hd_synth_given_up(const char *folder) {
    char path[PATH_BYTES];
    if (hd_tool_path(path, sizeof path, NULL, "%s/" HD_SYNTH_GAVE_UP, folder) || access(path, R_OK)) return 0;
    char *text = hd_synth_read_log(path, NULL);
    unsigned seconds = text ? (unsigned)strtoul(text, NULL, 10) : 0;
    free(text);
    return seconds;
}

hd_status hd_synth_read_report(hd_synth_report *r, unsigned pump, hd_err *err) {
    char path[PATH_BYTES];
    hd_status st = hd_tool_path(path, sizeof path, err, "%s/log", r->folder);
    char *text = st ? NULL : hd_synth_read_log(path, err);
    if (!text) return st ? st : HD_IO;
    hd_synth_read_uses(r, text);
    free(text);
    r->placed = access(r->bitstream, R_OK) == 0;
    r->given_up = hd_synth_given_up(r->folder);
    if (!r->placed) return HD_OK;
    st = hd_tool_path(path, sizeof path, err, "%s/report.json", r->folder);
    return st ? st : read_timing(r, pump, path, err);
}
