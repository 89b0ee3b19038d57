#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A message that does not fit keeps its beginning and shows by its end that something was cut. */
static void mark_cut(hd_err *err, int length) {
    size_t room = sizeof err->message;
    if (length >= 0 && (size_t)length >= room) memcpy(err->message + room - 4, "...", 4);
}

hd_status hd_fail(hd_err *err, hd_status code, const char *format, ...) {
    if (!err) return code;
    va_list args;
    /* Through a copy, so that an argument may be the old message. */
    char text[sizeof err->message];
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0) text[0] = 0;
    memcpy(err->message, text, sizeof text);
    err->code = code;
    mark_cut(err, length);
    return code;
}

hd_status hd_fail_in(hd_err *err, const char *prefix) {
    if (!err) return HD_FORMAT; /* no record to take the code from; any failure will do */
    char text[sizeof err->message];
    memcpy(text, err->message, sizeof text);
    int length = snprintf(err->message, sizeof err->message, "%s: %s", prefix, text);
    mark_cut(err, length);
    return err->code;
}

const char *hd_status_name(hd_status code) {
    switch (code) {
#define HD_STATUS(n, v, d) \
    case HD_##n: return #n;
#include "../contract/errors.def"
#undef HD_STATUS
    }
    return "unknown status";
}
