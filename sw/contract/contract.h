/* The contract between host and hardware as C constants: one definition, in the .def files beside this header.
 * HD_OP_*, HD_SPACE_*, HD_REG_*, HD_PERF_*, HD_GRID_*, ... and accessors for descriptor fields. */
#ifndef HD_CONTRACT_H
#define HD_CONTRACT_H
#include <stdint.h>

enum {
#define HD_CONST(n, v, d) HD_##n = (v),
#include "regs.def"
#undef HD_CONST
};
enum hd_opcode {
#define HD_OP(n, v, d) HD_OP_##n = (v),
#include "ops.def"
#undef HD_OP
};
enum hd_space {
#define HD_SPACE(n, v, d) HD_SPACE_##n = (v),
#include "regs.def"
#undef HD_SPACE
};
enum hd_reg {
#define HD_REG(n, v, a, d) HD_REG_##n = (v),
#include "regs.def"
#undef HD_REG
};
enum hd_perf {
#define HD_PERF(n, v, d) HD_PERF_##n = (v),
#include "regs.def"
#undef HD_PERF
};
enum hd_segment {
#define HD_SEGMENT(n, v, d) HD_SEGMENT_##n = (v),
#include "regs.def"
#undef HD_SEGMENT
};
enum hd_code {
#define HD_CODE(n, v, u, p, l, d) HD_CODE_##n = (v),
#include "regs.def"
#undef HD_CODE
    HD_CODES
};
enum hd_grid {
#define HD_GRID(n, v, name, least, most, d) HD_GRID_##n = (v),
#include "formats.def"
#undef HD_GRID
};
enum {
#define HD_GRID(n, v, name, least, most, d) +1
    HD_GRIDS = 0
#include "formats.def"
#undef HD_GRID
};
enum hd_granularity {
#define HD_GRANULARITY(n, v, d) HD_GRANULARITY_##n = (v),
#include "formats.def"
#undef HD_GRANULARITY
};
enum hd_stage_kind {
#define HD_STAGE_KIND(n, v, d) HD_STAGE_##n = (v),
#include "formats.def"
#undef HD_STAGE_KIND
};
enum {
#define HD_FILE(n, m, v, d) HD_##n##_MAGIC = (m), HD_##n##_VERSION = (v),
#include "formats.def"
#undef HD_FILE
};

enum hd_link_op {
#define HD_LINK_OP(n, v, d) HD_LINK_OP_##n = (v),
#include "link.def"
#undef HD_LINK_OP
};
enum hd_link_status {
#define HD_LINK_STATUS(n, v, d) HD_LINK_STATUS_##n = (v),
#include "link.def"
#undef HD_LINK_STATUS
};
enum {
#define HD_LINK_CONST(n, v, d) HD_LINK_##n = (v),
#include "link.def"
#undef HD_LINK_CONST
};

enum {
#define HD_USB_CONST(n, v, d) HD_USB_##n = (v),
#include "usb.def"
#undef HD_USB_CONST
};
static const uint32_t hd_bit_rates[] __attribute__((unused)) = {
#define HD_BIT_RATE(bits_per_second) bits_per_second,
#include "usb.def"
#undef HD_BIT_RATE
};
enum { HD_BIT_RATES = sizeof hd_bit_rates / sizeof *hd_bit_rates };

/* A bit field of the contract: word within the element, position, width, and whether it sign-extends. */
typedef struct hd_field {
    uint8_t word, lsb, width, is_signed;
} hd_field;

#define HD_FIELD(n, w, l, b, s, d) static const hd_field HD_F_##n __attribute__((unused)) = {w, l, b, s};
#include "ops.def"
#undef HD_FIELD
#define HD_INDEX_FIELD(n, l, b, d) static const hd_field HD_I_##n __attribute__((unused)) = {0, l, b, 0};
#include "regs.def"
#undef HD_INDEX_FIELD
#define HD_SEGMENT_FIELD(n, l, b, d) static const hd_field HD_S_##n __attribute__((unused)) = {0, l, b, 0};
#include "regs.def"
#undef HD_SEGMENT_FIELD
#define HD_PARAM_FIELD(n, w, l, b, d) static const hd_field HD_P_##n __attribute__((unused)) = {w, l, b, 0};
#include "regs.def"
#undef HD_PARAM_FIELD

/* Of a code of the external stream: the unit of hw/decode that makes it (a bit of DECODE), the planes of its weights, the words a LOAD segment brings. */
static inline uint32_t hd_code_unit(int code) {
    static const uint8_t unit[HD_CODES] = {
#define HD_CODE(n, v, u, p, l, d) [v] = (u),
#include "regs.def"
#undef HD_CODE
    };
    return unit[code];
}
static inline uint32_t hd_code_planes(int code) {
    static const uint8_t planes[HD_CODES] = {
#define HD_CODE(n, v, u, p, l, d) [v] = (p),
#include "regs.def"
#undef HD_CODE
    };
    return planes[code];
}
static inline uint32_t hd_code_loads(int code) {
    static const uint16_t words[HD_CODES] = {
#define HD_CODE(n, v, u, p, l, d) [v] = (l),
#include "regs.def"
#undef HD_CODE
    };
    return words[code];
}

static inline uint32_t hd_field_mask(hd_field f) {
    return f.width == 32 ? 0xffffffffu : (1u << f.width) - 1u;
}
/* Value of field f in the element `words`; sign-extended where the field is signed. */
static inline int64_t hd_field_get(const uint32_t *words, hd_field f) {
    uint32_t v = (words[f.word] >> f.lsb) & hd_field_mask(f);
    if (f.is_signed && f.width < 32 && (v >> (f.width - 1)) & 1u) return (int64_t)v - ((int64_t)1 << f.width);
    return f.is_signed ? (int64_t)(int32_t)v : (int64_t)v;
}
/* Stores v (modulo 2^width) into field f of the element `words`. */
static inline void hd_field_set(uint32_t *words, hd_field f, int64_t v) {
    uint32_t m = hd_field_mask(f);
    words[f.word] = (words[f.word] & ~(m << f.lsb)) | (((uint32_t)v & m) << f.lsb);
}
#endif
