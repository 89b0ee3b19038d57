/* The C interface of a Verilated accelerator. Each geometry is its own shared object (drivers/sim_build.c makes it on first
 * use) that exports one symbol, `hd_rtl_api_get`; C++ and Verilator stay behind it. */
#ifndef HD_RTL_API_H
#define HD_RTL_API_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HD_RTL_API_VERSION 3

typedef struct hd_rtl hd_rtl;

typedef struct hd_rtl_api {
    uint32_t version; /* HD_RTL_API_VERSION */
    /* A model after reset; trace: FST file or NULL (a model built without tracing ignores it). NULL without memory. */
    hd_rtl *(*open)(const char *trace);
    void (*close)(hd_rtl *m);
    /* One clock cycle a word; words of external memory as many as its controller takes. */
    void (*write)(hd_rtl *m, unsigned space, uint32_t at, const uint32_t *words, size_t n);
    void (*read)(hd_rtl *m, unsigned space, uint32_t at, uint32_t *words, size_t n);
    /* Starts the program and clocks until done. stall_seed != 0: random stalls on fetch, array and descriptor load. *stop is looked at now and
     * then. Returns 0 done, 1 after max_cycles (0 = no limit), 2 stopped. */
    int (*run)(hd_rtl *m, uint64_t max_cycles, uint64_t stall_seed, const volatile int *stop);
    /* The same in parts: starts the program; clocks up to `cycles`, fewer once it is done, and returns how many (*busy: it goes on); ends it by a reset. */
    void (*start)(hd_rtl *m);
    uint64_t (*step)(hd_rtl *m, uint64_t cycles, int *busy);
    void (*stop)(hd_rtl *m);
    /* The first timing rule of the external memory that the controller broke, and the clock since power-up; NULL: none. */
    const char *(*fault)(hd_rtl *m, uint64_t *at);
} hd_rtl_api;

typedef const hd_rtl_api *(*hd_rtl_api_get_fn)(void);

#ifdef __cplusplus
}
#endif
#endif
