/* heddle flash: a bitstream into a board. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"
#include "../explore/boards.h"
#include "cli.h"

static const cli_option options[] = {
    {"--board", "NAME", "{boards} (required)"},
    {"--sram", NULL, "into the FPGA only: lost without power, the flash chip stays as it is (hx8k: jumpers for SRAM programming)"},
    {NULL, NULL, NULL},
};

/* The tool of a board, and what its bitstreams look like: the FPGA's family, bytes near the start, the part named before them (NULL: none is) and the size, 0 = any. */
typedef struct flasher {
    const char *board, *tool, *package, *arguments[4], *sram;
    const char *family, *part;
    uint8_t sync[4];
    size_t size;
} flasher;

static const flasher flashers[] = {
    {"icebreaker", "iceprog", "fpga-icestorm", {NULL}, "-S", "iCE40", NULL, {0x7e, 0xaa, 0x99, 0x7e}, 104090},
    {"hx8k", "iceprog", "fpga-icestorm", {NULL}, "-S", "iCE40", NULL, {0x7e, 0xaa, 0x99, 0x7e}, 135100},
    {"ulx3s", "openFPGALoader", "openfpgaloader", {"-b", "ulx3s", NULL}, NULL, "ECP5", "Part: LFE5U-85F", {0xff, 0xff, 0xbd, 0xb3}, 0},
};

static int found_near_start(const uint8_t *data, size_t size, const void *what, size_t n) {
    for (size_t i = 0; i + n <= size && i < 1024; i++)
        if (!memcmp(data + i, what, n)) return 1;
    return 0;
}

/* A bitstream begins with comments between ff 00 and 00 ff, which name the part on ECP5, then its family's preamble. */
static hd_status check(const flasher *f, const char *path, hd_err *err) {
    uint8_t *data;
    size_t size;
    hd_status s = hd_file_read(&data, &size, path, 1 << 26, 0, err);
    if (s) return s;
    const uint8_t *y = f->sync;
    if (!found_near_start(data, size, y, sizeof f->sync))
        s = hd_fail(err, HD_FORMAT, "%s: no %s bitstream (no %02x %02x %02x %02x in its first 1024 bytes)", path, f->family, y[0], y[1], y[2], y[3]);
    else if (f->part && !found_near_start(data, size, f->part, strlen(f->part)))
        s = hd_fail(err, HD_MISMATCH, "%s: its comment does not say '%s'; a bitstream for %s does", path, f->part, f->board);
    else if (f->size && size != f->size) s = hd_fail(err, HD_MISMATCH, "%s: %zu bytes; a bitstream for %s has %zu", path, size, f->board, f->size);
    free(data);
    return s;
}

/* The last line of the tool's output that is not empty, for the message. */
static void last_line(char *line, size_t n, const char *log) {
    uint8_t *data;
    size_t size;
    line[0] = 0;
    if (hd_file_read(&data, &size, log, 1 << 24, 0, NULL)) return;
    for (char *at = strtok((char *)data, "\r\n"); at; at = strtok(NULL, "\r\n"))
        if (at[strspn(at, " .")] && strcmp(at, "ABORT.")) snprintf(line, n, "%s", at);
    free(data);
}

static hd_status program(const flasher *f, const char *path, int sram, hd_err *err) {
    char log[] = "/tmp/heddle-flash-XXXXXX", line[256], absolute[4096];
    int fd = mkstemp(log);
    if (fd < 0) return hd_fail(err, HD_IO, "%s: cannot be made", log);
    close(fd);
    if (!realpath(path, absolute)) snprintf(absolute, sizeof absolute, "%s", path);
    const char *argv[8] = {f->tool};
    int n = 1;
    for (int i = 0; f->arguments[i]; i++) argv[n++] = f->arguments[i];
    if (sram && f->sram) argv[n++] = f->sram;
    if (!sram && !f->sram) argv[n++] = "-f"; /* openFPGALoader writes the FPGA alone by default */
    argv[n++] = absolute;
    hd_progress progress;
    hd_progress_start(&progress, "programming", 20);
    int rc = hd_tool_run(argv, "/", log, &progress, 20);
    hd_progress_end(&progress);
    last_line(line, sizeof line, log);
    unlink(log);
    if (rc < 0) return hd_fail(err, HD_INTERRUPTED, "flash: stopped");
    if (rc) return hd_fail(err, HD_DEVICE, "%s: %s failed: %s (is the board plugged in, and may this user open it?)", f->board, f->tool, *line ? line : "no message");
    return HD_OK;
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *name;
    const hd_board *board;
    const flasher *f = NULL;
    char found[1024];
    hd_status s = cli_need(&name, a, "--board", err);
    if (!s) s = hd_board_find(&board, name, err);
    if (s) return s;
    for (size_t i = 0; i < sizeof flashers / sizeof *flashers; i++)
        if (!strcmp(flashers[i].board, board->name)) f = &flashers[i];
    if (!f) return hd_fail(err, HD_UNSUPPORTED, "board '%s': heddle knows no tool that programs it", board->name);
    s = check(f, a->operand, err);
    if (!s && !hd_tool_find(f->tool, found, sizeof found)) s = hd_fail(err, HD_TOOL, "flash: %s is not installed (Debian package '%s')", f->tool, f->package);
    if (!s) s = program(f, a->operand, cli_flag(a, "--sram"), err);
    if (s) return s;
    if (!a->json) {
        printf("%s: programmed with %s\n", board->title, a->operand);
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "board", board->name);
    cJSON_AddStringToObject(o, "file", a->operand);
    return cli_json(o, err);
}

const cli_command cli_flash = {
    .name = "flash",
    .summary = "program a board with a bitstream",
    .operand = "X.bin",
    .about = "Checks that the file is a bitstream for that board and hands it to the tool that programs it: iceprog, or openFPGALoader. No "
             "physical board has been programmed by it yet.",
    .examples = "heddle flash --board hx8k hx8k.bin\n"
                "heddle flash --board icebreaker --sram icebreaker.bin",
    .surroundings = CLI_CACHE | CLI_RULES,
    .see = "synth, run, docs/usb.md",
    .options = options,
    .run = run,
};
