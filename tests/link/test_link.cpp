// hw/link/link.v against a host written from docs/link.md, over pipes that damage, lose and double bytes and put garbage between them.
// The accelerator is a model: memories, a run counter, busy for a random time. Whatever the pipes do: memories and all that was read end up
// as if each request had been executed once and in order, each RUN runs once, and nothing but REG is touched during a run.
// test_link FIRST COUNT: seeds.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include "Vlink.h"
#include "host.h"
#include "verilated.h"

namespace {

struct Random {
    uint64_t s;
    explicit Random(uint64_t seed) : s(seed * 0x9e3779b97f4a7c15ull + 0x1234567) { for (int i = 0; i < 8; i++) next(); }
    uint32_t next() {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        return static_cast<uint32_t>(s >> 16);
    }
    uint32_t below(uint32_t n) { return next() % n; }
    bool chance(double p) { return next() < p * 4294967296.0; }
};

using Memory = std::map<uint64_t, uint32_t>; // by space and address
uint64_t key(unsigned space, uint32_t address) { return static_cast<uint64_t>(space) << 32 | address; }

// What stands behind the host port. Reads answer three cycles after h_re, as heddle_core does; space WEIGHT is slow, as external memory is.
struct Core {
    Memory memory;
    uint64_t runs = 0, writes = 0, faults = 0;
    uint32_t cycles = 0, count = 0, left = 0;
    uint32_t pipe[3] = {0, 0, 0};
    uint32_t wait = 0, late = 0;
    bool reads = false;
    void clock(Vlink *top, Random &r) {
        top->h_rdata = pipe[1];
        pipe[1] = pipe[0];
        if (wait) {
            if (top->h_we || top->h_re) faults++;
            if (!--wait && reads) pipe[0] = late;
        } else if (top->h_space == HD_SPACE_WEIGHT && (top->h_we || top->h_re)) {
            wait = 1 + r.below(r.chance(0.1) ? 400 : 40);
            reads = top->h_re;
            late = memory[key(top->h_space, top->h_addr)];
            pipe[0] = 0xdeadbeef;
        }
        top->h_wait = wait != 0;
        if (top->h_re && !wait) {
            if (left && top->h_space != HD_SPACE_REG) faults++;
            if (top->h_space == HD_SPACE_REG && top->h_addr == HD_REG_CYCLES) pipe[0] = cycles;
            else if (top->h_space == HD_SPACE_REG && top->h_addr == HD_REG_STATUS) pipe[0] = left ? 1 : 2;
            else pipe[0] = memory[key(top->h_space, top->h_addr)];
        }
        if (left) {
            count++;
            if (!--left) cycles = count;
        }
        if (top->h_we) {
            if (left) faults++;
            if (top->h_space == HD_SPACE_REG) {
                if ((top->h_addr & 31) == HD_REG_CONTROL && (top->h_wdata & 1)) {
                    runs++;
                    count = 0;
                    left = 1 + r.below(r.chance(0.2) ? 20000 : 500);
                } else {
                    faults++;
                }
            } else {
                memory[key(top->h_space, top->h_addr)] = top->h_wdata;
                writes++;
            }
        }
        if (!top->core_rst_n) left = 0;
        top->busy = left != 0;
    }
};

// One direction of the pipe.
struct Pipe {
    double damage, lose, doubled, garbage;
    std::deque<uint8_t> bytes;
    void put(uint8_t b, Random &r) {
        if (r.chance(garbage))
            for (uint32_t n = 1 + r.below(20); n; n--) {
                uint32_t start = r.chance(0.5) ? HD_LINK_REQUEST : HD_LINK_REPLY;
                bytes.push_back(static_cast<uint8_t>(r.chance(0.2) ? start : r.next()));
            }
        if (r.chance(lose)) return;
        if (r.chance(damage)) b = static_cast<uint8_t>(b ^ (1u << r.below(8)));
        bytes.push_back(b);
        if (r.chance(doubled)) bytes.push_back(b);
    }
};

Request random_request(Random &r) {
    Request q;
    uint32_t kind = r.below(10);
    q.op = kind < 5 ? HD_LINK_OP_WRITE : kind < 9 ? HD_LINK_OP_READ : HD_LINK_OP_RUN;
    if (q.op == HD_LINK_OP_RUN) return q;
    q.space = r.below(7);
    // Few addresses, so that a request which is executed late or twice is seen; some at the carries of the address counter.
    q.address = r.chance(0.1) ? (1u << (4 + r.below(19))) - 2 : r.below(24);
    q.words.resize(1 + r.below(r.chance(0.1) ? 80 : 8));
    for (uint32_t &w : q.words) w = q.op == HD_LINK_OP_WRITE ? r.next() : 0;
    return q;
}

struct Bench {
    Random r;
    Core core;
    Pipe to_board, to_host;
    Memory wanted;
    Host host;
    uint64_t runs_wanted = 0, wrong = 0, completed = 0, cycles_checked = 0, clocks = 0;
    VerilatedContext context;
    std::unique_ptr<Vlink> top;
    bool slow_pipes;

    Bench(uint64_t seed, double rate)
        : r(seed), to_board{rate, rate, rate, rate / 2, {}}, to_host{rate, rate, rate, rate / 2, {}}, host(30000), top(new Vlink(&context)),
          slow_pipes(seed % 2) {
        host.done = [this](const Request &q) { check(q); };
    }
    void check(const Request &q) {
        completed++;
        if (q.op == HD_LINK_OP_RUN) {
            runs_wanted++;
            // The core cannot have begun another run: the host sends nothing behind a RUN.
            if (q.cycles_known && (cycles_checked++, q.cycles != core.cycles)) wrong++;
        }
        for (size_t i = 0; i < q.words.size(); i++) {
            uint32_t &w = wanted[key(q.space, (q.address + static_cast<uint32_t>(i)) & 0xffffff)];
            if (q.op == HD_LINK_OP_WRITE) w = q.words[i];
            else if (q.op == HD_LINK_OP_READ && w != q.words[i]) wrong++;
        }
    }
    void clock() {
        uint8_t b;
        bool has = !to_board.bytes.empty() && (!slow_pipes || r.chance(0.2));
        if (!top->s_byte_valid && has) {
            top->s_byte_valid = 1;
            top->s_byte_data = to_board.bytes.front();
            to_board.bytes.pop_front();
        }
        top->m_byte_ready = !slow_pipes || r.chance(0.1);
        top->eval();
        if (top->m_byte_valid && top->m_byte_ready) to_host.put(top->m_byte_data, r);
        bool taken = top->s_byte_valid && top->s_byte_ready;
        Vlink *t = top.get();
        // The model of the core sees this cycle's outputs; what it answers is seen from the next cycle on.
        uint32_t rdata_before = t->h_rdata;
        uint8_t busy_before = t->busy, wait_before = t->h_wait;
        core.clock(t, r);
        uint32_t rdata = t->h_rdata;
        uint8_t busy = t->busy, wait = t->h_wait;
        t->h_rdata = rdata_before;
        t->busy = busy_before;
        t->h_wait = wait_before;
        t->clk = 1;
        t->eval();
        t->h_rdata = rdata;
        t->busy = busy;
        t->h_wait = wait;
        t->clk = 0;
        t->eval();
        if (taken) t->s_byte_valid = 0;
        if (to_board.bytes.size() < 4 && host.next(b)) to_board.put(b, r);
        if (!to_host.bytes.empty()) {
            host.receive(to_host.bytes.front());
            to_host.bytes.pop_front();
        }
        host.clock();
        clocks++;
    }
    void reset() {
        top->rst_n = 0;
        top->s_byte_valid = 0;
        top->m_byte_ready = 0;
        for (int i = 0; i < 4; i++) {
            top->clk = 1;
            top->eval();
            top->clk = 0;
            top->eval();
        }
        top->rst_n = 1;
    }
};

int fail(uint64_t seed, const Bench &b, const char *what) {
    printf("FAIL seed %llu: %s (%llu requests done, %llu clocks)\n", static_cast<unsigned long long>(seed), what, static_cast<unsigned long long>(b.completed),
           static_cast<unsigned long long>(b.clocks));
    return 1;
}

int one(uint64_t seed, uint64_t *repeats, uint64_t *requests) {
    static const double rates[] = {0, 0.0002, 0.001, 0.004};
    double rate = rates[seed % 4];
    Bench b(seed, rate);
    b.reset();
    b.host.sync(static_cast<uint32_t>(seed) * 2654435761u);
    uint32_t n = 60;
    for (uint32_t i = 0; i < n; i++) b.host.add(random_request(b.r));
    while (!b.host.idle() && b.clocks < 60000000) {
        b.clock();
        if (b.core.faults || b.wrong) break;
    }
    for (int i = 0; i < 25000; i++) b.clock(); // the last run may still go on
    *repeats += b.host.repeats;
    *requests += n;
    if (b.core.faults) return fail(seed, b, "the core was touched while it ran, or a register was written");
    if (b.wrong) return fail(seed, b, "words or cycles that were reported as right are wrong");
    if (!b.host.idle()) return fail(seed, b, "no end");
    if (rate == 0 && b.host.repeats) return fail(seed, b, "a request was sent again over a pipe without errors");
    if (b.core.runs != b.runs_wanted) return fail(seed, b, "the number of runs differs");
    for (const auto &w : b.wanted)
        if (b.core.memory[w.first] != w.second) return fail(seed, b, "a memory differs at the end");
    return 0;
}

// Replies to requests that are wrong, byte for byte.
std::vector<uint8_t> frame(int op, unsigned number, unsigned count, unsigned space, uint32_t address) {
    std::vector<uint8_t> f = {HD_LINK_REQUEST, static_cast<uint8_t>(op | number << 4), static_cast<uint8_t>(count), static_cast<uint8_t>(count >> 8),
                              static_cast<uint8_t>(space), static_cast<uint8_t>(address), static_cast<uint8_t>(address >> 8),
                              static_cast<uint8_t>(address >> 16), static_cast<uint8_t>(address >> 24)};
    uint32_t c = Host::crc(&f[1], 8);
    for (int i = 0; i < 4; i++) f.push_back(static_cast<uint8_t>(c >> (8 * i)));
    return f;
}

struct Single {
    Random r{1};
    Core core;
    VerilatedContext context;
    std::unique_ptr<Vlink> top{new Vlink(&context)};
    std::vector<uint8_t> out;
    void cycle() {
        Vlink *t = top.get();
        t->m_byte_ready = 1;
        t->eval();
        if (t->m_byte_valid) out.push_back(t->m_byte_data);
        uint32_t rdata_before = t->h_rdata;
        uint8_t busy_before = t->busy;
        core.clock(t, r);
        uint32_t rdata = t->h_rdata;
        uint8_t busy = t->busy;
        t->h_rdata = rdata_before;
        t->busy = busy_before;
        t->clk = 1;
        t->eval();
        t->h_rdata = rdata;
        t->busy = busy;
        t->clk = 0;
        t->eval();
    }
    void reset() {
        top->rst_n = 0;
        top->s_byte_valid = 0;
        for (int i = 0; i < 4; i++) cycle();
        top->rst_n = 1;
        out.clear();
    }
    void send(const std::vector<uint8_t> &bytes) {
        for (uint8_t b : bytes) {
            top->s_byte_valid = 1;
            top->s_byte_data = b;
            bool taken = false;
            while (!taken) {
                top->eval();
                taken = top->s_byte_ready;
                cycle();
            }
            top->s_byte_valid = 0;
        }
    }
    std::vector<uint8_t> ask(const std::vector<uint8_t> &bytes, int wait = 2000) {
        out.clear();
        send(bytes);
        for (int i = 0; i < wait; i++) cycle();
        return out;
    }
};

int expect(const char *what, const std::vector<uint8_t> &got, int status, unsigned number, int op, unsigned count, uint32_t address) {
    std::vector<uint8_t> want = frame(status, number, count, static_cast<unsigned>(op), address);
    want[0] = HD_LINK_REPLY;
    if (got.size() >= 13 && std::vector<uint8_t>(got.begin(), got.begin() + 13) == want && (count || got.size() == 13)) return 0;
    printf("FAIL %s: reply of %zu bytes", what, got.size());
    for (uint8_t b : got) printf(" %02x", b);
    printf(", wanted");
    for (uint8_t b : want) printf(" %02x", b);
    printf("\n");
    return 1;
}

int rules() {
    Single s;
    int bad = 0;
    s.reset();
    bad += expect("SYNC", s.ask(frame(HD_LINK_OP_SYNC, 9, 5, 3, 0x89abcdef)), HD_LINK_STATUS_OK, 9, HD_LINK_OP_SYNC, 0, 0x89abcdef);
    bad += expect("wrong number", s.ask(frame(HD_LINK_OP_RUN, 2, 0, 0, 0)), HD_LINK_STATUS_NUMBER, 1, HD_LINK_OP_RUN, 0, 0);
    bad += expect("unknown operation", s.ask(frame(7, 1, 3, 0, 0)), HD_LINK_STATUS_REQUEST, 1, 7, 0, 0);
    bad += expect("READ of nothing", s.ask(frame(HD_LINK_OP_READ, 1, 0, 0, 0)), HD_LINK_STATUS_REQUEST, 1, HD_LINK_OP_READ, 0, 0);
    bad += expect("WRITE of nothing", s.ask(frame(HD_LINK_OP_WRITE, 1, 0, 0, 0)), HD_LINK_STATUS_REQUEST, 1, HD_LINK_OP_WRITE, 0, 0);
    bad += expect("unknown space", s.ask(frame(HD_LINK_OP_READ, 1, 1, 8, 0)), HD_LINK_STATUS_REQUEST, 1, HD_LINK_OP_READ, 0, 0);
    // A header with a wrong CRC is silence, at every bit.
    for (size_t bit = 8; bit < 13 * 8; bit++) {
        std::vector<uint8_t> f = frame(HD_LINK_OP_RUN, 1, 0, 0, 0);
        f[bit / 8] = static_cast<uint8_t>(f[bit / 8] ^ (1u << (bit % 8)));
        if (!s.ask(f, 200).empty()) bad++, printf("FAIL: an answer to a header damaged at bit %zu\n", bit);
    }
    // Words that came damaged: DATA, the number stays.
    std::vector<uint8_t> f = frame(HD_LINK_OP_WRITE, 1, 2, 2, 7), body = {1, 2, 3, 4, 5, 6, 7, 8};
    uint32_t c = Host::crc(body.data(), 8);
    for (int i = 0; i < 4; i++) body.push_back(static_cast<uint8_t>(c >> (8 * i)));
    for (size_t bit = 0; bit < 12 * 8; bit += 5) {
        std::vector<uint8_t> g = f;
        g.insert(g.end(), body.begin(), body.end());
        g[13 + bit / 8] = static_cast<uint8_t>(g[13 + bit / 8] ^ (1u << (bit % 8)));
        bad += expect("damaged words", s.ask(g), HD_LINK_STATUS_DATA, 1, HD_LINK_OP_WRITE, 0, 0);
    }
    f.insert(f.end(), body.begin(), body.end());
    bad += expect("WRITE", s.ask(f), HD_LINK_STATUS_OK, 1, HD_LINK_OP_WRITE, 0, 0);
    if (s.core.memory[key(2, 7)] != 0x04030201 || s.core.memory[key(2, 8)] != 0x08070605) bad++, printf("FAIL: WRITE stored other words\n");
    uint64_t writes = s.core.writes;
    bad += expect("WRITE again", s.ask(f), HD_LINK_STATUS_NUMBER, 2, HD_LINK_OP_WRITE, 0, 0);
    if (s.core.writes != writes) bad++, printf("FAIL: a WRITE with an old number stored words\n");
    // During a run: only SYNC and READ of registers.
    s.core.runs = 0;
    s.send(frame(HD_LINK_OP_RUN, 2, 0, 0, 0));
    for (int i = 0; i < 5; i++) s.cycle();
    s.core.left = 30000;
    bad += expect("WRITE while busy", s.ask([&] { auto g = f; auto h = frame(HD_LINK_OP_WRITE, 3, 2, 2, 7); std::copy(h.begin(), h.end(), g.begin()); return g; }()),
                  HD_LINK_STATUS_BUSY, 3, HD_LINK_OP_WRITE, 0, 0);
    bad += expect("READ while busy", s.ask(frame(HD_LINK_OP_READ, 3, 1, 0, 0)), HD_LINK_STATUS_BUSY, 3, HD_LINK_OP_READ, 0, 0);
    bad += expect("STATUS while busy", s.ask(frame(HD_LINK_OP_READ, 3, 1, HD_SPACE_REG, HD_REG_STATUS)), HD_LINK_STATUS_OK, 3, HD_LINK_OP_READ, 1, 0);
    bad += expect("RUN while busy", s.ask(frame(HD_LINK_OP_RUN, 4, 0, 0, 0)), HD_LINK_STATUS_BUSY, 4, HD_LINK_OP_RUN, 0, 0);
    if (s.core.runs != 1 || s.core.faults) bad++, printf("FAIL: %llu runs, %llu faults\n", (unsigned long long)s.core.runs, (unsigned long long)s.core.faults);
    s.out.clear();
    for (int i = 0; i < 40000; i++) s.cycle();
    bad += expect("RUN's reply", s.out, HD_LINK_STATUS_OK, 2, HD_LINK_OP_RUN, 0, s.core.cycles);
    // Requests behind a READ wait until it is answered.
    for (uint32_t i = 0; i < 3; i++) s.core.memory[key(1, 0xffff + i)] = 0x11223344u * (i + 1);
    auto two = frame(HD_LINK_OP_READ, 4, 3, 1, 0xffff), second = frame(HD_LINK_OP_READ, 5, 1, HD_SPACE_REG, HD_REG_CYCLES);
    two.insert(two.end(), second.begin(), second.end());
    std::vector<uint8_t> both = s.ask(two);
    bad += expect("first of two READs", both, HD_LINK_STATUS_OK, 4, HD_LINK_OP_READ, 3, 0);
    if (both.size() == 13 + 16 + 21) {
        for (uint32_t i = 0; i < 12; i++)
            if (both[13 + i] != static_cast<uint8_t>(s.core.memory[key(1, 0xffff + i / 4)] >> (i % 4 * 8))) bad++, printf("FAIL: byte %u of the words read\n", i);
        bad += expect("second of two READs", {both.begin() + 29, both.end()}, HD_LINK_STATUS_OK, 5, HD_LINK_OP_READ, 1, 0);
    } else bad++, printf("FAIL: two READs gave %zu bytes\n", both.size());
    // A SYNC ends a run.
    s.send(frame(HD_LINK_OP_RUN, 6, 0, 0, 0));
    for (int i = 0; i < 5; i++) s.cycle();
    s.core.left = 30000;
    bad += expect("SYNC while busy", s.ask(frame(HD_LINK_OP_SYNC, 0, 0, 0, 5)), HD_LINK_STATUS_OK, 0, HD_LINK_OP_SYNC, 0, 5);
    if (s.core.left) bad++, printf("FAIL: SYNC did not end the run\n");
    // A frame that stops is forgotten after the time-out; the next request is then understood.
    s.send({HD_LINK_REQUEST, 1, 2});
    for (int i = 0; i < (1 << 10) + 10; i++) s.cycle();
    bad += expect("READ after a frame that stopped", s.ask(frame(HD_LINK_OP_READ, 1, 1, HD_SPACE_REG, HD_REG_STATUS)), HD_LINK_STATUS_OK, 1, HD_LINK_OP_READ, 1, 0);
    return bad;
}

} // namespace

int main(int argc, char **argv) {
    uint64_t first = argc > 1 ? strtoull(argv[1], nullptr, 10) : 1, count = argc > 2 ? strtoull(argv[2], nullptr, 10) : 20, bad = 0, repeats = 0, requests = 0;
    bad += static_cast<uint64_t>(rules());
    for (uint64_t seed = first; seed < first + count && bad < 5; seed++) bad += static_cast<uint64_t>(one(seed, &repeats, &requests));
    printf("seeds %llu..%llu: %llu requests, %llu sent again, %llu failed\n", static_cast<unsigned long long>(first), static_cast<unsigned long long>(first + count - 1),
           static_cast<unsigned long long>(requests), static_cast<unsigned long long>(repeats), static_cast<unsigned long long>(bad));
    return bad != 0;
}
