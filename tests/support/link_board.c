/* The board of docs/link.md in C. */
#include "link_board.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HUNT, HEADER, WORDS };
enum { SYNC = 0, WRITE = 1, READ = 2, RUN = 3 };
enum { OK = 0, NUMBER = 1, DATA = 2, BUSY = 3, REQUEST = 4 };
enum { REG_SPACE = 7, REG_STATUS = 17, REG_CYCLES = 18, REG_START = 29 };

/* CRC-32 of IEEE 802.3, a bit at a time. */
static uint32_t crc_byte(uint32_t crc, uint8_t byte) {
    for (int i = 0; i < 8; i++) crc = (crc >> 1) ^ (((crc ^ ((uint32_t)byte >> i)) & 1) ? 0xedb88320u : 0u);
    return crc;
}

uint32_t link_board_mix(uint32_t digest, unsigned space, uint32_t at, uint32_t word) {
    return (digest ^ word ^ at * 2654435761u ^ space << 28) * 2246822519u + 374761393u;
}

uint32_t link_board_result(uint32_t digest) { return digest * 3266489917u ^ 0x5bd1e995u; }

/* The digest is of what the memories hold, not of the order in which they were filled: words of a damaged frame are written again. */
static uint32_t digest_of(const link_board *b) {
    uint32_t d = (uint32_t)b->runs;
    for (unsigned s = 0; s < BOARD_SPACES; s++)
        for (uint32_t i = 0; i < BOARD_WORDS; i += 61) d = link_board_mix(d, s, i, b->memory[s][i]);
    return d;
}

void link_board_reset(link_board *b) {
    uint8_t *out = b->out;
    memset(b, 0, sizeof *b);
    free(out);
    b->expected = 1;
    b->run_seconds = 1e-3;
    b->idle_seconds = 0.02;
}

void link_board_free(link_board *b) {
    free(b->out);
    b->out = NULL;
    b->out_n = b->out_size = 0;
}

static void put(link_board *b, uint8_t byte) {
    if (b->out_n == b->out_size) {
        b->out_size = b->out_size ? 2 * b->out_size : 4096;
        uint8_t *more = realloc(b->out, b->out_size);
        if (!more) abort();
        b->out = more;
    }
    b->out[b->out_n++] = byte;
}

static void put_all(link_board *b, const uint8_t *bytes, unsigned n) {
    uint32_t crc = 0xffffffffu;
    for (unsigned i = 0; i < n; i++) {
        crc = crc_byte(crc, bytes[i]);
        put(b, bytes[i]);
    }
    for (int i = 0; i < 4; i++) put(b, (uint8_t)(~crc >> (8 * i)));
}

static uint32_t read_word(link_board *b, unsigned space, uint32_t at) {
    if (b->driver && (space != REG_SPACE || (at & 31) != REG_STATUS)) {
        uint32_t word = 0;
        if (space == REG_SPACE) at &= 31;
        b->refused_by_device += b->driver->read(b->device, (enum hd_space)space, at, &word, 1, NULL) != HD_OK;
        return word;
    }
    if (space != REG_SPACE) return b->memory[space % BOARD_SPACES][at % BOARD_WORDS];
    at &= 31;
    return at == REG_STATUS ? (b->running ? 1u : 2u) : at == REG_CYCLES ? b->cycles : b->capability[at];
}

static void write_word(link_board *b, unsigned space, uint32_t at, uint32_t word) {
    b->writes++;
    if (b->driver) b->refused_by_device += b->driver->write(b->device, (enum hd_space)space, at, &word, 1, NULL) != HD_OK;
    else b->memory[space][at % BOARD_WORDS] = word;
}

static void answer(link_board *b, unsigned status, unsigned number, unsigned op, unsigned count, uint32_t address) {
    uint8_t h[8] = {(uint8_t)(status | number << 4), (uint8_t)count, (uint8_t)(count >> 8), (uint8_t)op,
                    (uint8_t)address, (uint8_t)(address >> 8), (uint8_t)(address >> 16), (uint8_t)(address >> 24)};
    put(b, 0x5a);
    put_all(b, h, 8);
}

static void read_reply(link_board *b) {
    uint8_t *words = malloc(4 * (size_t)b->count);
    if (!words) abort();
    for (unsigned i = 0; i < b->count; i++) {
        uint32_t w = read_word(b, b->space, b->address + i);
        for (int k = 0; k < 4; k++) words[4 * i + (unsigned)k] = (uint8_t)(w >> (8 * k));
    }
    answer(b, OK, b->number, READ, b->count, 0);
    put_all(b, words, 4 * b->count);
    free(words);
}

/* The end of a run: its results. 0 when it has none. */
static int finish_run(link_board *b) {
    if (!b->driver) {
        b->cycles = link_board_result(digest_of(b));
        return 1;
    }
    hd_status s = b->driver->run(b->device, 0, NULL);
    if (s) b->refused_by_device++, b->busy_until = INFINITY;
    else b->cycles = read_word(b, REG_SPACE, REG_CYCLES);
    return !s;
}

void link_board_time(link_board *b, double now) {
    if (b->running && now >= b->busy_until && finish_run(b)) {
        b->running = 0;
        answer(b, OK, b->run_number, RUN, 0, b->cycles);
    }
    if (b->state != HUNT && now - b->last_byte > b->idle_seconds) b->state = HUNT;
}

static void decide(link_board *b, double now) {
    unsigned status = OK;
    b->state = HUNT;
    if (b->op == SYNC) {
        b->running = 0;
        b->expected = 1;
        const uint32_t reset = 0;
        if (b->driver) b->driver->write(b->device, (enum hd_space)REG_SPACE, REG_START, &reset, 1, NULL);
        answer(b, OK, b->number, SYNC, 0, b->address);
        return;
    }
    int known = b->op == RUN || ((b->op == WRITE || b->op == READ) && b->count && b->space < 8);
    if (b->number != b->expected) status = NUMBER;
    else if (!known) status = REQUEST;
    else if (b->running && !(b->op == READ && b->space == REG_SPACE)) status = BUSY;
    b->refused += status != OK;
    if (b->op == WRITE && b->count) {
        b->state = WORDS;
        b->skip = status != OK;
        b->have = 0;
        b->crc = 0xffffffffu;
    }
    if (status != OK) {
        answer(b, status, b->expected, b->op, 0, 0);
        return;
    }
    if (b->op == WRITE) return;
    b->expected = (b->expected + 1) & 15;
    if (b->op == READ) {
        read_reply(b);
    } else {
        b->runs++;
        b->running = 1;
        b->run_number = b->number;
        b->busy_until = now + b->run_seconds;
    }
}

static void word_byte(link_board *b, uint8_t byte) {
    unsigned data = 4 * b->count;
    if (b->have < data) {
        b->crc = crc_byte(b->crc, byte);
        b->word = b->word >> 8 | (uint32_t)byte << 24;
        if (b->have % 4 == 3 && !b->skip && (b->space < BOARD_SPACES || (b->driver && b->space == REG_SPACE))) write_word(b, b->space, b->address + b->have / 4, b->word);
    } else {
        b->word = b->word >> 8 | (uint32_t)byte << 24;
    }
    if (++b->have < data + 4) return;
    b->state = HUNT;
    if (b->skip) return;
    int sound = b->word == ~b->crc;
    answer(b, sound ? OK : DATA, b->expected, WRITE, 0, 0);
    if (sound) b->expected = (b->expected + 1) & 15;
}

void link_board_byte(link_board *b, uint8_t byte, double now) {
    link_board_time(b, now);
    b->last_byte = now;
    if (b->state == WORDS) {
        word_byte(b, byte);
    } else if (b->state == HUNT) {
        if (byte == 0xa5) b->state = HEADER, b->have = 0;
    } else {
        b->head[b->have++] = byte;
        if (b->have < 12) return;
        uint32_t crc = 0xffffffffu, sent = 0;
        for (int i = 0; i < 8; i++) crc = crc_byte(crc, b->head[i]);
        for (int i = 0; i < 4; i++) sent |= (uint32_t)b->head[8 + i] << (8 * i);
        if (sent != ~crc) {
            b->state = HUNT;
            return;
        }
        b->op = b->head[0] & 15;
        b->number = b->head[0] >> 4;
        b->count = (unsigned)b->head[1] | (unsigned)b->head[2] << 8;
        b->space = b->head[3];
        b->address = (uint32_t)b->head[4] | (uint32_t)b->head[5] << 8 | (uint32_t)b->head[6] << 16 | (uint32_t)b->head[7] << 24;
        decide(b, now);
    }
}
