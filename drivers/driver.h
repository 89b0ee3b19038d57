/* The contract of a device: ref (instruction-level model), sim (Verilated RTL), usb (a board), sysc (a SystemC platform). One table of functions each;
 * the runtime (sw/runtime) drives all of them alike, by memory spaces, registers and RUN (sw/contract/regs.def). */
#ifndef HD_DRIVER_H
#define HD_DRIVER_H
#include <stddef.h>
#include <stdint.h>

#include "../compiler/lower/program.h"
#include "../sw/core/err.h"

typedef struct hd_device hd_device;

typedef struct hd_device_options {
    const char *trace;    /* sim: FST file, NULL = none */
    uint64_t stall_seed;  /* sim: random stalls on fetch, array and descriptor streams when not 0 */
    int structural;       /* sim: the synthesised array view instead of the fast one */
    int quiet;            /* no progress while a model is built */
    const char *where;    /* usb: which board (drivers/usb_find.h), NULL = the only one; "fd:N" = an open descriptor of its node */
    int usb_fd;           /* usb: an open descriptor of its node instead, 0 = none */
    unsigned bit_rate;    /* usb: of a serial bridge, 0 = the contract's rates are tried */
    unsigned usb_depth, usb_transfer_bytes, usb_in_flight; /* usb: transfers under way each direction, bytes of one and of all together; 0 = as in drivers/usb_pipe.h */
    unsigned run_limit_ms; /* usb: a run that takes longer failed, 0 = ten minutes */
    const struct hd_sysc_options *sysc; /* sysc: link and clock (drivers/sysc.h), NULL = no link, 48 MHz, the RTL */
} hd_device_options;

typedef struct hd_driver {
    const char *name, *about;
    /* Opens a device of geometry g (a fixed device compares and fails with HD_MISMATCH, naming both). */
    hd_status (*open)(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err);
    void (*close)(hd_device *d); /* never fails; d may be NULL */
    /* n 32-bit words to / from `space`, starting at host word address `at`. */
    hd_status (*write)(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err);
    hd_status (*read)(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err);
    /* Runs the program in memory to END. max_cycles 0 = no limit; beyond it HD_DEVICE. */
    hd_status (*run)(hd_device *d, uint64_t max_cycles, hd_err *err);
    /* 0 with the reason in `why` (n bytes) when this machine cannot use it. */
    int (*available)(char *why, size_t n);
} hd_driver;

extern const hd_driver hd_driver_ref, hd_driver_sim, hd_driver_usb, hd_driver_sysc;
/* NULL-terminated list of all, and one by name (NULL = none). "usb:X" is usb with *where X (NULL for the others; where may be NULL). */
extern const hd_driver *const hd_drivers[];
const hd_driver *hd_driver_find(const char *name, const char **where);
#endif
