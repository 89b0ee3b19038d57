/* Exact cycle counts from the timing rules of docs/hardware.md: what the RTL will count, without running it. */
#ifndef HD_REF_CYCLES_H
#define HD_REF_CYCLES_H
#include "../compiler/lower/program.h"

/* All counters (enum hd_perf) of one CONV or MAXPOOL descriptor; INJECTED is 0. `entry` is the layer's part of the index memory:
 * STREAM_LAST - STREAM_FIRST + 1 entries, the last with LAST and FINAL (NULL for MAXPOOL). The caller has checked that KH, KW, NCB, OUT_W and
 * POSITIONS are not 0. Counters are 64 bits wide; the registers show the low 32. */
hd_status hd_ref_cycles(uint64_t perf[HD_PERF_WORDS], const hd_geometry *g, const uint32_t *desc, const uint16_t *entry, hd_err *err);
/* Cycles of a run beyond its layers: start and END. */
uint64_t hd_ref_cycles_overhead(void);
/* From a LAST step's issue to its first column on the drain. */
uint32_t hd_ref_latency(const hd_geometry *g);
#endif
