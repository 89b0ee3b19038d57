/* heddle demo: the main job, as a table and as one HTML page. */
#include <stdio.h>

#include "../explore/demo.h"
#include "cli.h"

static const cli_option options[] = {
    {"-o", "demo.html", "where the page goes (no page without it)"},
    {"--board", "NAME", "a board of boards/boards.def (the geometry 4x8x8x2 at an assumed 48 MHz)"},
    {"--rtl-images", "N", "images compared on the Verilated RTL for each row (16)"},
    {"--test-images", "N", "images the accuracy is measured on, 0 = all (0)"},
    {"--tune-epochs", "N", "training of the tuned rows, 0 = without these rows (5)"},
    {NULL, NULL, NULL},
};

static void print_text(const hd_demo *d) {
    const hd_geometry *g = &d->geometry;
    printf("%s on Fashion-MNIST; %ux%ux%ux%u = %llu ops a cycle, %g MHz (%s clock)\n\n", d->model, g->rows, g->cols, g->lanes, g->planes, (unsigned long long)hd_program_ops(g),
           d->clock_hz / 1e6, d->clock_assumed ? "assumed" : "measured");
    printf("%-20s %8s %8s %8s %9s %9s %6s %8s  %s\n", "weights", "accuracy", "bytes", "bits/w", "cycles", "images/s", "util", "speed-up", "RTL = ref = integer");
    for (int i = 0; i < d->n_points; i++) {
        const hd_demo_point *p = &d->point[i];
        printf("%-20s %7.2f%% %8zu %8.3f %9llu %9.0f %5.1f%% %7.2fx  %u images, cycles equal\n", p->name, 100 * p->accuracy, p->bytes, p->bits_per_weight,
               (unsigned long long)p->cost->cycles, p->images_per_second, 100 * p->cost->utilisation, p->speedup, p->compared);
    }
    printf("%-20s %7.2f%% %8llu %8.3f\n", "float", 100 * d->float_accuracy, (unsigned long long)d->weights * 4, 32.0);
}

static hd_status print_json(const hd_demo *d, hd_err *err) {
    char geometry[64];
    snprintf(geometry, sizeof geometry, "%ux%ux%ux%u", d->geometry.rows, d->geometry.cols, d->geometry.lanes, d->geometry.planes);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", d->model);
    cJSON_AddStringToObject(o, "geometry", geometry);
    cJSON_AddStringToObject(o, "board", d->board ? d->board->name : "");
    cJSON_AddNumberToObject(o, "clock_hz", d->clock_hz);
    cJSON_AddStringToObject(o, "clock", d->clock_assumed ? "assumed" : "measured");
    cJSON_AddStringToObject(o, "clock_basis", d->clock_basis);
    cJSON_AddNumberToObject(o, "float_accuracy", d->float_accuracy);
    cJSON_AddNumberToObject(o, "test_images", d->images);
    cJSON_AddNumberToObject(o, "seconds", d->seconds);
    cJSON *points = cJSON_AddArrayToObject(o, "points");
    hd_status s = HD_OK;
    for (int i = 0; !s && i < d->n_points; i++) {
        const hd_demo_point *p = &d->point[i];
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", p->name);
        cJSON_AddNumberToObject(e, "accuracy", p->accuracy);
        cJSON_AddNumberToObject(e, "bytes", (double)p->bytes);
        cJSON_AddNumberToObject(e, "total_bits_per_weight", p->bits_per_weight);
        cJSON_AddNumberToObject(e, "images_per_second", p->images_per_second);
        cJSON_AddNumberToObject(e, "speedup", p->speedup);
        cJSON_AddNumberToObject(e, "rtl_images_equal", p->compared);
        s = hd_cost_json(e, p->cost, 1, err);
        cJSON_AddItemToArray(points, e);
    }
    if (!s) return cli_json(o, err);
    cJSON_Delete(o);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *out = cli_text(a, "-o"), *name = cli_text(a, "--board");
    const hd_board *board = NULL;
    int64_t rtl_images, test_images, epochs;
    hd_demo d = {0};
    hd_status s = cli_int(&rtl_images, a, "--rtl-images", 16, 1, 10000, err);
    if (!s) s = cli_int(&test_images, a, "--test-images", 0, 0, 10000, err);
    if (!s) s = cli_int(&epochs, a, "--tune-epochs", HD_DEMO_EPOCHS, 0, 100, err);
    if (!s && name) s = hd_board_find(&board, name, err);
    if (!s && out) s = cli_can_write(out, err);
    if (!s) s = hd_demo_run(&d, board, (uint32_t)rtl_images, (uint32_t)test_images, (int)epochs, err);
    if (!s && out) s = hd_demo_html(&d, out, err);
    if (!s && a->json) s = print_json(&d, err);
    else if (!s) print_text(&d);
    if (!s && out && !a->json) printf("\n%.0f s; page with plots: %s\n", d.seconds, out);
    hd_demo_free(&d);
    return s;
}

const cli_command cli_demo = {
    .name = "demo",
    .summary = "the main job: compressions of the embedded network, on the RTL",
    .about = "Compresses the built-in network in six ways, trains two of them on, measures each over the test images, and runs images on the "
             "simulated Verilog, whose bytes and cycles must be those of the model. Takes about a minute on two cores, nearly all of it "
             "training.",
    .examples = "heddle demo -o demo.html\n"
                "heddle demo --tune-epochs 0",
    .status = "also when bytes or cycles of the Verilog differ from the model's",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_DATASET | CLI_THREADS,
    .see = "compress, tune, bench",
    .options = options,
    .run = run,
};
