/* Whole files. Writing is atomic: a file without a name is filled, then gets the target's, or, over an older file, a temporary one (FILE.PID-N.tmp) and by renaming the
 * target's; a failure leaves nothing behind. What a process that was killed between these two left, the next write over an older file removes. */
#ifndef HD_FILE_H
#define HD_FILE_H
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* *data is malloc'ed, *size its length; a NUL byte follows the data (not counted). Gzip files are unpacked when
 * `gunzip` is set and the file starts with 1f 8b. limit: largest unpacked size accepted. */
hd_status hd_file_read(uint8_t **data, size_t *size, const char *path, size_t limit, int gunzip, hd_err *err);
hd_status hd_file_write(const char *path, const void *data, size_t size, hd_err *err);
#endif
