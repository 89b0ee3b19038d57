// The UARTs and the link at the pins: a host sends requests without a gap and reads the replies with its own clock, a little faster or slower. Glitches
// shorter than a clock and bytes without a stop bit are no bytes. (test_uarts.cpp: how far clocks may differ.)
// test_uart CLOCKS_PER_64_BITS: as the model was built.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "Vuart_link.h"
#include "host.h"
#include "verilated.h"

namespace {

// The far end of a serial line: sends bits at its own rate, samples bits in their middle. Time in clocks of the board.
struct Line {
    double bit;
    std::vector<uint8_t> received;
    std::deque<uint8_t> queue;
    explicit Line(double b) : bit(b) {}
    // Level of the board's rx at time t.
    int level(double t) {
        if (sending < 0) {
            if (queue.empty() || t < free_at) return 1;
            sending = queue.front();
            queue.pop_front();
            began = t > free_at + 1 ? t : free_at > 0 ? free_at : t;
        }
        int n = static_cast<int>(floor((t - began) / bit));
        if (n >= 10) {
            free_at = began + 10 * bit;
            sending = -1;
            return level(t);
        }
        return n == 0 ? 0 : n == 9 ? 1 : (sending >> (n - 1)) & 1;
    }
    void sample(double t, int tx) {
        if (start < 0) {
            if (!tx) start = t, bits = 0, value = 0;
            return;
        }
        if (t < start + (bits + 0.5) * bit) return;
        if (bits >= 1 && bits <= 8) value |= tx << (bits - 1);
        if (bits == 9) {
            if (tx) received.push_back(static_cast<uint8_t>(value));
            start = -1;
            return;
        }
        bits++;
    }
    int sending = -1, value = 0, bits = 0;
    double began = 0, free_at = 0, start = -1;
};

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vuart_link> top{new Vuart_link(&context)};
    double time = 0;
    uint32_t memory[64] = {0};
    uint32_t pipe[2] = {0, 0};
    void cycle(Line *line, int forced = -1) {
        Vuart_link *t = top.get();
        t->rx = static_cast<uint8_t>(forced >= 0 ? forced : line->level(time));
        t->eval();
        if (t->h_we) memory[t->h_addr & 63] = t->h_wdata;
        uint32_t rdata = pipe[1];
        pipe[1] = pipe[0];
        if (t->h_re) pipe[0] = memory[t->h_addr & 63];
        t->clk = 1;
        t->eval();
        t->h_rdata = rdata;
        t->clk = 0;
        t->eval();
        time += 1;
        if (t->rst_n) line->sample(time, t->tx);
    }
};

int one(double bit, unsigned seed) {
    Bench b;
    Line line(bit);
    Host host(20000);
    uint32_t written[64], wrong = 0, reads = 0;
    host.done = [&](const Request &q) {
        if (q.op != HD_LINK_OP_READ) return;
        reads++;
        for (size_t i = 0; i < q.words.size(); i++) wrong += q.words[i] != written[(q.address + i) & 63];
    };
    b.top->rst_n = 0;
    for (int i = 0; i < 8; i++) b.cycle(&line, 1);
    b.top->rst_n = 1;
    // A byte with a stop bit of 0: the line stays low for long. Then a glitch of a clock.
    for (int i = 0; i < 200; i++) b.cycle(&line, i < 150 ? 0 : 1);
    b.cycle(&line, 0);
    for (int i = 0; i < 100; i++) b.cycle(&line, 1);
    host.sync(seed);
    uint32_t s = seed;
    for (int k = 0; k < 3; k++) {
        for (uint32_t w = 0; w < 64; w += 16) {
            Request q;
            q.op = HD_LINK_OP_WRITE;
            q.address = w;
            for (uint32_t i = 0; i < 16; i++) q.words.push_back(written[w + i] = s = s * 1664525u + 1013904223u);
            if (k == 2) host.add(q); // four frames in a row, read back at the end
        }
    }
    Request q;
    q.op = HD_LINK_OP_READ;
    q.words.resize(64);
    host.add(q);
    for (uint64_t n = 0; !host.idle() && n < 2000000; n++) {
        uint8_t byte;
        if (line.queue.size() < 2 && host.next(byte)) line.queue.push_back(byte);
        b.cycle(&line);
        for (uint8_t r : line.received) host.receive(r);
        line.received.clear();
        host.clock();
    }
    if (reads == 1 && !wrong && !host.repeats) return 0;
    printf("FAIL bit time %.4f clocks: %u reads, %u words wrong, %llu requests sent again\n", bit, reads, wrong, static_cast<unsigned long long>(host.repeats));
    return 1;
}

} // namespace

int main(int argc, char **argv) {
    double clocks = (argc > 1 ? atof(argv[1]) : 256) / 64, tolerance = 0.005;
    int bad = 0, runs = 0;
    for (double off = -tolerance; off <= tolerance * 1.001; off += tolerance / 4, runs++) bad += one(clocks * (1 + off), 77u + static_cast<unsigned>(runs));
    printf("%g clocks a bit: %d bit rates, %d failed\n", clocks, runs, bad);
    return bad != 0;
}
