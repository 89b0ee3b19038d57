/* Inside of the runtime: tensors to and from activation words (docs/formats.md section 3). */
#ifndef HD_PACK_H
#define HD_PACK_H
#include "../../compiler/lower/program.h"

/* Four bytes, lane 0 lowest. */
static inline uint32_t hd_pack_word(const void *bytes) {
    const uint8_t *b = bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
/* Host words of the whole port. */
size_t hd_port_words(const hd_port *p, uint32_t lanes);
/* input [h][w][c] -> hd_port_words words; expanded into windows when the port says so. */
void hd_pack_input(uint32_t *words, const hd_port *p, uint32_t lanes, const int8_t *input);
void hd_unpack_output(int8_t *output, const hd_port *p, uint32_t lanes, const uint32_t *words);
#endif
