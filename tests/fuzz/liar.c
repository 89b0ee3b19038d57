/* What becomes of a board's answers on the way. */
#include "liar.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz.h"

enum { FRAME_HEAD = 13, MOST_PENDING = 1 << 16 };

liar *liar_new(script *s) {
    liar *l = calloc(1, sizeof *l);
    fuzz_expect(l && (l->pending = malloc(MOST_PENDING)), "out of memory");
    link_board_reset(&l->board);
    for (uint32_t i = 0; i < BOARD_REGISTERS; i++) l->board.capability[i] = i * 0x01010101u;
    l->script = s;
    return l;
}

void liar_free(liar *l) {
    link_board_free(&l->board);
    free(l->pending);
    free(l);
}

static void insert(liar *l, size_t at, const uint8_t *bytes, size_t n) {
    if (!n || l->n + n > MOST_PENDING) return;
    memmove(l->pending + at + n, l->pending + at, l->n - at);
    memcpy(l->pending + at, bytes, n);
    l->n += n;
}

static void drop(liar *l, size_t n) {
    if (!n) return;
    l->n -= n;
    memmove(l->pending, l->pending + n, l->n);
}

void liar_put(liar *l, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        l->time += 1e-6;
        link_board_byte(&l->board, bytes[i], l->time);
    }
    insert(l, l->n, l->board.out, l->board.out_n);
    l->board.out_n = 0;
}

static void put32(uint8_t *b, uint32_t v) {
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}

/* A reply of the script's own, with the right checksums. */
static void forge(liar *l) {
    uint8_t frame[FRAME_HEAD + 4 * 64 + 4] = {0x5a};
    for (int i = 1; i < 9; i++) frame[i] = script_byte(l->script);
    put32(frame + 9, (uint32_t)crc32(0, frame + 1, 8));
    size_t n = FRAME_HEAD, words = frame[2] & 63u;
    if ((frame[1] & 15) == 0 && frame[4] == 2 && words) {
        frame[3] = 0;
        frame[2] = (uint8_t)words;
        put32(frame + 9, (uint32_t)crc32(0, frame + 1, 8));
        for (size_t i = 0; i < 4 * words; i++) frame[n + i] = script_byte(l->script);
        put32(frame + n + 4 * words, (uint32_t)crc32(0, frame + n, (uInt)(4 * words)));
        n += 4 * words + 4;
    }
    insert(l, 0, frame, n);
}

/* The first frame's header, with one byte changed and the checksum right again. */
static void bend(liar *l) {
    unsigned at = script_byte(l->script) & 7u, with = script_byte(l->script);
    for (size_t i = 0; i + FRAME_HEAD <= l->n; i++) {
        if (l->pending[i] != 0x5a) continue;
        l->pending[i + 1 + at] = (uint8_t)(l->pending[i + 1 + at] ^ with);
        put32(l->pending + i + 9, (uint32_t)crc32(0, l->pending + i + 1, 8));
        return;
    }
}

size_t liar_get(liar *l, uint8_t *bytes, size_t size, double seconds) {
    uint8_t junk[64];
    size_t most = size, n;
    l->time += 1e-4;
    link_board_time(&l->board, l->time);
    insert(l, l->n, l->board.out, l->board.out_n);
    l->board.out_n = 0;
    switch (script_byte(l->script) & 15) {
    case 6: most = 1 + (size_t)script_byte(l->script); break;
    case 7: drop(l, l->n); break;
    case 8:
        if (l->n) n = script_short(l->script) % l->n, l->pending[n] = (uint8_t)(l->pending[n] ^ script_byte(l->script));
        break;
    case 9:
        n = script_byte(l->script) % sizeof junk;
        for (size_t i = 0; i < n; i++) junk[i] = script_byte(l->script);
        insert(l, l->n ? script_byte(l->script) % l->n : 0, junk, n);
        break;
    case 10: forge(l); break;
    case 11: n = l->n < sizeof junk ? l->n : sizeof junk;
        memcpy(junk, l->pending, n);
        insert(l, l->n, junk, n);
        break;
    case 12: bend(l); break;
    case 13: l->faults++; return 0;
    case 14: l->gone = script_byte(l->script) == 0xff; break;
    case 15: most = 0; break;
    default: break;
    }
    if (l->babbles && l->script->at >= l->script->size) {
        memset(junk, 0x5a, sizeof junk);
        insert(l, l->n, junk, sizeof junk);
    }
    n = l->n < most ? l->n : most;
    if (n > size) n = size;
    if (n) memcpy(bytes, l->pending, n);
    drop(l, n);
    l->time += n ? 1e-6 * (double)n : seconds;
    return n;
}
