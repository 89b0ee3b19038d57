#include "lm_policy.h"

#include "compress_internal.h"

void hd_lm_format_of(hd_linear_format *f, hd_linear_options *options, const hd_layer_policy *p) {
    *f = (hd_linear_format){.bits = p->bits, .grid = p->bits == 0 ? HD_GRID_TERNARY : p->grid == HD_GRID_EVEN ? HD_GRID_EVEN : HD_GRID_ODD};
    if (p->granularity == HD_GRANULARITY_GROUP) {
        f->group = p->group_size;
        f->shift_groups = 1;
    }
    if (p->sparsity > 0 && !p->skip_sparsity) {
        f->sparsity = p->structure == HD_SPARSE_NONE ? HD_SPARSE_BLOCK : p->structure;
        f->density = 1 - p->sparsity;
        f->block_in = p->block_in;
        f->block_out = p->block_out;
        f->n = p->n;
        f->m = p->m;
    }
    hd_linear_defaults(options, f->sparsity != HD_SPARSE_NONE ? HD_METHOD_SPARSEGPT : p->recipe.solver);
}

static hd_status solve(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    char name[32];
    hd_lm_linear l;
    hd_llama_name(layer, matrix, name, sizeof name);
    hd_lm_format_of(&l.format, &l.options, hd_policy_of(arg, name));
    return hd_lm_solve_linear(&l, layer, matrix, p, out, err);
}

hd_status hd_lm_compress_policy(hd_lm **out, const hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t,
                                const char *label, hd_err *err) {
    *out = NULL;
    hd_policy copy = *p;
    hd_lm_options o = {.solve = solve, .arg = &copy, .correct = 1, .label = label};
    hd_status s = hd_policy_check_lm(p, m, err);
    return s ? s : hd_lm_compress(out, m, tokens, stride, n, t, &o, err);
}
