/* The host controller of served boards, from a device on its bus that answers as the input says: enumeration, then transfers to all kinds of endpoints. */
#include <stdlib.h>
#include <string.h>

#include "../../drivers/vusb.h"
#include "fuzz.h"
#include "liar.h"

enum { TRANSFERS = 12, MOST_BYTES = 600, STEPS = 60 };

static script input;

typedef struct bus {
    hd_vbus base;
    unsigned transactions;
} bus;

static int reset(hd_vbus *b) { return (void)b, (int)(script_byte(&input) % 3) - 1; }

/* A tame device answers what its descriptors need, so that the input gets behind enumeration. */
static enum hd_vbus_pid transact(hd_vbus *base, enum hd_vbus_pid token, unsigned address, unsigned endpoint, enum hd_vbus_pid data, uint8_t *bytes, size_t *n) {
    static const enum hd_vbus_pid answers[] = {HD_PID_ACK, HD_PID_NAK, HD_PID_STALL, HD_PID_NYET, HD_PID_NONE, HD_PID_DATA0, HD_PID_DATA1, HD_PID_ACK};
    bus *b = (bus *)base;
    unsigned how = script_byte(&input);
    (void)address, (void)endpoint, (void)data;
    b->transactions++;
    if (input.at >= input.size) return token == HD_PID_IN ? HD_PID_NONE : HD_PID_STALL;
    if (token == HD_PID_PING) return answers[how & 7];
    if (token != HD_PID_IN) {
        fuzz_expect(*n <= HD_VBUS_PACKET, "a packet of %zu bytes", *n);
        unsigned sum = 0;
        for (size_t i = 0; i < *n; i++) sum += bytes[i];
        return sum == 0xffffffffu ? HD_PID_NONE : answers[how < 200 ? 0 : how & 7];
    }
    *n = how & 0x80 ? script_short(&input) % (HD_VBUS_PACKET + 1) : how & 0x3f;
    for (size_t i = 0; i < *n; i++) bytes[i] = script_byte(&input);
    return how & 0x40 ? HD_PID_DATA1 : (how & 0x3f) == 0x3f ? answers[script_byte(&input) & 7] : HD_PID_DATA0;
}

static void idle(hd_vbus *b, uint64_t clocks) { (void)b, (void)clocks; }
static int busy(hd_vbus *b) { return (void)b, (int)(script_byte(&input) & 1); }
static hd_status check(hd_vbus *b, hd_err *err) { return (void)b, (void)err, HD_OK; }
static uint64_t clocks(hd_vbus *b) { return ((bus *)b)->transactions * 100u; }
static void close_bus(hd_vbus *b) { free(b); }

static void transfers(hd_vusb *d) {
    hd_vusb_transfer *t = calloc(TRANSFERS, sizeof *t);
    int out[TRANSFERS] = {0};
    hd_err err = {0};
    fuzz_expect(t != NULL, "out of memory");
    for (int i = 0; i < TRANSFERS; i++) {
        t[i].endpoint = script_byte(&input) & 0x8f;
        t[i].length = script_short(&input) % MOST_BYTES;
        t[i].bytes = calloc(1, t[i].length + 1);
        fuzz_expect(t[i].bytes != NULL, "out of memory");
        for (int k = 0; k < 8; k++) t[i].setup[k] = script_byte(&input);
        t[i].owner = &out[i];
        out[i] = 1;
        d->submit(d, &t[i]);
    }
    for (int i = 0; i < STEPS; i++) {
        unsigned ms;
        hd_status s = d->work(d, &ms, &err);
        fuzz_expect(s == HD_OK, "work fails: %s", err.message);
        for (hd_vusb_transfer *f; (f = d->finished(d));) {
            fuzz_expect(*(int *)f->owner == 1 && f->actual <= f->length, "a transfer of %zu bytes has %zu, or is finished twice", f->length, f->actual);
            *(int *)f->owner = 0;
        }
    }
    for (int i = 0; i < TRANSFERS; i++) {
        if (out[i]) fuzz_expect(d->cancel(d, &t[i]), "an unfinished transfer is not to be cancelled");
        free(t[i].bytes);
    }
    free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_vusb *d = NULL;
    hd_err err = {0};
    input = (script){data, size, 0};
    bus *b = calloc(1, sizeof *b);
    fuzz_expect(b != NULL, "out of memory");
    b->base = (hd_vbus){.reset = reset, .transact = transact, .idle = idle, .busy = busy, .check = check, .clocks = clocks, .hz = 48e6, .close = close_bus};
    if (FUZZ_GOOD(hd_vusb_bus(&d, &b->base, &err), &err, d)) {
        transfers(d);
        d->close(d);
    }
    return 0;
}
