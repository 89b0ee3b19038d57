/* Text that a model writes itself, as training data. */
#include "llama_train.h"

static void write_row(hd_llama_state *state, const hd_llama *m, int16_t *row, int t, double temperature, hd_rng *rng) {
    row[0] = HD_TOKEN_BOS;
    for (int i = 0; i < t; i++) {
        const float *logits = hd_llama_step(state, row[i], i);
        int drawn = hd_llama_sample(logits, m->vocab, temperature, 1, rng);
        row[i + 1] = (int16_t)(row[i] == HD_TOKEN_EOS ? HD_TOKEN_BOS : drawn);
    }
}

hd_status hd_llama_write(const hd_llama *m, int16_t *rows, int n, int t, double temperature, uint64_t seed, hd_err *err) {
    if (n < 1 || t < 1 || t > m->max_tokens)
        return hd_fail(err, HD_RANGE, "%d rows of %d tokens to write; allowed are at least 1, of 1 to %d tokens", n, t, m->max_tokens);
    if (m->vocab <= HD_TOKEN_EOS) return hd_fail(err, HD_RANGE, "a vocabulary of %d has no tokens for begin and end of a text", m->vocab);
    hd_status result = HD_OK;
#pragma omp parallel
    {
        hd_llama_state *state;
        hd_err mine = {0};
        hd_status s = hd_llama_state_new(&state, m, &mine);
        if (s) {
#pragma omp critical
            result = hd_fail(err, s, "%s", mine.message);
        }
#pragma omp for schedule(dynamic)
        for (int i = 0; i < n; i++) {
            hd_rng rng;
            hd_rng_seed(&rng, seed, (uint64_t)i);
            if (!s) write_row(state, m, rows + (size_t)i * (size_t)(t + 1), t, temperature, &rng);
        }
        hd_llama_state_free(state);
    }
    return result;
}
