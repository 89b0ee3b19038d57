/* A board as docs/link.md describes it, byte in, bytes out: what the host's side of the link and the USB driver are tested against. It shares no code with
 * either side. A run takes some time of the caller's clock. Memories are sparse arrays of words, and a run computes a word that depends on
 * everything written before, so that a request lost or executed twice shows; or all of it is a device's, such as the instruction-level model. */
#ifndef LINK_BOARD_H
#define LINK_BOARD_H
#include <stddef.h>
#include <stdint.h>

#include "../../drivers/driver.h"

enum { BOARD_WORDS = 8192, BOARD_SPACES = 7, BOARD_REGISTERS = 32 };

typedef struct link_board {
    uint32_t memory[BOARD_SPACES][BOARD_WORDS]; /* spaces 0..6 */
    uint32_t capability[BOARD_REGISTERS];       /* what registers below CONTROL read */
    uint32_t cycles, digest;                    /* register CYCLES; depends on all runs so far */
    uint64_t runs, writes, refused;
    double busy_until, run_seconds, idle_seconds; /* idle: a frame without bytes for so long is forgotten */
    int running;
    /* When not NULL, what stands behind the link (lent; set after link_board_reset): memories, registers and runs are this device's, except STATUS. A
     * request that it refuses counts here; a run that it refuses never ends, as on a board. */
    const hd_driver *driver;
    hd_device *device;
    uint64_t refused_by_device;
    /* bytes to the host */
    uint8_t *out;
    size_t out_n, out_size;
    /* the frame being read */
    int state;
    uint8_t head[12];
    unsigned have, number, op, space, count, expected, run_number, skip;
    uint32_t address, word, crc;
    double last_byte;
} link_board;

void link_board_reset(link_board *b);
void link_board_free(link_board *b);
void link_board_byte(link_board *b, uint8_t byte, double now);
/* Lets time pass: a run may end. */
void link_board_time(link_board *b, double now);
/* What a run without a device leaves in CYCLES, from the digest of the writes before it. */
uint32_t link_board_result(uint32_t digest);
/* The digest after a write of one word. */
uint32_t link_board_mix(uint32_t digest, unsigned space, uint32_t at, uint32_t word);
#endif
