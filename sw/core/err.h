/* Status codes and error texts. Library functions return hd_status, take `hd_err *err` last (may be NULL), never
 * print and never exit. A message names the file, the thing, what was found and what is allowed. */
#ifndef HD_ERR_H
#define HD_ERR_H

typedef enum hd_status {
#define HD_STATUS(n, v, d) HD_##n = (v),
#include "../contract/errors.def"
#undef HD_STATUS
} hd_status;

/* Owned by the caller; start from {0}. */
typedef struct hd_err {
    hd_status code;
    char message[512];
} hd_err;

/* Records code and a printf-style message in err (if not NULL) and returns code: `return hd_fail(err, HD_RANGE, ...)`. */
hd_status hd_fail(hd_err *err, hd_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the recorded message; returns its code. */
hd_status hd_fail_in(hd_err *err, const char *prefix);
/* "FORMAT", "NOFIT", ... */
const char *hd_status_name(hd_status code);
#endif
