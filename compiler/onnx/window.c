/* Windows: attributes to sizes, and positions. */
#include "window.h"

#include <string.h>

hd_status hd_window_list(hd_call *c, const char *name, int n, int64_t fallback, int64_t lowest, int64_t *list) {
    size_t count;
    const int64_t *given = hd_attr_ints(c, name, &count);
    if (given && count != (size_t)n) return hd_call_fail(c, HD_MISMATCH, "attribute '%s' has %zu entries; %d are expected", name, count, n);
    for (int k = 0; k < n; k++) {
        list[k] = given ? given[k] : fallback;
        if (list[k] < lowest || list[k] > 1 << 28) return hd_call_fail(c, HD_RANGE, "attribute '%s' has %lld", name, (long long)list[k]);
    }
    return HD_OK;
}

hd_status hd_window_read(hd_window *w, hd_call *c, const hd_nd *x, const int64_t *kernel, int64_t ceil_mode) {
    *w = (hd_window){.n = x->rank - 2};
    int64_t pads[2 * HD_WINDOW_AXES];
    if (w->n < 1 || w->n > HD_WINDOW_AXES) return hd_call_fail(c, HD_UNSUPPORTED, "an input of %d dimensions; 3 to %d are supported", x->rank, HD_WINDOW_AXES + 2);
    HD_TRY(hd_window_list(c, "strides", w->n, 1, 1, w->stride));
    HD_TRY(hd_window_list(c, "dilations", w->n, 1, 1, w->dilation));
    HD_TRY(hd_window_list(c, "pads", 2 * w->n, 0, 0, pads));
    int valid = hd_attr_is(c, "auto_pad", "NOTSET", "VALID"), upper = hd_attr_is(c, "auto_pad", "NOTSET", "SAME_UPPER"), lower = hd_attr_is(c, "auto_pad", "NOTSET", "SAME_LOWER");
    if (!valid && !upper && !lower && !hd_attr_is(c, "auto_pad", "NOTSET", "NOTSET")) return hd_call_fail(c, HD_FORMAT, "attribute auto_pad is none of NOTSET, VALID, SAME_UPPER and SAME_LOWER");
    for (int k = 0; k < w->n; k++) {
        w->kernel[k] = kernel[k];
        w->in[k] = x->dim[k + 2];
        if (kernel[k] < 1 || kernel[k] > 1 << 28 || w->in[k] > 1 << 28) return hd_call_fail(c, HD_RANGE, "a kernel of %lld", (long long)kernel[k]);
        int64_t span = (kernel[k] - 1) * w->dilation[k] + 1;
        w->before[k] = valid ? 0 : pads[k];
        w->after[k] = valid ? 0 : pads[k + w->n];
        if (upper || lower) {
            int64_t out = (w->in[k] + w->stride[k] - 1) / w->stride[k], need = (out - 1) * w->stride[k] + span - w->in[k];
            if (need < 0) need = 0;
            w->before[k] = lower ? need - need / 2 : need / 2;
            w->after[k] = need - w->before[k];
        }
        int64_t room = w->in[k] + w->before[k] + w->after[k] - span;
        if (room < 0) return hd_call_fail(c, HD_RANGE, "a window of %lld over %lld elements with padding", (long long)span, (long long)(room + span));
        w->out[k] = room / w->stride[k] + 1;
        /* A window that would begin in the padding behind the input does not count. */
        if (ceil_mode && room % w->stride[k] && w->out[k] * w->stride[k] < w->in[k] + w->before[k]) w->out[k]++;
    }
    return HD_OK;
}

hd_status hd_window_size(hd_call *c, int n, const int64_t *dim, int64_t *size) {
    size_t count;
    if (!hd_nd_count(&count, n, dim, (size_t)1 << 40)) return hd_call_fail(c, HD_RANGE, "windows or planes of more than 2^40 elements");
    *size = (int64_t)count;
    return HD_OK;
}

int64_t hd_window_at(const hd_window *w, int64_t o, int64_t t) {
    int64_t at = 0, scale = 1;
    for (int k = w->n; k-- > 0; o /= w->out[k], t /= w->kernel[k], scale *= w->in[k]) {
        int64_t p = o % w->out[k] * w->stride[k] + t % w->kernel[k] * w->dilation[k] - w->before[k];
        if (p < 0 || p >= w->in[k]) return -1;
        at += p * scale;
    }
    return at;
}
