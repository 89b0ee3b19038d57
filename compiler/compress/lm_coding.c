/* Codings of a policy: the tables that its matrices share, and how one matrix is coded. */
#include "codebook_lm.h"
#include "compress_internal.h"
#include "lm_policy.h"

/* Inputs that a code covers where the recipe does not say, and what it takes at most. */
static int coding_group(const hd_recipe *r) {
    return r->coding_group ? r->coding_group : r->coding == HD_CODING_ADDITIVE ? 8 : 4;
}

static hd_status check_coding(const hd_layer_policy *p, const char *name, hd_err *err) {
    const hd_recipe *r = &p->recipe;
    if (r->coding == HD_CODING_INTEGER) return HD_OK;
    if (p->sparsity > 0 && !p->skip_sparsity) return hd_fail(err, HD_UNSUPPORTED, "%s: weights removed from a matrix of codes; allowed with integers only", name);
    if (r->solver > HD_METHOD_GPTQ) return hd_fail(err, HD_UNSUPPORTED, "%s: codes are found by their own search, which goes with no other solver than gptq, its feedback", name);
    if (r->coding == HD_CODING_E8P && r->coding_group && r->coding_group != 8)
        return hd_fail(err, HD_RANGE, "%s: codes of %d weights on E8P; they are of 8", name, r->coding_group);
    return HD_OK;
}

enum { PLANES = 6, TRELLIS_MORE = 1, TRELLIS_MOST = 12 };

hd_status hd_lm_plan_tables(hd_lm_tables *t, const hd_llama *m, const hd_policy *p, hd_err *err) {
    hd_status s = hd_lm_tables_new(t, m, err);
    for (int i = 0; !s && i < m->layers * HD_LLAMA_MATRICES; i++) {
        char name[32];
        hd_llama_name(i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES, name, sizeof name);
        const hd_layer_policy *l = hd_policy_of(p, name);
        const hd_recipe *r = &l->recipe;
        s = check_coding(l, name, err);
        if (s || r->coding == HD_CODING_INTEGER || r->coding == HD_CODING_E8P) continue;
        int bits = r->coding_bits, books = r->coding == HD_CODING_ADDITIVE ? 2 : 1;
        int window = r->coding != HD_CODING_TRELLIS ? bits : bits + TRELLIS_MORE < TRELLIS_MOST ? bits + TRELLIS_MORE : TRELLIS_MOST;
        s = hd_lm_tables_add(t, &t->of[i], coding_group(r), books, bits, window, PLANES, err);
        if (s) hd_fail_in(err, name);
    }
    return s;
}

hd_status hd_lm_solve_coded(const hd_lm_tables *t, const hd_recipe *r, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    if (r->coding != HD_CODING_E8P) return hd_lm_solve_table(t, layer, matrix, p, out, err);
    hd_e8p_options e;
    hd_e8p_defaults(&e);
    e.bits = r->coding_bits;
    return hd_lm_solve_e8p(&e, layer, matrix, p, out, err);
}
