/* Tensors whose data lie in files beside the model. They are brought into the message, as if the model were one file. */
#define _GNU_SOURCE /* realpath */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../sw/core/file.h"
#include "proto.h"

static const size_t total_limit = (size_t)1 << 31; /* of all tensors of a model */

typedef struct bringer {
    const char *label;
    char *folder; /* real path of the model's folder, with a slash at its end */
    size_t left;
    hd_err *err;
} bringer;

static hd_status fail(const bringer *b, const Onnx__TensorProto *t, hd_status code, const char *what, const char *thing) {
    return hd_fail(b->err, code, "%s: tensor '%s': %s '%.200s'", b->label, t->name && t->name[0] ? t->name : "(unnamed)", what, thing);
}

/* A relative path without steps upwards; where links lead is seen when it is opened. */
static int stays_inside(const char *location) {
    if (!location[0] || location[0] == '/' || strchr(location, '\\')) return 0;
    for (const char *p = location; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (!strncmp(p, "..", 2) && (!p[2] || p[2] == '/')) return 0;
    return 1;
}

static int whole_number(const char *text, uint64_t *v) {
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9') return 0;
    *v = strtoull(text, &end, 10);
    return !*end && !errno && *v <= INT64_MAX;
}

typedef struct place {
    const char *location;
    uint64_t offset, length;
    int has_length;
} place;

static hd_status read_place(const bringer *b, const Onnx__TensorProto *t, place *at) {
    *at = (place){0};
    for (size_t k = 0; k < t->n_external_data; k++) {
        const char *key = t->external_data[k]->key ? t->external_data[k]->key : "", *value = t->external_data[k]->value ? t->external_data[k]->value : "";
        if (!strcmp(key, "location")) at->location = value;
        else if (!strcmp(key, "offset") && !whole_number(value, &at->offset)) return fail(b, t, HD_FORMAT, "offset of its external data is no whole number:", value);
        else if (!strcmp(key, "length") && !(at->has_length = whole_number(value, &at->length))) return fail(b, t, HD_FORMAT, "length of its external data is no whole number:", value);
    }
    if (!at->location) return fail(b, t, HD_FORMAT, "its data are external, but no location is given, as in", "location");
    return stays_inside(at->location) ? HD_OK : fail(b, t, HD_UNSUPPORTED, "its data would lie outside of the model's folder:", at->location);
}

/* The file, opened only if it is a plain one and, links followed, inside of the folder. */
static hd_status open_inside(const bringer *b, const Onnx__TensorProto *t, const char *location, int *fd, uint64_t *size) {
    size_t folder = strlen(b->folder), n = folder + strlen(location) + 1;
    char *path = malloc(n), *real = NULL;
    struct stat st;
    *fd = -1;
    if (!path) return hd_fail(b->err, HD_NOMEM, "%s: out of memory", b->label);
    memcpy(path, b->folder, folder);
    memcpy(path + folder, location, n - folder);
    hd_status s = HD_OK;
    if (!(real = realpath(path, NULL))) s = hd_fail(b->err, HD_IO, "%s: tensor '%s': its data, %s: %s", b->label, t->name ? t->name : "", path, strerror(errno));
    else if (strncmp(real, b->folder, folder)) s = fail(b, t, HD_UNSUPPORTED, "its data lie outside of the model's folder, where a link leads:", location);
    else if ((*fd = open(real, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0 || fstat(*fd, &st)) s = hd_fail(b->err, HD_IO, "%s: tensor '%s': its data, %s: %s", b->label, t->name ? t->name : "", path, strerror(errno));
    else if (!S_ISREG(st.st_mode)) s = fail(b, t, HD_FORMAT, "its data are in no plain file:", location);
    else *size = (uint64_t)st.st_size;
    free(path);
    free(real);
    return s;
}

static hd_status read_bytes(const bringer *b, const Onnx__TensorProto *t, int fd, const place *at, uint8_t *to) {
    for (uint64_t done = 0; done < at->length;) {
        ssize_t got = pread(fd, to + done, (size_t)(at->length - done), (off_t)(at->offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return fail(b, t, HD_IO, "its data cannot be read:", got ? strerror(errno) : "the file ends early");
        done += (uint64_t)got;
    }
    return HD_OK;
}

static hd_status bring(bringer *b, Onnx__TensorProto *t) {
    place at;
    uint64_t size = 0;
    int fd;
    if (t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL && !t->n_external_data) return HD_OK;
    if (t->has_raw_data || t->n_float_data || t->n_int32_data || t->n_int64_data || t->n_double_data || t->n_uint64_data || t->n_string_data)
        return fail(b, t, HD_FORMAT, "has data in the model and in another file:", "external_data");
    hd_status s = read_place(b, t, &at);
    if (!s) s = open_inside(b, t, at.location, &fd, &size);
    else return s;
    if (!s && at.offset > size) s = hd_fail(b->err, HD_FORMAT, "%s: tensor '%s': its data begin at byte %llu of '%.200s', which has %llu", b->label, t->name ? t->name : "", (unsigned long long)at.offset, at.location, (unsigned long long)size);
    if (!s && !at.has_length) at.length = size - at.offset;
    if (!s && at.length > size - at.offset)
        s = hd_fail(b->err, HD_FORMAT, "%s: tensor '%s': %llu bytes of data at byte %llu of '%.200s', which has %llu", b->label, t->name ? t->name : "", (unsigned long long)at.length, (unsigned long long)at.offset, at.location, (unsigned long long)size);
    if (!s && at.length > b->left) s = hd_fail(b->err, HD_RANGE, "%s: tensor '%s': with its data there are more than %zu bytes in other files, the most that is read", b->label, t->name ? t->name : "", total_limit);
    uint8_t *data = s ? NULL : malloc((size_t)at.length + 1);
    if (!s && !data) s = hd_fail(b->err, HD_NOMEM, "%s: no memory for %llu bytes of tensor '%s'", b->label, (unsigned long long)at.length, t->name ? t->name : "");
    if (!s) s = read_bytes(b, t, fd, &at, data);
    if (fd >= 0) close(fd);
    if (s) {
        free(data);
        return s;
    }
    b->left -= (size_t)at.length;
    for (size_t k = 0; k < t->n_external_data; k++) onnx__string_string_entry_proto__free_unpacked(t->external_data[k], NULL);
    free(t->external_data);
    t->external_data = NULL;
    t->n_external_data = 0;
    t->has_data_location = 0;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    t->has_raw_data = 1;
    t->raw_data.data = data; /* freed with the message, which lies in memory of malloc too */
    t->raw_data.len = (size_t)at.length;
    return HD_OK;
}

static hd_status bring_graph(bringer *b, Onnx__GraphProto *g);

/* How deep they are nested was bounded when the bytes were read. */
static hd_status bring_nodes(bringer *b, Onnx__NodeProto **node, size_t n) {
    hd_status s = HD_OK;
    for (size_t i = 0; !s && i < n; i++)
        for (size_t k = 0; !s && k < node[i]->n_attribute; k++) {
            Onnx__AttributeProto *a = node[i]->attribute[k];
            if (a->t) s = bring(b, a->t);
            for (size_t j = 0; !s && j < a->n_tensors; j++) s = bring(b, a->tensors[j]);
            if (!s && a->g) s = bring_graph(b, a->g);
            for (size_t j = 0; !s && j < a->n_graphs; j++) s = bring_graph(b, a->graphs[j]);
        }
    return s;
}

static hd_status bring_graph(bringer *b, Onnx__GraphProto *g) {
    hd_status s = HD_OK;
    for (size_t k = 0; !s && k < g->n_initializer; k++) s = bring(b, g->initializer[k]);
    return s ? s : bring_nodes(b, g->node, g->n_node);
}

static hd_status bring_external(Onnx__ModelProto *m, const char *path, size_t *size, hd_err *err) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup("."), *real = folder ? realpath(folder, NULL) : NULL;
    size_t n = real ? strlen(real) : 0;
    bringer b = {.label = path, .folder = real ? malloc(n + 2) : NULL, .left = total_limit, .err = err};
    hd_status s = b.folder ? HD_OK : hd_fail(err, HD_IO, "%s: its folder cannot be found", path);
    if (!s) {
        memcpy(b.folder, real, n);
        memcpy(b.folder + n, n == 1 ? "" : "/", 2 - (n == 1));
        if (m->graph) s = bring_graph(&b, m->graph);
    }
    *size += total_limit - b.left;
    free(folder);
    free(real);
    free(b.folder);
    return s;
}

hd_status hd_onnx_read_file(Onnx__ModelProto **out, const char *path, size_t *size, hd_err *err) {
    static const size_t file_limit = (size_t)1 << 31;
    uint8_t *data;
    *out = NULL;
    hd_status s = hd_file_read(&data, size, path, file_limit, 0, err);
    if (s) return s;
    s = hd_onnx_parse(out, data, *size, path, err);
    free(data);
    if (!s) s = bring_external(*out, path, size, err);
    if (s && *out) {
        onnx__model_proto__free_unpacked(*out, NULL);
        *out = NULL;
    }
    return s;
}
