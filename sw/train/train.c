/* Training of a float graph: epochs of Adam over all images. */
#include "train.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>

#include "../core/progress.h"
#include "loop.h"

typedef struct trainer {
    const hd_train_options *o;
    hd_loop loop;
    hd_sampler sampler;
    long steps;
    hd_progress bar;
} trainer;

hd_status hd_train_check(const hd_train_options *o, hd_err *err) {
    if (o->epochs < 1 || o->epochs > 100000) return hd_fail(err, HD_RANGE, "training: %d epochs; 1..100000 are allowed", o->epochs);
    if (o->batch < 1 || o->batch > 65536) return hd_fail(err, HD_RANGE, "training: mini-batch of %d; 1..65536 are allowed", o->batch);
    if (!(o->learning_rate > 0) || o->learning_rate > 10)
        return hd_fail(err, HD_RANGE, "training: learning rate %g; above 0, at most 10 is allowed", (double)o->learning_rate);
    if (!(o->weight_decay >= 0) || o->weight_decay > 10)
        return hd_fail(err, HD_RANGE, "training: weight decay %g; 0..10 is allowed", (double)o->weight_decay);
    if (o->shift < 0 || o->shift > 8) return hd_fail(err, HD_RANGE, "training: shift of %d pixels; 0..8 are allowed", o->shift);
    if (o->threads < 0 || o->threads > 1024) return hd_fail(err, HD_RANGE, "training: %d threads; 0 (all cores)..1024 are allowed", o->threads);
    return HD_OK;
}

static hd_status run_epoch(trainer *t, int epoch, double *mean_loss, hd_err *err) {
    double loss = 0;
    int n = t->sampler.n;
    hd_sampler_shuffle(&t->sampler);
    for (int at = 0; at < n; at += t->o->batch) {
        int batch = n - at < t->o->batch ? n - at : t->o->batch;
        char note[64];
        if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "training stopped in epoch %d of %d", epoch + 1, t->o->epochs);
        hd_sampler_pick(&t->sampler, at, batch);
        loss += hd_loop_step(&t->loop, t->sampler.pick, batch, hd_loop_rate(t->o->learning_rate, t->loop.step, t->steps));
        if (!isfinite(loss))
            return hd_fail(err, HD_RANGE, "%s: the loss is no number after %ld steps; a learning rate below %g may help", t->loop.g->name,
                           t->loop.step, (double)t->o->learning_rate);
        if (!t->o->quiet) {
            snprintf(note, sizeof note, "epoch %d/%d, loss %.4f", epoch + 1, t->o->epochs, loss / (double)(at + batch));
            hd_progress_show(&t->bar, (double)t->loop.step, note);
        }
    }
    *mean_loss = loss / (double)n;
    return HD_OK;
}

static hd_status train(trainer *t, const hd_idx *test_images, const hd_idx *test_labels, double *final_loss, hd_err *err) {
    double loss = 0;
    hd_status s = HD_OK;
    t->steps = (long)t->o->epochs * ((t->sampler.n + t->o->batch - 1) / t->o->batch);
    if (!t->o->quiet) hd_progress_start(&t->bar, "training", (double)t->steps);
    for (int epoch = 0; epoch < t->o->epochs && !s; epoch++) {
        double accuracy = NAN;
        s = run_epoch(t, epoch, &loss, err);
        if (s || !t->o->on_epoch) continue;
        if (test_images && test_labels) s = hd_accuracy(t->loop.g, test_images, test_labels, 0, &accuracy, err);
        if (!s) t->o->on_epoch(t->o->arg, epoch, loss, accuracy);
    }
    if (!t->o->quiet) hd_progress_end(&t->bar);
    if (!s && final_loss) *final_loss = loss;
    return s;
}

hd_status hd_train(hd_graph *g, const hd_idx *images, const hd_idx *labels, const hd_idx *test_images, const hd_idx *test_labels,
                   const hd_train_options *o, double *final_loss, hd_err *err) {
    trainer t = {.o = o};
    hd_data data;
    hd_status s = hd_graph_check(g, err);
    if (!s) s = hd_train_check(o, err);
    if (!s) s = hd_data_new(&data, g, images, labels, o->limit, err);
    if (s) return s;
    /* The threads are ours: products inside them run on one core each. */
    int blas = openblas_get_num_threads();
    openblas_set_num_threads(1);
    s = hd_loop_new(&t.loop, g, &data, o->batch, o->threads, o->weight_decay, NULL, err);
    if (!s) s = hd_sampler_new(&t.sampler, data.n, o->batch, o->shift, o->flip, o->seed, err);
    if (!s) s = train(&t, test_images, test_labels, final_loss, err);
    openblas_set_num_threads(blas);
    hd_sampler_free(&t.sampler);
    hd_loop_free(&t.loop);
    hd_data_free(&data);
    return s;
}
