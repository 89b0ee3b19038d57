/* For tests/cli/parts.sh: parts_files net.onnx x.idx y.idx labels.idx N writes the network, N inputs, what the host executor gives for them in float and where that is
 * largest;
 * parts_files a.idx b.idx prints the largest difference;
 * parts_files folded.onnx writes the network that is whole once it is folded;
 * parts_files host.onnx host one of which the array can do nothing;
 * parts_files two.onnx two one that takes a second image, its factor. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/onnx/host.h"
#include "../../sw/core/file.h"
#include "../../sw/core/idx.h"
#include "parts_net.h"

static int compare(const char *a, const char *b) {
    hd_idx *x, *y;
    if (hd_idx_load(&x, a, NULL) || hd_idx_load(&y, b, NULL) || x->item != y->item || x->dim[0] != y->dim[0]) return 1;
    double worst = 0;
    for (size_t k = 0; k < x->item * x->dim[0]; k++) worst = fmax(worst, fabs((double)((float *)x->data)[k] - (double)((float *)y->data)[k]));
    printf("%.6f\n", worst);
    hd_idx_free(x);
    hd_idx_free(y);
    return 0;
}

static builder *host_net(void) {
    builder *b = builder_new(13, "1 3 12 12", "y");
    builder_node(b, "Sin", "x", "s");
    builder_int(b, builder_node(b, "Softmax", "s", "y"), "axis", 1);
    return b;
}

/* y = sin(x) times k, a second input. */
static int write_two(const char *path) {
    builder *b = builder_new(13, "1 3 12 12", "y");
    size_t size;
    builder_node(b, "Sin", "x", "s");
    builder_node(b, "Mul", "s x2", "y");
    uint8_t *bytes = builder_pack(b, &size);
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, bytes), *other = onnx__model_proto__unpack(NULL, size, bytes);
    Onnx__GraphProto *g = m->graph;
    g->input = realloc(g->input, 2 * sizeof *g->input);
    g->input[g->n_input++] = other->graph->input[0];
    other->graph->n_input = 0;
    strcpy(g->node[1]->input[1], "k");
    strcpy(g->input[1]->name, "k");
    free(bytes);
    bytes = malloc(size = onnx__model_proto__get_packed_size(m));
    onnx__model_proto__pack(m, bytes);
    int failed = hd_file_write(path, bytes, size, NULL) != HD_OK;
    free(bytes);
    onnx__model_proto__free_unpacked(m, NULL);
    onnx__model_proto__free_unpacked(other, NULL);
    builder_free(b);
    return failed;
}

int main(int argc, char **argv) {
    int host = argc == 3 && !strcmp(argv[2], "host");
    if (argc == 3 && !strcmp(argv[2], "two")) return write_two(argv[1]);
    if (argc == 3 && !host) return compare(argv[1], argv[2]);
    if (argc != 6 && argc != 2 && !host) return 2;
    builder *b = host ? host_net() : argc == 2 ? parts_net_folded() : parts_net();
    size_t size;
    uint8_t *bytes = builder_pack(b, &size);
    hd_host *h;
    hd_err err = {0};
    if (argc < 6) {
        int failed = hd_file_write(argv[1], bytes, size, &err) != HD_OK;
        free(bytes);
        builder_free(b);
        return failed;
    }
    uint32_t n = (uint32_t)atoi(argv[5]);
    if (hd_file_write(argv[1], bytes, size, &err) || hd_host_load_memory(&h, bytes, size, "net", &err)) return fputs(err.message, stderr), 1;
    float *x = malloc((size_t)n * PARTS_NET_INPUT * sizeof *x), *y = NULL;
    size_t item = 0;
    uint8_t *label = calloc(n + 1, 1);
    for (uint32_t k = 0; k < n; k++) {
        const int64_t dim[] = {1, 3, 12, 12};
        hd_nd in, out;
        parts_net_input(x + k * PARTS_NET_INPUT, k);
        if (hd_nd_new(&in, HD_TYPE_F32, 4, dim, SIZE_MAX, &err)) return 1;
        memcpy(in.data, x + k * PARTS_NET_INPUT, PARTS_NET_INPUT * sizeof *x);
        if (hd_host_run(h, &in, &out, NULL, &err)) return fputs(err.message, stderr), 1;
        item = out.count;
        y = realloc(y, (size_t)n * item * sizeof *y);
        memcpy(y + k * item, out.data, item * sizeof *y);
        for (size_t i = 0; i < item; i++)
            if (((float *)out.data)[i] > ((float *)out.data)[label[k]]) label[k] = (uint8_t)i;
        hd_nd_free(&in);
        hd_nd_free(&out);
    }
    hd_idx labels = {.type = HD_IDX_U8, .rank = 1, .dim = {n}, .item = 1, .data = label};
    hd_idx inputs = {.type = HD_IDX_F32, .rank = 4, .dim = {n, 3, 12, 12}, .item = PARTS_NET_INPUT, .data = x};
    hd_idx outputs = {.type = HD_IDX_F32, .rank = 2, .dim = {n, (uint32_t)item}, .item = item, .data = y};
    int bad = hd_idx_save(&inputs, argv[2], &err) || hd_idx_save(&outputs, argv[3], &err) || hd_idx_save(&labels, argv[4], &err);
    hd_host_free(h);
    free(bytes);
    free(x);
    free(y);
    free(label);
    builder_free(b);
    return bad;
}
