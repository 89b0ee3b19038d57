#include "sim_build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sw/core/file.h"
#include "../sim/board/board_api.h"
#include "../sw/core/progress.h"
#include "tools.h"

enum { PATH_MAX_ = 1024 };

int hd_sim_tools(char *why, size_t n) {
    static const char *const tools[] = {"verilator", "g++", "make"};
    char path[PATH_MAX_];
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        if (!hd_tool_find(tools[i], path, sizeof path)) {
            snprintf(why, n, "%s is not installed (Debian package '%s')", tools[i], i == 0 ? "verilator" : i == 1 ? "g++" : "make");
            return 0;
        }
    return 1;
}

/* ---- what decides a model ---- */

static int is_verilog(const struct dirent *d) {
    size_t n = strlen(d->d_name);
    return n > 2 && !strcmp(d->d_name + n - 2, ".v");
}

typedef struct sources {
    char file[128][128]; /* as seen from a folder with the link `source` to the project */
    int n;
} sources;

static hd_status list_sources(sources *s, int board, hd_err *err) {
    static const char *const folders[] = {"hw", "hw/lib", "hw/decode", "sim", "hw/link", "boards/common", "sim/board", "hw/usb"};
    s->n = 0;
    for (int f = 0; f < (board ? 8 : 4); f++) {
        char dir[PATH_MAX_];
        hd_status st = hd_tool_path(dir, sizeof dir, err, "%s/%s", hd_tool_source(), folders[f]);
        if (st) return st;
        struct dirent **names;
        int count = scandir(dir, &names, is_verilog, alphasort);
        if (count < 0) return hd_fail(err, HD_IO, "%s: cannot read the RTL sources: %s (set HEDDLE_SOURCE to the project's folder)", dir, strerror(errno));
        for (int i = 0; i < count; i++) {
            if (!st && s->n < 128) st = hd_tool_path(s->file[s->n++], sizeof s->file[0], err, "source/%s/%s", folders[f], names[i]->d_name);
            free(names[i]);
        }
        free(names);
        if (st) return st;
    }
    return HD_OK;
}

/* -march=native is part of the model: the processor's feature line decides too. */
static void hash_processor(uint64_t *h) {
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[4096];
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "flags", 5) || !strncmp(line, "Features", 8)) {
            hd_tool_hash(h, line, strlen(line));
            break;
        }
    if (f) fclose(f);
}

/* The last lines of a tool's log, for the error message. */
static void log_tail(const char *log, char *out, size_t n) {
    uint8_t *data;
    size_t size;
    out[0] = 0;
    if (hd_file_read(&data, &size, log, 1 << 24, 0, NULL)) return;
    const char *text = (const char *)data, *at = strstr(text, "%Error");
    if (!at) at = strstr(text, "error:");
    if (!at) at = size > n - 1 ? text + size - (n - 1) : text;
    snprintf(out, n, "%.*s", (int)(n - 1), at);
    for (char *c = out; *c; c++)
        if (*c == '\n') *c = ' ';
    free(data);
}

typedef struct model_variant {
    int structural, trace, board;
    unsigned link; /* of a board: enum hd_board_link */
} model_variant;

static hd_status compile_model(const char *dir, const char *target, const hd_geometry *g, model_variant v, const sources *src, int quiet, hd_err *err) {
    char log[PATH_MAX_], out[PATH_MAX_], script[PATH_MAX_], text[8192], tail[300];
    hd_status st = hd_tool_path(log, sizeof log, err, "%s/log", dir);
    /* Verilator expands $NAME in paths, make takes spaces apart: both see the project as `source`. */
    if (!st) st = hd_tool_link(dir, "source", hd_tool_source(), err);
    if (!st) st = hd_tool_path(out, sizeof out, err, "%s/model.so", dir);
    if (!st) st = hd_tool_path(script, sizeof script, err, "%s/build.mk", dir);
    if (st) return st;

    char parameter[26][64];
    const struct { const char *name; uint32_t value; } set[26] = {
        {"ROWS", g->rows}, {"COLS", g->cols}, {"LANES", g->lanes}, {"PLANES", g->planes}, {"HOP", g->hop}, {"ACC_BITS", g->acc_bits},
        {"ACT_WORDS", g->act_words}, {"WINDOW_WORDS", g->window_words}, {"STREAM_WORDS", g->stream_words}, {"PARAM_WORDS", g->param_words},
        {"DESCRIPTORS", g->descriptors}, {"TABLES", g->tables}, {"RESIDUAL", g->residual}, {"FETCH", g->fetch}, {"POST", g->post},
        {"EXTERN", g->extern_log2}, {"EXTERN_MHZ", g->extern_mhz}, {"DECODE", g->decode}, {"PUMP", g->pump}, {"POOL", g->pool}, {"SLOT", g->slot}, {"GATHER", g->gather},
        {"SUMS", g->sums}, {"PERF", g->perf}, {"LINK", v.link}, {"CLOCKS_PER_64_BITS", HD_BOARD_CLOCKS_PER_64_BITS}}; /* the last two: only boards have them */
    const char *argv[200] = {"verilator", "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal", "--unroll-count", "4",
                             "--prefix", "Vheddle", "--top-module", v.board ? "virtual_board" : g->extern_log2 ? "heddle_extern" : "heddle_core", "--Mdir", ".", "-Isource/hw/include"};
    int n = 0;
    while (argv[n]) n++;
    if (!v.structural) argv[n++] = "-DHD_FAST_ARRAY";
    if (v.trace) argv[n++] = "--trace-fst";
    for (int i = 0; i < (v.board ? 26 : 24); i++) {
        snprintf(parameter[i], sizeof parameter[i], "-G%s=%u", set[i].name, set[i].value);
        argv[n++] = parameter[i];
    }
    for (int i = 0; i < src->n; i++) argv[n++] = src->file[i];

    /* make, so that several files compile at once; the recipe needs nothing of Verilator's own makefiles. */
    snprintf(text, sizeof text,
             "ROOT := $(shell verilator --getenv VERILATOR_ROOT)\n"
             "FLAGS := -O3 -march=native -fPIC -fno-semantic-interposition -std=gnu++17 -w -DVM_COVERAGE=0 -DVM_SC=0 -DVM_TRACE=%d -DVM_TRACE_FST=%d -DVM_TRACE_VCD=0 -DHD_PUMP=%u -DHD_LINK=%u %s %s "
             "-I. -I$(ROOT)/include -I$(ROOT)/include/vltstd -Isource/sim\n"
             "CPP := $(wildcard Vheddle*.cpp)\n"
             "OBJ := $(CPP:.cpp=.o) verilated.o verilated_threads.o rtl_model.o %s\n"
             "model.so: $(OBJ)\n\tg++ -shared -Wl,-Bsymbolic -o $@ $(OBJ) -lz -lpthread\n"
             "%%.o: %%.cpp\n\tg++ $(FLAGS) -c -o $@ $<\n"
             "verilated.o verilated_threads.o verilated_fst_c.o: %%.o: $(ROOT)/include/%%.cpp\n\tg++ $(FLAGS) -c -o $@ $<\n"
             "rtl_model.o: source/sim/%s\n\tg++ $(FLAGS) -c -o $@ $<\n",
             v.trace, v.trace, v.structural ? g->pump : 1, v.link, v.trace ? "-DHD_TRACE" : "", g->extern_log2 ? "-DHD_EXTERN" : "", v.trace ? "verilated_fst_c.o" : "",
             v.board ? "board/board_model.cpp" : "rtl_model.cpp");
    if ((st = hd_file_write(script, text, strlen(text), err))) return st;

    char label[96];
    snprintf(label, sizeof label, "building the %s %ux%ux%ux%u (once)", v.board ? "virtual board" : "simulator", g->rows, g->cols, g->lanes, g->planes);
    hd_progress progress = {0};
    if (!quiet) hd_progress_start(&progress, label, 30);
    int rc = hd_tool_run(argv, dir, log, quiet ? NULL : &progress, 5);
    const char *tool = "verilator";
    if (rc == 0) {
        const char *const make[] = {"make", "-f", "build.mk", "-j2", "model.so", NULL};
        tool = "g++";
        rc = hd_tool_run(make, dir, log, quiet ? NULL : &progress, 25);
    }
    if (!quiet) hd_progress_end(&progress);
    if (rc == -1) return hd_fail(err, HD_INTERRUPTED, "sim: interrupted while the simulator was built");
    if (rc) {
        log_tail(log, tail, sizeof tail);
        return hd_fail(err, HD_TOOL, "sim: %s failed on geometry %ux%ux%ux%u: %s", tool, g->rows, g->cols, g->lanes, g->planes, tail);
    }
    if (rename(out, target)) return hd_fail(err, HD_IO, "%s: %s", target, strerror(errno));
    return HD_OK;
}

static hd_status build(char *path, size_t n, const hd_geometry *g, model_variant v, int quiet, hd_err *err) {
    char cache[PATH_MAX_], lock[PATH_MAX_], dir[PATH_MAX_], file[PATH_MAX_], why[200];
    hd_status st = hd_geometry_check(g, err);
    if (st) return st;
    sources *src = malloc(sizeof *src);
    if (!src) return hd_fail(err, HD_NOMEM, "sim: out of memory");
    uint64_t h = HD_TOOL_HASH;
    if ((st = list_sources(src, v.board, err)) || (st = hd_tool_cache(cache, sizeof cache, err))) goto done;
    for (int i = 0; i < src->n && !st; i++)
        if (!(st = hd_tool_path(file, sizeof file, err, "%s%s", hd_tool_source(), strchr(src->file[i], '/')))) st = hd_tool_hash_file(&h, file, err);
    static const char *const others[] = {"hw/include/heddle_contract.vh", "hw/include/heddle_e8p.vh", "sim/rtl_model.cpp", "sim/rtl_api.h", "sim/board/board_model.cpp", "sim/board/board_api.h",
                                         "sim/board/board_uart.h", "sim/board/uart_bridge.h", "sim/board/board_usb.h", "sim/board/fs_host.h", "sim/board/ulpi_host.h"};
    for (int i = 0; i < (v.board ? 11 : 4) && !st; i++)
        if (!(st = hd_tool_path(file, sizeof file, err, "%s/%s", hd_tool_source(), others[i]))) st = hd_tool_hash_file(&h, file, err);
    if (st) goto done;
    hd_tool_hash(&h, g, sizeof *g); /* uint32_t only, no padding */
    hd_tool_hash(&h, &v, sizeof v);
    hd_tool_hash_program(&h, "verilator_bin");
    hd_tool_hash_program(&h, "g++");
    hash_processor(&h);

    if ((st = hd_tool_path(path, n, err, "%s/%s-%ux%ux%ux%u-%016llx.so", cache, v.board ? "board" : "sim", g->rows, g->cols, g->lanes, g->planes, (unsigned long long)h))) goto done;
    if (access(path, R_OK) == 0) goto done;
    if (!hd_sim_tools(why, sizeof why)) {
        st = hd_fail(err, HD_TOOL, "sim: %s", why);
        goto done;
    }
    /* One builder at a time for a model; a second process waits and finds it built. */
    if ((st = hd_tool_path(lock, sizeof lock, err, "%s.lock", path))) goto done;
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = hd_fail(err, HD_IO, "%s: %s", lock, strerror(errno));
        goto done;
    }
    while (flock(fd, LOCK_EX) && errno == EINTR)
        if (hd_interrupted) break;
    if (access(path, R_OK) != 0) {
        int work;
        st = hd_tool_work_begin(dir, sizeof dir, &work, path, err);
        if (!st) st = compile_model(dir, path, g, v, src, quiet, err);
        hd_tool_work_end(dir, work);
    }
    unlink(lock);
    close(fd);
done:
    free(src);
    return st;
}

hd_status hd_sim_build(char *path, size_t n, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    model_variant v = {o && o->structural, o && o->trace, 0, 0};
    return build(path, n, g, v, o && o->quiet, err);
}

hd_status hd_sim_build_board(char *path, size_t n, const hd_geometry *g, unsigned link, int quiet, hd_err *err) {
    model_variant v = {0, 0, 1, link};
    return build(path, n, g, v, quiet, err);
}
