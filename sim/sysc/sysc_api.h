/* The C interface of the SystemC platform (sim/sysc/platform.cpp): a host, a link and an accelerator, TLM-2.0, loosely timed. A module beside heddle that is loaded on
 * demand and exports `hd_sysc_api_get`; SystemC and C++ stay behind it. */
#ifndef HD_SYSC_API_H
#define HD_SYSC_API_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HD_SYSC_API_VERSION = 1 };

/* What is between host and board. */
enum hd_sysc_link { HD_SYSC_NONE = 0, HD_SYSC_UART = 1, HD_SYSC_FULL_SPEED = 2, HD_SYSC_HIGH_SPEED = 3 };

/* The accelerator: the Verilated RTL or the exact model. Calls return 0, or a status that the platform hands back. */
typedef struct hd_sysc_accelerator {
    void *self;
    int (*write)(void *self, unsigned space, uint32_t at, const uint32_t *words, size_t n);
    int (*read)(void *self, unsigned space, uint32_t at, uint32_t *words, size_t n);
    int (*start)(void *self); /* the program in memory */
    /* Up to `cycles` clock cycles, fewer once the program has ended. *clocked: how many; *busy: it goes on. */
    int (*step)(void *self, uint64_t cycles, uint64_t *clocked, int *busy);
} hd_sysc_accelerator;

typedef struct hd_sysc_config {
    double clock_hz;            /* of the board */
    enum hd_sysc_link link;
    double bit_rate;            /* UART, bit/s */
    double host_seconds;        /* that the host takes for each answer that it waits for */
    uint64_t quantum;           /* cycles that the accelerator runs ahead of the rest, 10 at least */
    unsigned external_clocks;   /* clocks of a word that the host writes to or reads from external memory, 0 without it */
} hd_sysc_config;

typedef struct hd_sysc hd_sysc;

typedef struct hd_sysc_api {
    uint32_t version; /* HD_SYSC_API_VERSION */
    /* Both are copied; accelerator.self is lent. NULL without memory. Platforms do not share simulated time; one thread at a time for all of them. */
    hd_sysc *(*open)(const hd_sysc_config *config, const hd_sysc_accelerator *accelerator);
    void (*close)(hd_sysc *p);
    int (*write)(hd_sysc *p, unsigned space, uint32_t at, const uint32_t *words, size_t n);
    int (*read)(hd_sysc *p, unsigned space, uint32_t at, uint32_t *words, size_t n);
    /* From the request to its answer. After max_cycles (0 = no limit) the status is that of the accelerator's step, or -1. */
    int (*run)(hd_sysc *p, uint64_t max_cycles);
    double (*now)(hd_sysc *p); /* simulated seconds since open */
} hd_sysc_api;

typedef const hd_sysc_api *(*hd_sysc_api_get_fn)(void);

#ifdef __cplusplus
}
#endif
#endif
