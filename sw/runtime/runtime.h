/* Loading a program into a device and running inferences. */
#ifndef HD_RUNTIME_H
#define HD_RUNTIME_H
#include "../../drivers/driver.h"

typedef struct hd_session hd_session;

/* Opens the device with the program's geometry, compares capability registers, writes all memories. p lent. */
hd_status hd_session_open(hd_session **out, const hd_program *p, const hd_driver *driver, const hd_device_options *o, hd_err *err);
void hd_session_close(hd_session *s);
/* Another program into the same device, all of its memories; it is lent from now on. */
hd_status hd_session_load(hd_session *s, const hd_program *p, hd_err *err);
/* One inference: codes [h][w][c] in, codes [h][w][c] out. */
hd_status hd_session_run(hd_session *s, const int8_t *input, int8_t *output, hd_err *err);
/* After a run: total cycles and the performance records, HD_PERF_WORDS per descriptor. */
hd_status hd_session_cycles(hd_session *s, uint64_t *cycles, hd_err *err);
hd_status hd_session_perf(hd_session *s, uint32_t *records, hd_err *err);
/* The session's device, lent: what only its driver can tell. */
hd_device *hd_session_device(hd_session *s);
/* After a run: any activation memory, for comparing whole memories between devices. */
hd_status hd_session_memory(hd_session *s, uint32_t *words, size_t n, hd_err *err);
#endif
