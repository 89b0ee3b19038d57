/* The main job, end to end: the embedded network at several compressions, each with accuracy, size, exact cycles and a byte for
 * byte comparison of the Verilated RTL with two independent models. */
#ifndef HD_DEMO_H
#define HD_DEMO_H
#include "boards.h"
#include "measure.h"

typedef struct hd_demo_point {
    const char *name, *about;
    double accuracy;           /* integer executor, all test images */
    size_t bytes;
    double bits_per_weight;
    hd_program *program;
    hd_cost *cost;             /* of the RTL; exact, or the demo fails */
    double images_per_second;  /* clock / cycles */
    double speedup;            /* cycles of the first point / cycles */
    uint32_t compared;         /* images on the RTL, byte-equal to ref and to the integer executor */
} hd_demo_point;

enum { HD_DEMO_POINTS = 6, HD_DEMO_EPOCHS = 5 /* the tuned rows take about 40 s each on two cores */ };

typedef struct hd_demo {
    const hd_board *board; /* NULL: the default geometry */
    hd_geometry geometry;
    double clock_hz;
    int clock_assumed;
    const char *clock_basis;
    char model[64];
    uint32_t weights, images;
    double float_accuracy;
    int n_points; /* 4, or HD_DEMO_POINTS with the tuned ones */
    hd_demo_point point[HD_DEMO_POINTS];
    double seconds;
} hd_demo;

/* rtl_images: how many test images run on the RTL for each point. test_images 0 = all 10,000. tune_epochs: passes
 * over the training images for each of the points that are trained in their format; 0 leaves them out. Fails with HD_MISMATCH at the first byte or
 * cycle that differs. Owned content; free with hd_demo_free, also after a failure. */
hd_status hd_demo_run(hd_demo *d, const hd_board *board, uint32_t rtl_images, uint32_t test_images, int tune_epochs, hd_err *err);
void hd_demo_free(hd_demo *d);
/* One self-contained HTML page with inline SVG. */
hd_status hd_demo_html(const hd_demo *d, const char *path, hd_err *err);
#endif
