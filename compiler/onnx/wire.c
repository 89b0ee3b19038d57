/* From bytes to protobuf-c messages, safely.
 *
 * protobuf-c recurses without a limit, merges repeated occurrences of a single field, and turns two bytes of an
 * empty message into a hundred of memory. So the bytes are walked first, by the same descriptors, and the unpacking
 * runs on an allocator with a budget. */
#include <stdlib.h>

#include "../../sw/core/bytes.h"
#include "proto.h"

enum { MAX_DEPTH = 24 };
static const size_t budget_base = (size_t)64 << 20, budget_factor = 4;

typedef struct walk {
    const uint8_t *data;
    size_t size;
    const char *label;
    hd_err *err;
} walk;

static int varint(const walk *w, size_t *at, size_t end, uint64_t *v) {
    *v = 0;
    for (int i = 0; i < 10 && *at < end; i++) {
        uint8_t b = w->data[(*at)++];
        *v |= (uint64_t)(b & 127) << 7 * i;
        if (!(b & 128)) return 1;
    }
    return 0;
}

static hd_status message(const walk *w, const ProtobufCMessageDescriptor *d, size_t at, size_t end, int depth) {
    if (depth > MAX_DEPTH)
        return hd_fail(w->err, HD_FORMAT, "%s: byte %zu: messages are nested more than %d deep", w->label, at, MAX_DEPTH);
    uint64_t seen = 0; /* fields of d that hold one message and have come */
    while (at < end) {
        size_t start = at;
        uint64_t key, length;
        if (!varint(w, &at, end, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
            return hd_fail(w->err, HD_FORMAT, "%s: byte %zu: no valid ONNX field begins here", w->label, start);
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, (unsigned)(key >> 3));
        const ProtobufCMessageDescriptor *inner = f && f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
        /* Unpacked when a call needs it. */
        if (!f && d == &onnx__function_proto__descriptor && key >> 3 == HD_ONNX_FUNCTION_DEFAULTS) inner = &onnx__attribute_proto__descriptor;
        int wire = (int)(key & 7);
        if (wire == 0) {
            if (!varint(w, &at, end, &length)) return hd_fail(w->err, HD_FORMAT, "%s: byte %zu: number cut short", w->label, start);
            continue;
        }
        if (wire == 1 || wire == 5) length = wire == 1 ? 8 : 4;
        else if (wire != 2) return hd_fail(w->err, HD_FORMAT, "%s: byte %zu: no valid ONNX field begins here", w->label, start);
        else if (!varint(w, &at, end, &length)) return hd_fail(w->err, HD_FORMAT, "%s: byte %zu: length cut short", w->label, start);
        if (length > end - at)
            return hd_fail(w->err, HD_FORMAT, "%s: byte %zu: %s of %llu bytes; %zu are left", w->label, start,
                           f ? f->name : "a field", (unsigned long long)length, end - at);
        if (wire == 2 && inner) {
            uint64_t bit = f ? (uint64_t)1 << ((size_t)(f - d->fields) & 63) : 0;
            if (f && f->label != PROTOBUF_C_LABEL_REPEATED && seen & bit)
                return hd_fail(w->err, HD_FORMAT, "%s: byte %zu: second '%s' in one message", w->label, start, f->name);
            seen |= bit;
            hd_status status = message(w, inner, at, at + (size_t)length, depth + 1);
            if (status != HD_OK) return status;
        }
        at += (size_t)length;
    }
    return HD_OK;
}

typedef struct budget {
    size_t left;
    int passed; /* the budget refused, not the system */
} budget;

static void *budget_alloc(void *data, size_t size) {
    budget *b = data;
    size_t cost = size + 16;
    if (cost < size || cost > b->left) {
        b->passed = 1;
        return NULL;
    }
    b->left -= cost;
    return malloc(size);
}

static void budget_free(void *data, void *pointer) {
    (void)data; /* scratch is not given back: the total bounds the work too */
    free(pointer);
}

hd_status hd_onnx_parse(Onnx__ModelProto **out, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    *out = NULL;
    if (size == 0) return hd_fail(err, HD_FORMAT, "%s: is empty; an ONNX model is expected", label);
    walk w = {data, size, label, err};
    hd_status status = message(&w, &onnx__model_proto__descriptor, 0, size, 0);
    const char *kind = status == HD_OK ? NULL : hd_file_kind(data, size);
    if (kind) return hd_fail(err, HD_FORMAT, "%s: %s; an ONNX model is expected", label, kind);
    if (status != HD_OK) return status;
    size_t total = budget_base + budget_factor * size;
    budget b = {total, 0};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &b};
    *out = onnx__model_proto__unpack(&allocator, size, data);
    if (*out) {
        status = hd_onnx_inline_functions(*out, label, err);
        if (status == HD_OK) return HD_OK;
        onnx__model_proto__free_unpacked(*out, NULL);
        *out = NULL;
        return status;
    }
    if (b.passed)
        return hd_fail(err, HD_RANGE, "%s: %zu bytes unpack to more than %zu bytes of messages, the most that is allowed", label, size, total);
    return hd_fail(err, HD_FORMAT, "%s: the fields do not form an ONNX model (wrong types)", label);
}
