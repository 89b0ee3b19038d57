/* External tools: where they are, where their results are kept, and how they run. */
#ifndef HD_TOOLS_H
#define HD_TOOLS_H
#include <stddef.h>
#include <stdint.h>

#include "../sw/core/err.h"
#include "../sw/core/progress.h"

/* A path by a printf format into out (n bytes); HD_RANGE when it is longer. */
hd_status hd_tool_path(char *out, size_t n, hd_err *err, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The path of what `cmake --install` put beside this program ("share/heddle": from the folder above the program's own on), into out (n bytes); 0 when there is none. */
int hd_tool_installed(char *out, size_t n, const char *what);
/* The folder with hw, sim, boards and sw/contract (HEDDLE_SOURCE, else share/heddle of an installed program, else where it was built), lent. */
const char *hd_tool_source(void);
/* Link `name` in folder dir to `target`, a file or folder that exists. Scripts for make and yosys name their files through such links, as in source/hw: those
 * programs would read spaces, '#' and '$' of the real path as their own. */
hd_status hd_tool_link(const char *dir, const char *name, const char *target, hd_err *err);
/* The cache folder (HEDDLE_CACHE, XDG_CACHE_HOME/heddle, HOME/.cache/heddle), made when it is missing. */
hd_status hd_tool_cache(char *out, size_t n, hd_err *err);
/* The program `name` in PATH, else where `./bootstrap ecp5` puts programs (ecp5-tools/bin of the cache); 0 when there is none. */
int hd_tool_find(const char *name, char *out, size_t n);

/* FNV-1a of 64 bits over bytes, a file, and what tells one version of a program from another. Start from HD_TOOL_HASH. */
#define HD_TOOL_HASH 0xcbf29ce484222325ull
void hd_tool_hash(uint64_t *h, const void *data, size_t n);
hd_status hd_tool_hash_file(uint64_t *h, const char *path, hd_err *err);
void hd_tool_hash_program(uint64_t *h, const char *name);

/* Runs a command in folder cwd with its output appended to `log`; 0 when it succeeded, -1 interrupted (the command is ended), else its failure.
 * The command ends with its caller, however that ends.
 * progress may be NULL; expected: seconds it will take, for the progress line. */
int hd_tool_run(const char *const argv[], const char *cwd, const char *log, hd_progress *progress, double expected);
void hd_tool_remove(const char *dir);

/* A new folder "RESULT.build-..." to make `result` in, path into dir (n bytes). *lock is held until hd_tool_work_end, or its maker's death: folders beside it that
 * nobody holds are what killed makers left, and are removed. */
hd_status hd_tool_work_begin(char *dir, size_t n, int *lock, const char *result, hd_err *err);
/* Removes the folder, if it still has that name, and gives back the lock. */
void hd_tool_work_end(const char *dir, int lock);
#endif
