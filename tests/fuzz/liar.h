/* A board that lies: answers of tests/support/link_board.c, changed as the fuzzer's bytes say. And these bytes as a script, read front to back. */
#ifndef LIAR_H
#define LIAR_H
#include "../support/link_board.h"

typedef struct script {
    const uint8_t *data; /* lent */
    size_t size, at;
} script;

/* The next byte, 0 after the end. */
static inline uint8_t script_byte(script *s) { return s->at < s->size ? s->data[s->at++] : 0; }
static inline unsigned script_short(script *s) {
    unsigned low = script_byte(s);
    return low | (unsigned)script_byte(s) << 8;
}

typedef struct liar {
    link_board board;
    script *script;      /* lent */
    double time;         /* seconds; moves on with every call */
    int babbles;         /* when the script is over, bytes without end come from the board */
    uint8_t *pending;    /* on its way to the host */
    size_t n;
    int gone, faults;    /* since they were looked at */
} liar;

liar *liar_new(script *s);
void liar_free(liar *l);
/* Bytes of the host. */
void liar_put(liar *l, const uint8_t *bytes, size_t n);
/* Up to `size` bytes to the host, after up to `seconds`; 0 when none came. */
size_t liar_get(liar *l, uint8_t *bytes, size_t size, double seconds);
#endif
