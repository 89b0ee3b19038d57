/* An ONNX file cut in parts, as `heddle compress` does where a network does not map as a whole. That runs the network once, for as long as it takes: large ones are left out. */
#include "../../compiler/partition/parts.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const hd_cut_options none = {NULL, NULL};
    hd_parts *p = NULL;
    hd_host *h = NULL;
    hd_err err = {0};
    hd_status large = FUZZ_GOOD(hd_host_load_memory(&h, data, size, "fuzz.onnx", &err), &err, h) ? fuzz_run_host(h) : HD_OK;
    hd_host_free(h);
    if (large == HD_RANGE) return 0;
    err = (hd_err){0};
    if (FUZZ_GOOD(hd_parts_cut(&p, fuzz_file(0, data, size), &none, &err), &err, p))
        for (int k = 0; k < p->n_parts; k++) {
            hd_graph *g = NULL;
            if (p->part[k].kind == HD_PART_ARRAY && FUZZ_GOOD(hd_parts_graph(&g, p, k, &err), &err, g)) fuzz_run_graph(g);
            hd_graph_free(g);
        }
    hd_parts_free(p);
    return 0;
}
