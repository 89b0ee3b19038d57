/* One program on the Verilated RTL, on the instruction-level model and on the integer executor: the same bytes, the predicted cycles. */
#ifndef HD_VERIFY_H
#define HD_VERIFY_H
#include "../../compiler/compress/model.h"
#include "../core/idx.h"
#include "measure.h"

/* Runs the first `count` images (u8, divided by 255, or floats) through p, which is m lowered. HD_MISMATCH at the first byte or cycle that differs, or when a
 * layer's cycles are not the predicted ones. *cost: of the RTL, owned by the caller, p lent for its life; NULL after a failure before the counters
 * were read. *compared: images begun. */
hd_status hd_verify_rtl(hd_cost **cost, uint32_t *compared, const hd_program *p, const hd_model *m, const hd_idx *images, uint32_t count, hd_err *err);
#endif
