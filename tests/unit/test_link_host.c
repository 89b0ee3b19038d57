/* drivers/link.c against the board of tests/support/link_board.c, over pipes that damage, lose, double and delay bytes, in the pipe's own time.
 * HD_LINK_SESSIONS: how many sessions with faults (600); HD_LINK_SEED: the first seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "../../drivers/link.h"
#include "../../sw/core/rng.h"
#include "../support/link_board.h"

typedef struct lossy {
    hd_pipe pipe;
    link_board board;
    hd_rng rng;
    double time;                                  /* seconds */
    double damage, lose, twice, hold;             /* chances a byte; of a pause before it */
    double silent_from, silent_to;                /* the board's bytes are lost between these times */
    double late;                                  /* seconds that the board's bytes travel beyond what the pipe says */
    uint8_t *to_host;
    double *due;                                  /* of each byte to the host */
    size_t n, at, size;
    double ready;                                 /* nothing comes before this time */
    uint64_t put_bytes, board_bytes, lost_byte;   /* lost_byte: of the board's, counted from 1; 0: none */
    int unplugged;
    double unplug_at;
} lossy;

static int chance(lossy *l, double p) { return p > 0 && (double)hd_rng_float(&l->rng) < p; }

static int lose_or_damage(lossy *l, uint8_t *b) {
    if (chance(l, l->lose)) return 1;
    if (chance(l, l->damage)) *b = (uint8_t)(*b ^ (1u << (hd_rng_u32(&l->rng) & 7)));
    return 0;
}

static void collect_board(lossy *l) {
    for (size_t i = 0; i < l->board.out_n; i++) {
        uint8_t b = l->board.out[i];
        int lost = lose_or_damage(l, &b) || ++l->board_bytes == l->lost_byte || (l->time >= l->silent_from && l->time < l->silent_to);
        if (lost) continue;
        if (l->n + 2 > l->size) {
            l->size = l->size ? 2 * l->size : 65536;
            l->to_host = realloc(l->to_host, l->size);
            l->due = realloc(l->due, l->size * sizeof *l->due);
            assert_non_null(l->to_host);
            assert_non_null(l->due);
        }
        for (int copies = 1 + chance(l, l->twice); copies--; l->n++) {
            l->to_host[l->n] = b;
            l->due[l->n] = l->time + l->late;
        }
    }
    if (l->board.out_n && chance(l, l->hold)) l->ready = l->time + 0.2 * (double)hd_rng_float(&l->rng);
    l->board.out_n = 0;
}

static hd_status gone(lossy *l, hd_err *err) {
    if (l->time >= l->unplug_at) l->unplugged = 1;
    return l->unplugged ? hd_fail(err, HD_DEVICE, "test pipe: unplugged") : HD_OK;
}

static hd_status put(hd_pipe *p, const void *bytes, size_t n, hd_err *err) {
    lossy *l = (lossy *)p;
    for (size_t i = 0; i < n; i++) {
        uint8_t b = ((const uint8_t *)bytes)[i];
        l->time += 1 / p->bytes_per_second;
        int lost = lose_or_damage(l, &b);
        if (!lost) link_board_byte(&l->board, b, l->time);
        if (!lost && chance(l, l->twice)) link_board_byte(&l->board, b, l->time);
    }
    l->put_bytes += n;
    collect_board(l);
    return gone(l, err);
}

static hd_status flush(hd_pipe *p, hd_err *err) { return gone((lossy *)p, err); }

static hd_status get(hd_pipe *p, void *bytes, size_t size, size_t *got, unsigned timeout_ms, hd_err *err) {
    lossy *l = (lossy *)p;
    double until = l->time + 1e-3 * timeout_ms;
    *got = 0;
    while (!*got && l->time < until && !gone(l, err)) {
        if (l->board.running && l->board.busy_until <= until && l->at == l->n) l->time = l->board.busy_until;
        link_board_time(&l->board, l->time);
        collect_board(l);
        if (l->ready > l->time) {
            l->time = l->ready < until ? l->ready : until;
        } else if (l->at < l->n && l->due[l->at] > l->time) {
            l->time = l->due[l->at] < until ? l->due[l->at] : until;
        } else if (l->at < l->n) {
            while (l->at + *got < l->n && *got < size && l->due[l->at + *got] <= l->time) ++*got;
            /* In pieces of any size. */
            if (*got > 1) *got = 1 + hd_rng_u32(&l->rng) % *got;
            memcpy(bytes, l->to_host + l->at, *got);
            l->at += *got;
            if (l->at == l->n) l->at = l->n = 0;
        } else if (!l->board.running || l->board.busy_until > until) {
            l->time = until;
        }
    }
    return gone(l, err);
}

static hd_status purge(hd_pipe *p, hd_err *err) {
    lossy *l = (lossy *)p;
    l->at = l->n = 0;
    return gone(l, err);
}

static double pipe_time(hd_pipe *p) { return ((lossy *)p)->time; }
static void close_pipe(hd_pipe *p) { ((lossy *)p)->put_bytes |= 1ull << 63; } /* the test frees it */

static lossy *new_pipe(uint64_t seed, int can_wait) {
    lossy *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->pipe = (hd_pipe){put, flush, get, purge, close_pipe, pipe_time, "test pipe", can_wait, 1.2e6, 2, 2000, 0, NULL, 0};
    link_board_reset(&l->board);
    hd_rng_seed(&l->rng, seed, 0);
    l->silent_from = l->silent_to = l->unplug_at = 1e300;
    return l;
}

static void free_pipe(lossy *l) {
    link_board_free(&l->board);
    free(l->to_host);
    free(l->due);
    free(l);
}

static uint32_t *mirror[BOARD_SPACES];

static void random_words(hd_rng *r, uint32_t *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        w[i] = (uint32_t)hd_rng_u32(r);
        /* Bytes that look like frames. */
        if (w[i] % 7 == 0) w[i] = 0x5aa55aa5u;
    }
}

/* Random writes, reads and runs, each compared with a mirror of the memories. Returns how many operations failed with HD_DEVICE. */
static unsigned session(lossy *l, hd_link *link, unsigned operations) {
    static uint32_t words[BOARD_WORDS];
    unsigned failed = 0;
    hd_err err = {0};
    for (unsigned o = 0; o < operations; o++) {
        unsigned space = (unsigned)(hd_rng_u32(&l->rng) % BOARD_SPACES), kind = (unsigned)(hd_rng_u32(&l->rng) % 8);
        uint32_t at = (uint32_t)(hd_rng_u32(&l->rng) % (BOARD_WORDS - 1)), n = 1 + (uint32_t)(hd_rng_u32(&l->rng) % (kind < 2 ? 12 : BOARD_WORDS - at));
        if (n > BOARD_WORDS - at) n = BOARD_WORDS - at;
        hd_status s;
        if (kind < 4) {
            random_words(&l->rng, words, n);
            s = hd_link_write(link, (enum hd_space)space, at, words, n, &err);
            memcpy(mirror[space] + at, words, n * sizeof *words);
            /* What a failed write has written is unknown. */
            if (s)
                for (uint32_t i = 0; i < n; i++) mirror[space][at + i] = l->board.memory[space][at + i];
        } else if (kind < 7) {
            s = hd_link_read(link, (enum hd_space)space, at, words, n, &err);
            if (!s) assert_memory_equal(words, mirror[space] + at, n * sizeof *words);
        } else {
            uint32_t cycles = 0, again = 0;
            uint64_t runs = l->board.runs;
            l->board.run_seconds = (double)hd_rng_float(&l->rng) < 0.3 ? 0 : 0.3 * (double)hd_rng_float(&l->rng);
            s = hd_link_run(link, 60000, &cycles, &err);
            if (!s) {
                assert_int_equal(l->board.runs, runs + 1);
                assert_int_equal(l->board.running, 0);
                assert_int_equal(cycles, l->board.cycles);
                s = hd_link_read(link, HD_SPACE_REG, HD_REG_CYCLES, &again, 1, &err);
                if (!s) assert_int_equal(again, cycles);
            }
        }
        if (s) {
            assert_int_equal(s, HD_DEVICE);
            assert_non_null(strstr(err.message, "test pipe"));
            failed++;
        }
    }
    return failed;
}

static void clear_mirror(void) {
    for (int i = 0; i < BOARD_SPACES; i++) memset(mirror[i], 0, BOARD_WORDS * sizeof **mirror);
}

static void test_clean(void **state) {
    (void)state;
    for (int can_wait = 0; can_wait < 2; can_wait++) {
        lossy *l = new_pipe(7, can_wait);
        hd_link *link;
        hd_err err = {0};
        clear_mirror();
        assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
        assert_int_equal(session(l, link, 60), 0);
        const hd_link_statistics *st = hd_link_statistics_of(link);
        assert_int_equal(st->resent + st->timeouts + st->damaged, 0);
        assert_int_equal(l->board.refused, 0);
        hd_link_close(link);
        assert_true(l->put_bytes >> 63);
        free_pipe(l);
    }
}

/* Framing costs at most 3% of the wire at 64 KiB. */
static void test_efficiency(void **state) {
    (void)state;
    lossy *l = new_pipe(1, 1);
    hd_link *link;
    static uint32_t words[16384];
    hd_err err = {0};
    assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
    uint64_t before = l->put_bytes;
    assert_int_equal(hd_link_write(link, HD_SPACE_ACT, 0, words, 16384, &err), HD_OK);
    assert_true((double)sizeof words / (double)(l->put_bytes - before) > 0.99);
    hd_link_close(link);
    free_pipe(l);
}

/* Answers that come 60 ms after a pipe of 2 ms would bring them, as from a guest's or a busy machine's USB: the host learns it when it synchronises and sends
 * nothing twice. */
static void test_slow_pipe(void **state) {
    (void)state;
    for (int can_wait = 0; can_wait < 2; can_wait++) {
        lossy *l = new_pipe(3, can_wait);
        hd_link *link;
        hd_err err = {0};
        l->late = 0.06;
        clear_mirror();
        assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
        assert_int_equal(session(l, link, 60), 0);
        const hd_link_statistics *st = hd_link_statistics_of(link);
        assert_int_equal(st->resent, 0);
        assert_int_equal(l->board.refused, 0);
        hd_link_close(link);
        free_pipe(l);
    }
}

static uint64_t current_seed;

static int print_seed(void **state) {
    (void)state;
    if (current_seed) print_message("failed at seed %llu\n", (unsigned long long)current_seed);
    return 0;
}

static void test_faults(void **state) {
    (void)state;
    const char *sessions = getenv("HD_LINK_SESSIONS"), *first = getenv("HD_LINK_SEED");
    uint64_t n = sessions ? strtoull(sessions, NULL, 10) : 600, seed0 = first ? strtoull(first, NULL, 10) : 1;
    uint64_t runs = 0, resent = 0, timeouts = 0, damaged = 0, failed = 0, unopened = 0;
    for (uint64_t seed = seed0; seed < seed0 + n; seed++) {
        lossy *l = new_pipe(seed, (int)(seed & 1));
        hd_link *link;
        hd_err err = {0};
        double rate = 1e-5 * (double)(1 + hd_rng_u32(&l->rng) % 40);
        unsigned which = (unsigned)(hd_rng_u32(&l->rng) % 16);
        if (which & 1) l->damage = rate;
        if (which & 2) l->lose = rate;
        if (which & 4) l->twice = rate;
        if (which & 8) l->hold = 0.05;
        if (seed % 5 == 0) l->silent_from = 0.2 * (double)hd_rng_float(&l->rng), l->silent_to = l->silent_from + 0.15 * (double)hd_rng_float(&l->rng);
        if (seed % 50 == 3) l->unplug_at = (double)hd_rng_float(&l->rng);
        clear_mirror();
        current_seed = seed;
        if (hd_link_open(&link, &l->pipe, &err)) {
            assert_int_equal(err.code, HD_DEVICE);
            unopened++;
        } else {
            unsigned f = session(l, link, 12);
            if (l->unplug_at > 1e299) failed += f;
            const hd_link_statistics *st = hd_link_statistics_of(link);
            resent += st->resent;
            timeouts += st->timeouts;
            damaged += st->damaged;
            hd_link_close(link);
        }
        runs += l->board.runs;
        free_pipe(l);
    }
    print_message("%llu sessions from seed %llu: %llu runs, %llu requests sent again, %llu time-outs, %llu damaged replies, %llu operations given up, %llu not opened\n",
                  (unsigned long long)n, (unsigned long long)seed0, (unsigned long long)runs, (unsigned long long)resent, (unsigned long long)timeouts,
                  (unsigned long long)damaged, (unsigned long long)failed, (unsigned long long)unopened);
    assert_true(runs && resent && timeouts && damaged);
    /* Faults of these rates (up to 4 bytes in 10,000) are repaired, not reported. */
    assert_int_equal(failed, 0);
    current_seed = 0;
}

/* Answers that are late but not lost: a request is repeated meanwhile, and the answer to the first must fit whatever the second asks for. */
static void test_late_answers(void **state) {
    (void)state;
    static uint32_t words[BOARD_WORDS], back[BOARD_WORDS];
    uint64_t resent = 0;
    for (uint32_t tail = 32; tail <= 512; tail *= 2)
        for (int ms = 20; ms <= 400; ms += 20) {
            lossy *l = new_pipe(tail + (uint32_t)ms, 1);
            hd_link *link;
            hd_err err = {0};
            random_words(&l->rng, words, BOARD_WORDS);
            memcpy(l->board.memory[HD_SPACE_ACT], words, sizeof words);
            assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
            l->late = 1e-3 * ms;
            if (hd_link_read(link, HD_SPACE_ACT, 0, back, 1024 + tail, &err)) fail_msg("%s", err.message);
            assert_memory_equal(back, words, (1024 + tail) * sizeof *words);
            resent += hd_link_statistics_of(link)->resent;
            hd_link_close(link);
            free_pipe(l);
        }
    assert_true(resent > 100);
}

/* One byte among a reply's words is lost: the reply behind it begins before the first would have ended, and only the first is asked for again. */
static void test_lost_byte_of_words(void **state) {
    (void)state;
    static uint32_t words[BOARD_WORDS], back[BOARD_WORDS];
    lossy *l = new_pipe(9, 1);
    hd_link *link;
    hd_err err = {0};
    random_words(&l->rng, words, BOARD_WORDS);
    memcpy(l->board.memory[HD_SPACE_ACT], words, sizeof words);
    assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
    const hd_link_statistics *st = hd_link_statistics_of(link);
    uint64_t before = st->requests;
    l->lost_byte = l->board_bytes + 2000;
    assert_int_equal(hd_link_read(link, HD_SPACE_ACT, 0, back, 4096, &err), HD_OK);
    assert_memory_equal(back, words, 4096 * sizeof *words);
    assert_int_equal(st->requests - before, 4 + 1);
    assert_int_equal(st->timeouts, 0);
    hd_link_close(link);
    free_pipe(l);
}

/* The pipe still holds the answer to a request to synchronise that another process sent; our own is lost. The board then expects another number than the first. */
static hd_status purge_then_old_answer(hd_pipe *p, hd_err *err) {
    lossy *l = (lossy *)p;
    uint8_t old[1 + HD_LINK_HEADER + HD_LINK_CRC] = {HD_LINK_REPLY, HD_LINK_STATUS_OK, 0, 0, HD_LINK_OP_SYNC, 0x11, 0x22, 0x33, 0x44};
    uint32_t crc = (uint32_t)crc32(0, old + 1, HD_LINK_HEADER);
    hd_status s = purge(p, err);
    for (int i = 0; i < 4; i++) old[1 + HD_LINK_HEADER + i] = (uint8_t)(crc >> 8 * i);
    for (size_t i = 0; i < sizeof old; i++) {
        l->to_host[l->n] = old[i];
        l->due[l->n++] = l->time;
    }
    l->lose = 1;
    p->purge = purge;
    return s;
}

static hd_status put_once_lost(hd_pipe *p, const void *bytes, size_t n, hd_err *err) {
    hd_status s = put(p, bytes, n, err);
    ((lossy *)p)->lose = 0;
    return s;
}

static void test_old_answer_to_sync(void **state) {
    (void)state;
    static const uint32_t first[3] = {1, 2, 3}, second[3] = {7, 8, 9};
    uint32_t back[3] = {0};
    lossy *l = new_pipe(5, 1);
    hd_link *link;
    hd_err err = {0};
    assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
    assert_int_equal(hd_link_write(link, HD_SPACE_ACT, 0, first, 3, &err), HD_OK);
    hd_link_close(link);
    l->pipe.purge = purge_then_old_answer;
    l->pipe.put = put_once_lost;
    assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
    assert_int_equal(hd_link_write(link, HD_SPACE_ACT, 0, second, 3, &err), HD_OK);
    assert_int_equal(hd_link_read(link, HD_SPACE_ACT, 0, back, 3, &err), HD_OK);
    assert_memory_equal(back, second, sizeof second);
    hd_link_close(link);
    free_pipe(l);
}

static void test_nobody(void **state) {
    (void)state;
    lossy *l = new_pipe(1, 1);
    hd_link *link;
    hd_err err = {0};
    l->silent_from = 0;
    assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_DEVICE);
    assert_null(link);
    assert_string_equal(err.message, "test pipe: no answer to 8 requests to synchronise; is the board programmed with a heddle bitstream (heddle synth, heddle flash) of this bit rate?");
    assert_true(l->put_bytes >> 63);
    free_pipe(l);
}

static void test_endless_run(void **state) {
    (void)state;
    lossy *l = new_pipe(1, 0);
    hd_link *link;
    hd_err err = {0};
    uint32_t cycles, word = 0;
    l->board.memory[0][5] = 99;
    assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
    l->board.run_seconds = 1e6;
    assert_int_equal(hd_link_run(link, 3000, &cycles, &err), HD_DEVICE);
    assert_string_equal(err.message, "test pipe: the run did not end in the time that its cycles take; plug the board in again and run again");
    assert_true(l->time > 3 && l->time < 5);
    assert_int_equal(l->board.running, 0);
    assert_int_equal(hd_link_read(link, HD_SPACE_ACT, 5, &word, 1, &err), HD_OK);
    assert_int_equal(word, 99);
    hd_link_close(link);
    free_pipe(l);
}

/* Boards that fall silent, run what another process started, or refuse a request. */
static void test_messages(void **state) {
    (void)state;
    enum { SILENT, SILENT_RUN, FOREIGN_RUN, UNKNOWN };
    static const char *const messages[] = {
        "the board does not answer (8 tries, the last of 768 ms); plug it in again and run again",
        "the board does not answer during the run; plug it in again and run again",
        "the board is running a program that this process did not start; end the one that did, or plug the board in again",
        "the board knows no such request (operation 2); was its bitstream made by another version of heddle?",
    };
    for (int kind = SILENT; kind <= UNKNOWN; kind++) {
        lossy *l = new_pipe(1, 1);
        hd_link *link;
        hd_err err = {0};
        char want[200];
        uint32_t word = 7;
        assert_int_equal(hd_link_open(&link, &l->pipe, &err), HD_OK);
        if (kind <= SILENT_RUN) l->silent_from = l->time;
        if (kind == FOREIGN_RUN) l->board.running = 1, l->board.busy_until = 1e300;
        hd_status s = kind == SILENT_RUN ? hd_link_run(link, 60000, &word, &err) : hd_link_read(link, kind == UNKNOWN ? (enum hd_space)9 : HD_SPACE_ACT, 5, &word, 1, &err);
        snprintf(want, sizeof want, "test pipe: %s", messages[kind]);
        assert_string_equal(err.message, want);
        assert_int_equal(s, HD_DEVICE);
        hd_link_close(link);
        free_pipe(l);
    }
}

int main(void) {
    for (int i = 0; i < BOARD_SPACES; i++)
        if (!(mirror[i] = calloc(BOARD_WORDS, sizeof **mirror))) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clean), cmocka_unit_test(test_efficiency), cmocka_unit_test(test_slow_pipe), cmocka_unit_test(test_late_answers), cmocka_unit_test(test_lost_byte_of_words), cmocka_unit_test(test_old_answer_to_sync),
                                       cmocka_unit_test_teardown(test_faults, print_seed), cmocka_unit_test(test_nobody),
                                       cmocka_unit_test(test_endless_run), cmocka_unit_test(test_messages)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < BOARD_SPACES; i++) free(mirror[i]);
    return rc;
}
