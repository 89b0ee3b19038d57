// Eight UARTs (uarts.v), each wired to a bridge whose bits last as long as the UART's, 2% less or 2% more: random bytes in both directions, in rows without a gap
// and alone, none of which may be lost, changed or invented. The bridge has a clock of its own, ten of its cycles a bit as an FT2232H has at 12 Mbit/s, in random phase
// to the board's; a flip-flop that samples near an edge sees either level. Time in clocks of the board.
// test_uarts BYTES: in each direction, of each UART and bit time.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>

#include "Vuarts.h"
#include "verilated.h"

namespace {

constexpr int UARTS = 8, TICKS = 10;
constexpr double NEAR = 0.01;   // clocks around an edge in which a sample may see either level
const double bits[UARTS] = {236 / 64., 158 / 64., 4, 25, 190 / 64., 255 / 64., 3, 2.5};

struct Random {
    uint64_t s;
    explicit Random(uint64_t seed) : s(seed * 0x9e3779b97f4a7c15ull + 99) { for (int i = 0; i < 8; i++) next(); }
    uint32_t next() {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        return static_cast<uint32_t>(s >> 16);
    }
    double real() { return next() / 4294967296.0; }
};

struct Bridge {
    Random r;
    double bit, tick_at;            // of the bridge's clock
    // to the board
    double began = 0, free_at = 0;
    bool sending = false;
    uint8_t byte = 0;
    std::deque<uint8_t> sent;       // and not yet received by the board
    int to_send, row = 0;
    // from the board
    int take_tick = -1, value = 0;
    std::deque<uint8_t> expected;   // given to the board and not yet here
    int to_get, offered = -1, pause = 0;
    uint64_t wrong = 0;

    Bridge(uint64_t seed, double b, int n) : r(seed), bit(b), tick_at(r.real() * b / TICKS), to_send(n), to_get(n) {}
    bool done() const { return !to_send && !sending && sent.empty() && !to_get && offered < 0 && expected.empty(); }

    // The level of the board's rx at time t; times do not go back.
    int level(double t) {
        t += NEAR * (2 * r.real() - 1);
        if (sending && t >= began + 10 * bit) {
            sending = false;
            free_at = began + 10 * bit;
        }
        if (!sending && to_send) {
            if (!row) {             // a new row begins after a while, at any time
                row = 1 + static_cast<int>(r.next() % 200);
                began = (t > free_at ? t : free_at) + 3 * bit * r.real();
            } else {
                began = free_at;
            }
            row--;
            to_send--;
            sending = true;
            sent.push_back(byte = r.next() % 4 ? static_cast<uint8_t>(r.next()) : r.next() % 2 ? 0x55 : r.next() % 2 ? 0 : 255);
        }
        int n = static_cast<int>(floor((t - began) / bit));
        return !sending || n < 0 || n >= 9 ? 1 : n == 0 ? 0 : (byte >> (n - 1)) & 1;
    }
    void received(uint8_t b) {
        if (sent.empty() || sent.front() != b) wrong++;
        if (!sent.empty()) sent.pop_front();
    }
    // What the board is offered to send; -1 none. `taken`: the last offer.
    int offer(bool taken) {
        if (taken && offered >= 0) {
            expected.push_back(static_cast<uint8_t>(offered));
            offered = -1;
            if (r.next() % 100 == 0) pause = static_cast<int>(r.next() % 300);
        }
        if (pause) pause--;
        else if (offered < 0 && to_get) to_get--, offered = static_cast<int>(r.next() & 255);
        return offered;
    }
    // The line from the board had this level up to time t.
    void line(double t, int tx) {
        for (; tick_at < t; tick_at += bit / TICKS) {
            if (take_tick < 0) {
                if (!tx) take_tick = value = 0;
                continue;
            }
            if (++take_tick % TICKS != TICKS / 2) continue;
            int n = take_tick / TICKS;
            if (n >= 1 && n <= 8) value |= tx << (n - 1);
            if ((n == 0 && tx) || n == 9) {
                if (n == 0 || !tx || expected.empty() || expected.front() != value) wrong++;
                if (!expected.empty()) expected.pop_front();
                take_tick = -1;
            }
        }
    }
};

int run(double off, int bytes, uint64_t seed) {
    VerilatedContext context;
    std::unique_ptr<Vuarts> top(new Vuarts(&context));
    std::deque<Bridge> bridges;
    for (int i = 0; i < UARTS; i++) bridges.emplace_back(seed * UARTS + static_cast<uint64_t>(i), bits[i] * (1 + off), bytes);
    double phase = Random(seed).real();
    uint64_t clocks = 0, limit = static_cast<uint64_t>(bytes * 25. * 10 * 1.5) + 10000;
    top->rx = 255;
    for (bool busy = true; busy && clocks < limit; clocks++) {
        double t = static_cast<double>(clocks) + phase;
        bool started = clocks >= 8;
        uint8_t rx = 255, valid = 0, ready = top->s_byte_ready, line = top->tx;
        uint64_t data = 0;
        if (started)
            for (int i = 0; i < UARTS; i++) {
                Bridge &b = bridges[static_cast<size_t>(i)];
                // The byte that was offered to this edge was taken if the UART was ready.
                b.line(t, line >> i & 1);
                if (!b.level(t)) rx = static_cast<uint8_t>(rx & ~(1 << i));
                if (top->m_byte_valid >> i & 1) b.received(static_cast<uint8_t>(top->m_byte_data >> (8 * i)));
                int offer = b.offer((top->s_byte_valid & ready) >> i & 1);
                if (offer >= 0) valid = static_cast<uint8_t>(valid | 1 << i), data |= static_cast<uint64_t>(offer) << (8 * i);
            }
        top->rst_n = started;
        top->rx = rx;
        top->clk = 1;
        top->eval();
        top->s_byte_valid = valid;
        top->s_byte_data = data;
        rx = 255;
        for (int i = 0; started && i < UARTS; i++)
            if (!bridges[static_cast<size_t>(i)].level(t + 0.5)) rx = static_cast<uint8_t>(rx & ~(1 << i));
        top->rx = rx;
        top->clk = 0;
        top->eval();
        busy = !started;
        for (const Bridge &b : bridges) busy |= !b.done();
    }
    int bad = 0;
    for (int i = 0; i < UARTS; i++) {
        const Bridge &b = bridges[static_cast<size_t>(i)];
        if (!b.wrong && b.done()) continue;
        bad++;
        printf("FAIL %.4f clocks a bit, the bridge's %+.1f%%: %llu bytes wrong, to the board %zu lost, from it %zu lost\n", bits[i], 100 * off, static_cast<unsigned long long>(b.wrong),
               b.sent.size(), b.expected.size());
    }
    return bad;
}

} // namespace

int main(int argc, char **argv) {
    int bytes = argc > 1 ? atoi(argv[1]) : 2000, bad = 0;
    const double offs[] = {-0.02, 0.02, 0, -0.01, 0.01, 0.0001};
    uint64_t seed = 1;
    for (double off : offs) bad += run(off, bytes, seed++);
    printf("%d UARTs, 6 bit times of the bridge each, %d bytes each way: %d failed\n", UARTS, bytes, bad);
    return bad != 0;
}
