/* Suite compress, rows resnet8.*: MLPerf Tiny's ResNet-8 in 8 and 4 bits a weight, one scale a channel, calibrated on the first 50 of the 200 images
 * that its accuracy is measured on (there are no others); *.rest is the accuracy on the 150 that calibration did not see. */
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../train/train.h"
#include "accuracy.h"
#include "bench_language.h"
#include "dataset.h"
#include "models.h"

enum { CALIBRATION_IMAGES = 50 };

typedef struct rig {
    hd_graph *g;
    hd_idx *images, *labels;
} rig;

/* Right answers among the items from..dim[0]-1: those of all less those of the first. */
static hd_status accuracies(double *all, double *rest, const hd_model *m, const rig *r, hd_err *err) {
    uint32_t n = r->images->dim[0];
    double first = 0;
    hd_status s = hd_model_accuracy(m, r->images, r->labels, 0, 0, all, err);
    if (!s) s = hd_model_accuracy(m, r->images, r->labels, CALIBRATION_IMAGES, 0, &first, err);
    *rest = (*all * n - first * CALIBRATION_IMAGES) / (n - CALIBRATION_IMAGES);
    return s;
}

static hd_status run_setting(hd_figures *f, const rig *r, int bits, double wanted, hd_err *err) {
    hd_policy p;
    hd_model *m = NULL;
    double all = 0, rest = 0, start = hd_two_core_seconds();
    hd_policy_default(&p);
    p.base.bits = bits;
    p.base.recipe.solver = HD_METHOD_GPTQ;
    hd_status s = hd_compress(&m, r->g, &p, r->images, CALIBRATION_IMAGES, 0, err);
    double seconds = hd_two_core_seconds() - start;
    if (!s) s = accuracies(&all, &rest, m, r, err);
    if (!s) {
        hd_figure *a = hd_figure_add(f, all, "share", "measured", "resnet8.w%d", bits);
        a->reference = wanted;
        a->compared = "float less 1.5 points, 200 images";
        hd_figure_add(f, rest, "share", "measured", "resnet8.w%d.rest", bits);
        hd_figure_add(f, hd_model_bits_per_weight(m), "bits", "measured", "resnet8.w%d.bpw", bits);
        hd_figure_add(f, seconds, "s", "measured", "resnet8.w%d.seconds", bits);
    }
    hd_model_free(m);
    hd_policy_free(&p);
    return s;
}

hd_status hd_bench_resnet8(hd_figures *f, hd_err *err) {
    rig r = {0};
    hd_idx *plain = NULL;
    double accuracy = 0;
    hd_status s = hd_models_open(&r.g, &r.images, &r.labels, "resnet8-float.tflite", "ic01-images.idx", "ic01-labels.idx", 10, err);
    if (!s) s = hd_idx_plain(&plain, r.images, err);
    if (!s) s = hd_accuracy(r.g, plain, r.labels, 0, &accuracy, err);
    if (!s) {
        hd_figure *real = hd_figure_add(f, accuracy, "share", "measured", "resnet8.float");
        real->reference = 0.855;
        real->compared = "the published float model, scalar interpreter";
    }
    if (!s) s = run_setting(f, &r, 8, accuracy - 0.015, err);
    if (!s) s = run_setting(f, &r, 4, accuracy - 0.015, err);
    hd_idx_free(plain);
    hd_idx_free(r.images);
    hd_idx_free(r.labels);
    hd_graph_free(r.g);
    return s;
}
