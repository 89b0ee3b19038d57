/* Files that several processes share: folders, locks that end with their holder, JSON that is written whole or not at all. */
#ifndef HD_FILES_H
#define HD_FILES_H
#include <cjson/cJSON.h>

#include "../core/err.h"

hd_status hd_folder_make(const char *path, hd_err *err); /* and its parents */
/* Waits for path.lock and takes it. A process that dies gives its locks back. HD_INTERRUPTED while waiting. */
hd_status hd_lock_take(int *lock, const char *path, hd_err *err);
void hd_lock_give(int lock, const char *path); /* lock -1: nothing */
/* Writes o (temporary name, fsync, rename) and frees it. */
hd_status hd_json_write(cJSON *o, const char *path, hd_err *err);
/* An object from a file; HD_FORMAT when it holds none. */
hd_status hd_json_read(cJSON **o, const char *path, hd_err *err);
/* A content hash of the running program. */
hd_status hd_program_hash(unsigned long long *hash, hd_err *err);
#endif
