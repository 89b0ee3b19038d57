/* A network in parts, of models or of programs: its parts by themselves, then all of them on zeros. */
#include <stdlib.h>
#include <string.h>

#include "../../compiler/partition/parts.h"
#include "fuzz.h"

/* What an array part gives: zeros of its value's shape, where that is small. */
static hd_status zeros(void *context, int part, const hd_nd *in, hd_nd *out, hd_err *err) {
    const hd_parts *p = context;
    const hd_parts_value *v = &p->value[p->part[part].out[0]];
    (void)in;
    return hd_nd_new(out, v->type, v->rank, v->dim, 1 << 20, err);
}

static void run(hd_parts *p) {
    hd_err err = {0};
    hd_nd *in = calloc((size_t)p->n_inputs + 1, sizeof *in), *out = calloc((size_t)p->n_outputs + 1, sizeof *out);
    fuzz_expect(in && out, "out of memory");
    int ready = 1;
    for (int k = 0; k < p->n_inputs; k++) {
        const hd_parts_value *v = &p->value[p->input[k]];
        ready = ready && hd_nd_new(&in[k], v->type, v->rank, v->dim, 1 << 20, &err) == HD_OK;
    }
    for (int k = 0; k < p->n_parts; k++)
        if (p->part[k].host) hd_host_set_limits(p->part[k].host, (hd_host_limits){(size_t)1 << 22, 2e6});
    if (ready) {
        hd_status s = hd_parts_run(p, in, out, zeros, p, &err);
        fuzz_expect(s == HD_OK || err.message[0], "status %d without a message", (int)s);
    }
    for (int k = 0; k < p->n_inputs; k++) hd_nd_free(&in[k]);
    for (int k = 0; k < p->n_outputs; k++) hd_nd_free(&out[k]);
    free(in);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_parts *p = NULL;
    hd_err err = {0};
    int programs = size >= 4 && !memcmp(data, "HPP1", 4);
    if (FUZZ_GOOD(hd_parts_load(&p, programs, fuzz_container(data, size), &err), &err, p)) {
        for (int k = 0; k < p->n_parts; k++) {
            if (p->part[k].model) fuzz_run_model(p->part[k].model);
            if (p->part[k].program) fuzz_run_program(p->part[k].program);
        }
        run(p);
    }
    hd_parts_free(p);
    return 0;
}
