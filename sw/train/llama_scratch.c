/* Training of all parameters of a language model. */
#include <math.h>
#include <stdlib.h>

#include "llama_loop.h"

void hd_llama_train_defaults(hd_llama_train_options *o) {
    *o = (hd_llama_train_options){.steps = 1000, .batch = 8, .rate = 2e-3f, .weight_decay = 0.1f, .objective = {.share = 0.5f, .temperature = 1}, .written_share = 0.5f, .seed = 1};
}

static void draw(hd_rng *rng, float *x, size_t n, double deviation) {
    for (size_t i = 0; i < n; i++) x[i] = (float)deviation * hd_rng_normal(rng);
}

void hd_llama_start(hd_llama *m, uint64_t seed) {
    hd_rng rng;
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab * dim;
    hd_rng_seed(&rng, seed, 1);
    draw(&rng, m->embedding, table, 0.02);
    for (int l = 0; l < m->layers; l++)
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            double adds = k == HD_LLAMA_O || k == HD_LLAMA_W2 ? 2.0 * m->layers : 1;
            draw(&rng, m->layer[l].matrix[k], (size_t)out * (size_t)in, 1 / sqrt(in * adds));
        }
    for (size_t i = 0; i < dim; i++) {
        m->norm_final[i] = 1;
        for (int l = 0; l < m->layers; l++) m->layer[l].norm_attention[i] = m->layer[l].norm_ffn[i] = 1;
    }
    if (m->classifier != m->embedding) draw(&rng, m->classifier, table, 0.02);
}

static hd_status check_options(const hd_llama_train_options *o, hd_err *err) {
    if (!(o->rate > 0) || o->rate > 1) return hd_fail(err, HD_RANGE, "training: learning rate %g; above 0, at most 1 is allowed", (double)o->rate);
    if (!(o->weight_decay >= 0) || o->weight_decay > 1) return hd_fail(err, HD_RANGE, "training: weight decay %g; 0..1 is allowed", (double)o->weight_decay);
    if (!(o->written_share >= 0) || o->written_share > 1) return hd_fail(err, HD_RANGE, "training: written share %g; 0..1 is allowed", (double)o->written_share);
    if (o->written < 0 || (o->written && !o->objective.teacher)) return hd_fail(err, HD_RANGE, "training: %d written rows; 0 and more are allowed, and a teacher writes them", o->written);
    if (o->objective.logits) return hd_fail(err, HD_RANGE, "training: logits of a teacher; a model is needed, because rows are drawn at random");
    return HD_OK;
}

hd_status hd_llama_train(hd_llama *m, const int16_t *rows, int stride, int n, int t, const hd_llama_train_options *o, double *loss, hd_err *err) {
    hd_status s = check_options(o, err);
    if (s) return s;
    hd_llama_feed feed = {0};
    hd_llama_loop loop = {0};
    int16_t *written = NULL;
    if (o->written) {
        written = malloc((size_t)o->written * ((size_t)t + 1) * sizeof *written);
        s = written ? hd_llama_write(o->objective.teacher, written, o->written, t, 1, o->seed, err) : hd_fail(err, HD_NOMEM, "no memory for %d written rows", o->written);
    }
    if (!s) s = hd_llama_feed_new(&feed, rows, stride, n, written, o->written, o->written_share, t, o->seed, err);
    hd_llama_loop_options lo = {.steps = o->steps, .batch = o->batch, .threads = o->threads, .rate = o->rate, .weight_decay = o->weight_decay,
                                .objective = o->objective, .label = o->label};
    if (!s) s = hd_llama_loop_new(&loop, m, &feed, &lo, NULL, err);
    if (!s) s = hd_llama_loop_run(&loop, loss, err);
    hd_llama_loop_free(&loop);
    hd_llama_feed_free(&feed);
    free(written);
    return s;
}
