/* The host's side of docs/link.md: up to WINDOW requests under way, go back to the expected number after a loss. */
#include "link.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "../sw/core/progress.h"

enum {
    FRAME_WORDS = 1024,                           /* 17 bytes of framing on 4 KiB: 0.4%, and little to send again */
    LEAST_FRAME_WORDS = 32,                       /* while the pipe damages much */
    /* What was lost is sent again before anything new, so that holes lie within two windows of whole frames, and they are no smaller than a frame. */
    RANGES = 2 * HD_LINK_WINDOW * FRAME_WORDS / LEAST_FRAME_WORDS + 1,
    HEAD = 1 + HD_LINK_HEADER + HD_LINK_CRC,      /* start byte, header, its CRC */
    RECEIVE = 64 * 1024,
    MOST_ROUND_TRIP = 1,                          /* seconds */
    BABBLE = 8,                                   /* times the wait for an answer that bytes may come without being one */
    TRIES = 8                                     /* time-outs in a row without progress before the board counts as gone */
};

typedef struct reply {
    unsigned status, number, count, op;
    uint32_t address;
    const uint8_t *words; /* in the receive buffer, until the next call of next_reply */
} reply;

struct hd_link {
    hd_pipe *pipe;
    uint8_t *bytes;      /* received, not yet understood: from `first` up to `last` */
    size_t first, last;
    uint8_t next;        /* number of the next new request */
    int synchronised;
    unsigned frame_words, good; /* words of the next frame; requests done since the last loss */
    double round_trip;   /* seconds that answers took lately beyond the wire's time: a guest's or a busy machine's USB is slower than the pipe says */
    uint32_t nonce;
    hd_link_statistics statistics;
};

static double now(const hd_link *l) { return l->pipe->now ? l->pipe->now(l->pipe) : hd_seconds(); }

/* ---- frames */

static uint32_t get32(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24; }

static void put32(uint8_t *b, uint32_t v) {
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t crc_of(const void *bytes, size_t n) { return (uint32_t)crc32(0, bytes, (uInt)n); }

static hd_status send_request(hd_link *l, enum hd_link_op op, unsigned number, unsigned count, unsigned space, uint32_t address, const uint32_t *words, hd_err *err) {
    uint8_t frame[HEAD + FRAME_WORDS * 4 + HD_LINK_CRC];
    size_t n = HEAD;
    frame[0] = HD_LINK_REQUEST;
    frame[1] = (uint8_t)((unsigned)op | number << 4);
    frame[2] = (uint8_t)count;
    frame[3] = (uint8_t)(count >> 8);
    frame[4] = (uint8_t)space;
    put32(frame + 5, address);
    put32(frame + 1 + HD_LINK_HEADER, crc_of(frame + 1, HD_LINK_HEADER));
    if (words) {
        for (unsigned i = 0; i < count; i++) put32(frame + n + 4 * i, words[i]);
        put32(frame + n + 4 * count, crc_of(frame + n, 4 * count));
        n += 4 * count + HD_LINK_CRC;
    }
    l->statistics.requests++;
    return l->pipe->put(l->pipe, frame, n, err);
}

/* The next reply among the received bytes; 0 when there is none that is whole. Bytes that are no frame are skipped one by one. */
static int next_reply(hd_link *l, reply *r) {
    while (l->first < l->last) {
        const uint8_t *b = l->bytes + l->first;
        size_t have = l->last - l->first;
        if (b[0] != HD_LINK_REPLY) {
            l->first++;
            continue;
        }
        if (have < HEAD) return 0;
        unsigned count = (unsigned)b[2] | (unsigned)b[3] << 8, status = b[1] & 15u, op = b[4];
        int sound = get32(b + 1 + HD_LINK_HEADER) == crc_of(b + 1, HD_LINK_HEADER), carries = op == HD_LINK_OP_READ && status == HD_LINK_STATUS_OK;
        if (!sound || (carries && (count == 0 || count > FRAME_WORDS))) {
            l->statistics.damaged++;
            l->first++;
            continue;
        }
        *r = (reply){.status = status, .number = b[1] >> 4, .count = count, .op = op, .address = get32(b + 5)};
        size_t size = HEAD;
        if (carries) {
            size += 4 * count + HD_LINK_CRC;
            if (have < size) return 0;
            if (get32(b + size - HD_LINK_CRC) == crc_of(b + HEAD, 4 * count)) {
                r->words = b + HEAD;
            } else {
                l->statistics.damaged++;
                size = HEAD; /* bytes may be missing: the next reply may begin before this one's end */
            }
        }
        l->first += size;
        return 1;
    }
    return 0;
}

/* After a time-out the rest of a reply that came in part will not come: what follows its start byte may be other replies. */
static int give_up_partial(hd_link *l) {
    if (l->first == l->last) return 0;
    l->first++;
    l->statistics.damaged++;
    return 1;
}

/* Reads what the pipe has, waiting up to ms. *came is 0 when nothing did. */
static hd_status receive(hd_link *l, unsigned ms, int *came, hd_err *err) {
    size_t got = 0;
    if (l->first) {
        memmove(l->bytes, l->bytes + l->first, l->last - l->first);
        l->last -= l->first;
        l->first = 0;
    }
    hd_status s = l->pipe->get(l->pipe, l->bytes + l->last, RECEIVE - l->last, &got, ms, err);
    l->last += got;
    *came = got != 0;
    return s;
}

/* An answer came that was due at a time, by the wire alone. */
static void measure(hd_link *l, double due) {
    double late = now(l) - due;
    if (late > MOST_ROUND_TRIP) late = MOST_ROUND_TRIP;
    l->round_trip *= 0.95;
    if (late > l->round_trip) l->round_trip = late;
}

/* Milliseconds until the answer to n bytes (there and back) counts as lost. */
static unsigned patience(const hd_link *l, size_t n) {
    return 20 + 2 * l->pipe->latency_ms + (unsigned)(3000.0 * (double)n / l->pipe->bytes_per_second + 2000.0 * l->round_trip);
}

/* ---- synchronisation */

static uint32_t new_nonce(const hd_link *l) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint32_t seed[4] = {(uint32_t)t.tv_nsec, (uint32_t)t.tv_sec, (uint32_t)getpid(), l->nonce};
    return crc_of(seed, sizeof seed) | 1u;
}

/* Ends what the board does and what is on its way from it. A board inside a damaged frame may take the request for that frame's words: 2^20 of its clocks later it
 * forgets the frame, and 4,096 words end it sooner, so the request is repeated. When a board is opened whose bit rate is not known, each rate has two tries,
 * then two longer ones, then a last one for a simulated board on a busy machine. */
static hd_status synchronise(hd_link *l, int opening, hd_err *err) {
    hd_pipe *p = l->pipe;
    const int search = opening && p->next_rate, round = search ? 2 * (int)p->rates : TRIES / 2, tries = search ? 5 * (int)p->rates : TRIES;
    l->synchronised = 0;
    for (int try = 0; try < tries; try++) {
        if (search && try && (try % 2 == 0 || try > 2 * round)) {
            hd_status s = p->next_rate(p, err);
            if (s) return s;
        }
        l->nonce = new_nonce(l);
        hd_status s = l->pipe->purge(l->pipe, err);
        l->first = l->last = 0;
        if (!s) s = send_request(l, HD_LINK_OP_SYNC, 0, 0, 0, l->nonce, NULL, err);
        if (!s) s = l->pipe->flush(l->pipe, err);
        double start = now(l), until = start + 1e-3 * patience(l, 2 * HEAD) * (try < round ? 1 : try < 2 * round ? 4 : 16);
        for (int came = 1; !s && (came || now(l) < until);) {
            reply r;
            while (next_reply(l, &r))
                if (r.op == HD_LINK_OP_SYNC && r.status == HD_LINK_STATUS_OK && r.address == l->nonce) {
                    l->next = 1;
                    l->synchronised = 1;
                    measure(l, start);
                    return HD_OK;
                }
            double left = until - now(l);
            if (left <= 0) break;
            if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "stopped");
            s = receive(l, 1 + (unsigned)(1000 * left), &came, err);
        }
        if (s) return s;
        l->statistics.timeouts++;
    }
    return hd_fail(err, HD_DEVICE, "%s: no answer to %d requests to synchronise%s; is the board programmed with a heddle bitstream (heddle synth, heddle flash)%s", p->name, tries,
                   search ? " at the usual bit rates" : "", search ? ", and has it another rate (--bit-rate)?" : " of this bit rate?");
}

hd_status hd_link_open(hd_link **out, hd_pipe *pipe, hd_err *err) {
    *out = NULL;
    hd_link *l = calloc(1, sizeof *l);
    if (l) l->bytes = malloc(RECEIVE);
    if (!l || !l->bytes) {
        free(l);
        pipe->close(pipe);
        return hd_fail(err, HD_NOMEM, "link: out of memory");
    }
    l->pipe = pipe;
    l->frame_words = FRAME_WORDS;
    hd_status s = synchronise(l, 1, err);
    if (s) hd_link_close(l);
    else *out = l;
    return s;
}

void hd_link_close(hd_link *l) {
    if (!l) return;
    l->pipe->close(l->pipe);
    free(l->bytes);
    free(l);
}

const hd_link_statistics *hd_link_statistics_of(const hd_link *l) { return &l->statistics; }

/* ---- transfers: a window over what is still to do */

/* Words first .. end - 1 of a transfer; in one frame if `whole`. */
typedef struct range {
    size_t first, end;
    int whole, again; /* again: was sent before, so that an answer may be to either */
} range;

/* What one frame under way carries. */
typedef struct piece {
    range words;
    unsigned number;
    double due; /* when its answer would be here if nothing took time but the wire */
} piece;

typedef struct transfer {
    enum hd_link_op op; /* WRITE or READ */
    enum hd_space space;
    uint32_t at;
    const uint32_t *out;
    uint32_t *in;
    unsigned most;                          /* requests under way */
    piece under_way[HD_LINK_WINDOW];        /* oldest first */
    unsigned n;
    range to_do[RANGES];                    /* the last is next */
    unsigned n_to_do;
    int silent, lost;                       /* time-outs, and lost answers of READ, in a row */
} transfer;

static size_t wire_bytes(const transfer *t) {
    size_t bytes = 0;
    for (unsigned i = 0; i < t->n; i++) bytes += 2 * HEAD + HD_LINK_CRC + 4 * (t->under_way[i].words.end - t->under_way[i].words.first);
    return bytes;
}

static hd_status send_next(hd_link *l, transfer *t, hd_err *err) {
    range *r = &t->to_do[t->n_to_do - 1];
    size_t count = r->whole || r->end - r->first < l->frame_words ? r->end - r->first : l->frame_words;
    piece p = {{r->first, r->first + count, 0, r->again}, l->next, 0};
    hd_status s = send_request(l, t->op, p.number, (unsigned)count, t->space, t->at + (uint32_t)r->first, t->out ? t->out + r->first : NULL, err);
    if (s) return s;
    l->next = (l->next + 1) & 15;
    t->under_way[t->n++] = p;
    t->under_way[t->n - 1].due = now(l) + (double)wire_bytes(t) / l->pipe->bytes_per_second;
    r->first += count;
    if (r->first == r->end) t->n_to_do--;
    return HD_OK;
}

/* The board has executed the oldest request; of a READ the words are there or were lost. */
static void retire(hd_link *l, transfer *t, const uint8_t *words) {
    range r = t->under_way[0].words;
    if (!r.again) measure(l, t->under_way[0].due);
    t->n--;
    memmove(t->under_way, t->under_way + 1, t->n * sizeof *t->under_way);
    t->silent = 0;
    if (t->op == HD_LINK_OP_READ && !words) {
        t->lost++;
        t->to_do[t->n_to_do++] = r; /* under a new number, in any frames */
        return;
    }
    if (words)
        for (size_t i = r.first; i < r.end; i++) t->in[i] = get32(words + 4 * (i - r.first));
    t->lost = 0;
    if (++l->good % HD_LINK_WINDOW == 0 && l->frame_words < FRAME_WORDS) l->frame_words *= 2;
}

/* What is under way was not executed, or nobody knows: it is sent again under the same numbers. Those that were executed after all the board
 * refuses with NUMBER, or their answers come late. So that such an answer says the truth, a READ is repeated word for word, and number i of a repeated WRITE carries
 * only words that came under number i or before: frames may get shorter (short ones get through where long ones are damaged), never longer. */
static void go_back(hd_link *l, transfer *t) {
    if (!t->n) return;
    l->next = (uint8_t)t->under_way[0].number;
    l->statistics.resent += t->n;
    for (unsigned i = t->n; i--;) {
        t->to_do[t->n_to_do] = t->under_way[i].words;
        t->to_do[t->n_to_do].again = 1;
        t->to_do[t->n_to_do++].whole = t->op == HD_LINK_OP_READ;
    }
    t->n = 0;
    l->good = 0;
    if (l->frame_words > LEAST_FRAME_WORDS) l->frame_words /= 2;
}

/* What a reply says of the requests under way. *back: from here on they are to be sent again. */
static hd_status take_reply(hd_link *l, transfer *t, const reply *r, int *back, hd_err *err) {
    if (r->op == HD_LINK_OP_SYNC || r->op == HD_LINK_OP_RUN) return HD_OK; /* of before */
    unsigned place = (r->number - (t->n ? t->under_way[0].number : l->next)) & 15u;
    switch (r->status) {
    case HD_LINK_STATUS_OK:
        if (place >= t->n || (enum hd_link_op)r->op != t->op) return HD_OK; /* answered already, or of before */
        if (t->op == HD_LINK_OP_READ && r->count != t->under_way[place].words.end - t->under_way[place].words.first) return HD_OK;
        while (place--) retire(l, t, NULL);
        retire(l, t, r->words);
        return HD_OK;
    case HD_LINK_STATUS_NUMBER:
    case HD_LINK_STATUS_DATA:
        if (place > t->n) return HD_OK; /* a number of before */
        while (place--) retire(l, t, NULL);
        *back = t->n != 0;
        return HD_OK;
    case HD_LINK_STATUS_BUSY:
        return hd_fail(err, HD_DEVICE, "%s: the board is running a program that this process did not start; end the one that did, or plug the board in again", l->pipe->name);
    default:
        return hd_fail(err, HD_DEVICE, "%s: the board knows no such request (operation %u); was its bitstream made by another version of heddle?", l->pipe->name, r->op);
    }
}

static hd_status take_replies(hd_link *l, transfer *t, int *back, hd_err *err) {
    hd_status s = HD_OK;
    reply r;
    while (!s && next_reply(l, &r)) {
        int again = 0;
        s = take_reply(l, t, &r, &again, err);
        *back |= again;
    }
    return s;
}

/* Waits for something that changes the window. */
static hd_status collect(hd_link *l, transfer *t, hd_err *err) {
    /* Each time-out in a row doubles the next: a pipe may be slower than it says. */
    unsigned before = t->n, ms = patience(l, wire_bytes(t)) << (t->silent < 5 ? t->silent : 5);
    double until = now(l) + BABBLE * 1e-3 * ms; /* bytes that go on coming and are no answer are as good as none */
    int came = 1, back = 0;
    hd_status s = take_replies(l, t, &back, err);
    while (!s && !back && came && t->n == before) {
        if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "stopped");
        s = receive(l, ms, &came, err);
        if (!s) s = take_replies(l, t, &back, err);
        if (now(l) > until) came = 0;
    }
    while (!s && !back && !came && t->n == before && give_up_partial(l)) s = take_replies(l, t, &back, err);
    if (s || (!back && (came || t->n != before))) return s;
    if (!back) {
        l->statistics.timeouts++;
        if (++t->silent > TRIES || t->lost > 16 * TRIES) return hd_fail(err, HD_DEVICE, "%s: the board does not answer (%d tries, the last of %u ms); plug it in again and run again", l->pipe->name, TRIES, ms);
    }
    /* Replies to the rest of what is under way are still to come and say the same: let them pass, so that each loss is repaired once. */
    for (came = back; !s && came && now(l) < until;) {
        s = receive(l, 2 + l->pipe->latency_ms + (unsigned)(1000 * l->round_trip), &came, err);
        if (!s) s = take_replies(l, t, &back, err);
    }
    if (!s) go_back(l, t);
    return s;
}

static hd_status transfer_words(hd_link *l, transfer t, size_t n, hd_err *err) {
    hd_status s = l->synchronised ? HD_OK : synchronise(l, 0, err);
    /* A pipe that cannot wait carries nothing behind a READ. */
    t.most = t.op == HD_LINK_OP_READ && !l->pipe->can_wait ? 1 : HD_LINK_WINDOW;
    if (n) t.to_do[t.n_to_do++] = (range){.first = 0, .end = n};
    while (!s && (t.n_to_do || t.n)) {
        int burst = 0;
        for (; !s && t.n_to_do && t.n < t.most; burst = 1) s = send_next(l, &t, err);
        if (!s && burst) s = l->pipe->flush(l->pipe, err);
        if (!s) s = collect(l, &t, err);
    }
    if (s) l->synchronised = 0;
    return s;
}

hd_status hd_link_write(hd_link *l, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    return transfer_words(l, (transfer){.op = HD_LINK_OP_WRITE, .space = space, .at = at, .out = words}, n, err);
}

hd_status hd_link_read(hd_link *l, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    return transfer_words(l, (transfer){.op = HD_LINK_OP_READ, .space = space, .at = at, .in = words}, n, err);
}

/* ---- run */

typedef struct run_state {
    unsigned number;  /* of RUN */
    int over;         /* its reply came */
    uint32_t cycles;
} run_state;

static void take_run_reply(run_state *run, const reply *r) {
    if (r->op != HD_LINK_OP_RUN || r->status != HD_LINK_STATUS_OK || r->number != run->number) return;
    run->over = 1;
    run->cycles = r->address;
}

/* Waits up to ms for the reply of RUN. */
static hd_status await_run(hd_link *l, run_state *run, unsigned ms, hd_err *err) {
    double until = now(l) + 1e-3 * ms;
    for (;;) {
        reply r;
        int came;
        while (!run->over && next_reply(l, &r)) take_run_reply(run, &r);
        double left = until - now(l);
        if (!run->over && left <= 0 && give_up_partial(l)) continue;
        if (run->over || left <= 0 || hd_interrupted) return HD_OK;
        /* In slices, so that Ctrl-C is seen. */
        hd_status s = receive(l, left > 0.1 ? 100 : 1 + (unsigned)(1000 * left), &came, err);
        if (s) return s;
    }
}

enum answer { SILENT, LOST, RUNNING, ENDED };

/* What a READ of STATUS and CYCLES says of a RUN whose reply did not come: the request was lost, the run goes on, or only the reply was lost. The READ is out
 * of order unless RUN was executed. Until its own answer is there nothing else may be asked, since an old answer would fit a new READ. */
static hd_status probe(hd_link *l, run_state *run, unsigned ms, enum answer *answer, hd_err *err) {
    unsigned number = l->next;
    *answer = SILENT;
    hd_status s = send_request(l, HD_LINK_OP_READ, number, 2, HD_SPACE_REG, HD_REG_STATUS, NULL, err);
    if (!s) s = l->pipe->flush(l->pipe, err);
    double until = now(l) + 1e-3 * ms;
    while (!s && *answer == SILENT) {
        reply r;
        int came;
        while (*answer == SILENT && next_reply(l, &r)) {
            take_run_reply(run, &r);
            if (r.op != HD_LINK_OP_READ) continue;
            if (r.status == HD_LINK_STATUS_NUMBER && r.number == run->number) {
                *answer = LOST;
            } else if (r.status == HD_LINK_STATUS_NUMBER && r.number == ((number + 1) & 15)) {
                *answer = RUNNING; /* an earlier probe was executed and its reply lost: ask again */
            } else if (r.status == HD_LINK_STATUS_OK && r.number == number && r.count == 2) {
                *answer = r.words && !(get32(r.words) & 1) ? ENDED : RUNNING;
                if (*answer == ENDED) run->cycles = get32(r.words + 4);
            }
        }
        double left = until - now(l);
        if (*answer == SILENT && left <= 0 && give_up_partial(l)) continue;
        if (*answer != SILENT || left <= 0) break;
        s = receive(l, 1 + (unsigned)(1000 * left), &came, err);
    }
    if (*answer == RUNNING || *answer == ENDED) l->next = (l->next + 1) & 15;
    return s;
}

static hd_status end_run(hd_link *l, hd_status why, const char *text, hd_err *err) {
    synchronise(l, 0, NULL);
    return hd_fail(err, why, "%s: %s", l->pipe->name, text);
}

static hd_status send_run(hd_link *l, const run_state *run, hd_err *err) {
    hd_status s = send_request(l, HD_LINK_OP_RUN, run->number, 0, 0, 0, NULL, err);
    return s ? s : l->pipe->flush(l->pipe, err);
}

static hd_status run_once(hd_link *l, run_state *run, unsigned limit_ms, hd_err *err) {
    double limit = now(l) + 1e-3 * limit_ms;
    unsigned wait = patience(l, 2 * HEAD);
    int silent = 0, probing = 0;
    hd_status s = send_run(l, run, err);
    l->next = (l->next + 1) & 15;
    while (!s) {
        enum answer answer;
        if (!run->over && !probing) s = await_run(l, run, wait, err);
        if (s || (run->over && !probing)) return s;
        if (hd_interrupted) return end_run(l, HD_INTERRUPTED, "stopped", err);
        if (!run->over && now(l) > limit) return end_run(l, HD_DEVICE, "the run did not end in the time that its cycles take; plug the board in again and run again", err);
        s = probe(l, run, patience(l, 3 * HEAD) << (silent < 5 ? silent : 5), &answer, err);
        if (s) return s;
        probing = answer == SILENT;
        if (answer == SILENT) {
            l->statistics.timeouts++;
            if (++silent > TRIES) return end_run(l, HD_DEVICE, "the board does not answer during the run; plug it in again and run again", err);
            continue;
        }
        silent = 0;
        if (run->over || answer == ENDED) return HD_OK;
        if (answer == LOST) {
            l->statistics.resent++;
            s = send_run(l, run, err);
        } else if (wait < 500) {
            wait *= 2;
        }
    }
    return s;
}

hd_status hd_link_run(hd_link *l, unsigned limit_ms, uint32_t *cycles, hd_err *err) {
    hd_status s = l->synchronised ? HD_OK : synchronise(l, 0, err);
    run_state run = {.number = l->next};
    if (!s) s = run_once(l, &run, limit_ms, err);
    if (s) l->synchronised = 0;
    *cycles = run.cycles;
    return s;
}
