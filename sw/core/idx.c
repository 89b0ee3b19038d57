#include "idx.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "file.h"

enum { IDX_LIMIT = 0x7fffffff };

static size_t element_bytes(int type) {
    switch (type) {
    case HD_IDX_U8:
    case HD_IDX_I8: return 1;
    case HD_IDX_I16: return 2;
    case HD_IDX_I32:
    case HD_IDX_F32: return 4;
    }
    return 0;
}

/* Big-endian data to or from native order; both directions are the same swap. */
static void swap_copy(void *to, const void *from, size_t elements, size_t bytes) {
    const uint8_t *s = from;
    uint8_t *d = to;
    if (bytes == 1) {
        memcpy(d, s, elements);
        return;
    }
    const uint16_t probe = 1;
    int little = *(const uint8_t *)&probe;
    for (size_t i = 0; i < elements; i++, s += bytes, d += bytes)
        for (size_t b = 0; b < bytes; b++) d[b] = s[little ? bytes - 1 - b : b];
}

static hd_status parse(hd_idx *idx, const uint8_t *data, size_t size, const char *path, hd_err *err) {
    if (size < 4) return hd_fail(err, HD_FORMAT, "%s: %zu bytes; the start of an idx file has 4", path, size);
    const char *kind = hd_file_kind(data, size);
    if ((data[0] || data[1]) && kind) return hd_fail(err, HD_FORMAT, "%s: %s; an idx file is needed", path, kind);
    if (data[0] || data[1])
        return hd_fail(err, HD_FORMAT, "%s: starts with %02x %02x; an idx file starts with 00 00", path, data[0], data[1]);
    size_t bytes = element_bytes(data[2]);
    if (!bytes)
        return hd_fail(err, data[2] == 14 ? HD_UNSUPPORTED : HD_FORMAT,
                       "%s: idx element type %d; allowed are 8 (uint8), 9 (int8), 11 (int16), 12 (int32), 13 (float)", path, data[2]);
    if (data[3] < 1 || data[3] > 4) return hd_fail(err, HD_UNSUPPORTED, "%s: idx rank %d; allowed are 1 to 4", path, data[3]);
    idx->type = (hd_idx_type)data[2];
    idx->rank = data[3];
    size_t header = 4 + 4 * (size_t)idx->rank;
    if (size < header) return hd_fail(err, HD_FORMAT, "%s: %zu bytes; the header of an idx file of rank %d has %zu", path, size, idx->rank, header);
    size_t held = (size - header) / bytes, elements = 1;
    idx->item = 1;
    for (int i = 0; i < idx->rank; i++) {
        const uint8_t *p = data + 4 + 4 * i;
        uint32_t d = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        if (d == 0) return hd_fail(err, HD_FORMAT, "%s: size %d of the idx file is 0", path, i);
        /* Bounded by what the file holds, so no product overflows. */
        if (d > held / elements)
            return hd_fail(err, HD_FORMAT, "%s: idx size %d is %u, which needs more elements than the %zu the file holds", path, i, d, held);
        idx->dim[i] = d;
        elements *= d;
        if (i) idx->item *= d;
    }
    if (size - header != elements * bytes)
        return hd_fail(err, HD_FORMAT, "%s: %zu bytes of idx data; its sizes say %zu", path, size - header, elements * bytes);
    idx->data = malloc(elements * bytes);
    if (!idx->data) return hd_fail(err, HD_NOMEM, "%s: no memory for %zu bytes", path, elements * bytes);
    swap_copy(idx->data, data + header, elements, bytes);
    return HD_OK;
}

hd_status hd_idx_load(hd_idx **out, const char *path, hd_err *err) {
    *out = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    hd_status status = hd_file_read(&data, &size, path, IDX_LIMIT, 1, err);
    if (status != HD_OK) return status;
    hd_idx *idx = calloc(1, sizeof *idx);
    status = idx ? parse(idx, data, size, path, err) : hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    free(data);
    if (status != HD_OK) {
        hd_idx_free(idx);
        return status;
    }
    *out = idx;
    return HD_OK;
}

hd_status hd_idx_save(const hd_idx *idx, const char *path, hd_err *err) {
    size_t bytes = element_bytes((int)idx->type);
    if (!bytes) return hd_fail(err, HD_RANGE, "%s: idx element type %d; allowed are 8, 9, 11, 12, 13", path, (int)idx->type);
    if (idx->rank < 1 || idx->rank > 4) return hd_fail(err, HD_RANGE, "%s: idx rank %d; allowed are 1 to 4", path, idx->rank);
    size_t header = 4 + 4 * (size_t)idx->rank, elements = 1;
    for (int i = 0; i < idx->rank; i++) {
        if (idx->dim[i] == 0 || idx->dim[i] > (IDX_LIMIT - header) / bytes / elements)
            return hd_fail(err, HD_RANGE, "%s: idx size %d is %u; allowed are 1 and up, %d bytes in all", path, i, idx->dim[i], IDX_LIMIT);
        elements *= idx->dim[i];
    }
    uint8_t *data = malloc(header + elements * bytes);
    if (!data) return hd_fail(err, HD_NOMEM, "%s: no memory for %zu bytes", path, header + elements * bytes);
    memset(data, 0, 4);
    data[2] = (uint8_t)idx->type;
    data[3] = (uint8_t)idx->rank;
    for (int i = 0; i < idx->rank; i++)
        for (int b = 0; b < 4; b++) data[4 + 4 * i + b] = (uint8_t)(idx->dim[i] >> (24 - 8 * b));
    swap_copy(data + header, idx->data, elements, bytes);
    hd_status status = hd_file_write(path, data, header + elements * bytes, err);
    free(data);
    return status;
}

void hd_idx_free(hd_idx *idx) {
    if (!idx) return;
    free(idx->data);
    free(idx);
}

void hd_idx_item(const hd_idx *idx, uint32_t n, int unit, float *out) {
    size_t first = (size_t)n * idx->item;
    switch (idx->type) {
    case HD_IDX_U8: {
        const uint8_t *p = (const uint8_t *)idx->data + first;
        for (size_t i = 0; i < idx->item; i++) out[i] = unit ? (float)p[i] / 255.0f : (float)p[i];
        break;
    }
    case HD_IDX_I8: {
        const int8_t *p = (const int8_t *)idx->data + first;
        for (size_t i = 0; i < idx->item; i++) out[i] = (float)p[i];
        break;
    }
    case HD_IDX_I16: {
        const int16_t *p = (const int16_t *)idx->data + first;
        for (size_t i = 0; i < idx->item; i++) out[i] = (float)p[i];
        break;
    }
    case HD_IDX_I32: {
        const int32_t *p = (const int32_t *)idx->data + first;
        for (size_t i = 0; i < idx->item; i++) out[i] = (float)p[i];
        break;
    }
    case HD_IDX_F32: memcpy(out, (const float *)idx->data + first, idx->item * sizeof *out); break;
    }
}

hd_status hd_idx_chw(hd_idx *idx, int c, int h, int w, hd_err *err) {
    size_t channels = (size_t)c, pixels = (size_t)h * (size_t)w, bytes = element_bytes((int)idx->type);
    if (channels * pixels != idx->item)
        return hd_fail(err, HD_MISMATCH, "items of %zu elements; %d x %d pixels of %d channels have %zu", idx->item, h, w, c, channels * pixels);
    char *item = malloc(idx->item * bytes);
    if (!item) return hd_fail(err, HD_NOMEM, "no memory for an item of %zu elements", idx->item);
    for (uint32_t n = 0; n < idx->dim[0]; n++) {
        char *to = (char *)idx->data + (size_t)n * idx->item * bytes;
        memcpy(item, to, idx->item * bytes);
        for (size_t k = 0; k < channels; k++)
            for (size_t p = 0; p < pixels; p++) memcpy(to + (k * pixels + p) * bytes, item + (p * channels + k) * bytes, bytes);
    }
    free(item);
    idx->rank = 4;
    idx->dim[1] = (uint32_t)c;
    idx->dim[2] = (uint32_t)h;
    idx->dim[3] = (uint32_t)w;
    return HD_OK;
}
