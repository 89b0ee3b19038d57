// hw/lib/fifo_async.v between clocks of any ratio and phase, edges at the same moment included: what comes out is what went in, once and in order, nothing is taken
// while it is full, all of its places can be used, and both sides go on. test_fifo STEPS.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>

#include "Vfifo_async.h"
#include "verilated.h"

namespace {

uint64_t state = 88172645463325252ull;
uint32_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<uint32_t>(state >> 16);
}
bool chance(double p) { return next() < p * 4294967296.0; }

// A stretch of time with clocks of these chances a step, and sides that are ready with these chances a clock.
int stretch(Vfifo_async *t, std::deque<uint8_t> &inside, double s_rate, double m_rate, double s_ready, double m_ready, int steps, size_t &most) {
    uint64_t s_clocks = 0, m_clocks = 0, moved = 0;
    for (int i = 0; i < steps; i++) {
        bool s = chance(s_rate), m = chance(m_rate);
        // Both sides look before the edge; what one does at an edge the other cannot see at the same one.
        bool write = s && t->s_byte_valid && t->s_byte_ready, read = m && t->m_byte_valid && t->m_byte_ready;
        if (read && (inside.empty() || inside.front() != t->m_byte_data)) return std::printf("FAIL: %zu bytes inside, %d comes out\n", inside.size(), t->m_byte_data), 1;
        if (read) inside.pop_front(), moved++;
        if (write) inside.push_back(t->s_byte_data);
        if (inside.size() > most) most = inside.size();
        if (inside.size() > 16) return std::printf("FAIL: %zu bytes in 16 places\n", inside.size()), 1;
        t->s_clk = s, t->m_clk = m;
        t->eval();
        t->s_clk = t->m_clk = 0;
        t->eval();
        s_clocks += s, m_clocks += m;
        // A byte that was offered stays until it is taken.
        if (s && (write || !t->s_byte_valid)) {
            t->s_byte_valid = chance(s_ready);
            t->s_byte_data = static_cast<uint8_t>(next());
        }
        if (m) t->m_byte_ready = chance(m_ready);
        t->eval();
    }
    // With everybody ready the slower clock bounds the rate; the round trip of the counts takes at most 8 clocks of both for 16 bytes.
    uint64_t least = s_clocks < m_clocks ? s_clocks : m_clocks;
    if (s_ready == 1 && m_ready == 1 && moved < least * 9 / 10 - 20) return std::printf("FAIL: %llu bytes in %llu clocks\n", (unsigned long long)moved, (unsigned long long)least), 1;
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    int steps = argc > 1 ? std::atoi(argv[1]) : 20000;
    VerilatedContext context;
    auto t = std::make_unique<Vfifo_async>(&context);
    std::deque<uint8_t> inside;
    size_t most = 0;
    static const double rates[] = {1, 0.9, 0.5, 0.2, 0.05}, ready[] = {1, 0.5, 0.05};
    t->s_rst_n = t->m_rst_n = 0;
    t->s_byte_valid = t->m_byte_ready = 0;
    for (int i = 0; i < 4; i++) {
        t->s_clk = t->m_clk = 1;
        t->eval();
        t->s_clk = t->m_clk = 0;
        t->eval();
    }
    t->s_rst_n = t->m_rst_n = 1;
    for (double s_rate : rates)
        for (double m_rate : rates)
            for (double s_ready : ready)
                for (double m_ready : ready)
                    if (stretch(t.get(), inside, s_rate, m_rate, s_ready, m_ready, steps, most)) return 1;
    if (most != 16) return std::printf("FAIL: at most %zu of 16 places were used\n", most), 1;
    std::printf("225 pairs of clocks and sides, %d steps each: right\n", steps);
    return 0;
}
