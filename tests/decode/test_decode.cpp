// hw/decode against the golden model: every weight word, and the cycle of an entry's last one, under random pauses between words.
// test_decode VECTORS SEED: VECTORS as tests/decode/vectors.c prints them.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "Vdecode.h"
#include "verilated.h"

namespace {

struct Entry {
    bool load = false, starts = false;   // starts: first of its segment
    int code = 0, delay = 0;
    std::vector<uint32_t> in, out;
};

struct Expected {
    uint32_t word;
    int64_t cycle;   // of the last word of an entry, else -1
};

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vdecode> top{new Vdecode(&context)};
    std::deque<Expected> expected;
    std::mt19937 random;
    int64_t cycle = 0;
    bool failed = false;

    explicit Bench(unsigned seed) : random(seed) {
        top->clk = 0;
        top->start = 1;
        tick();
        top->start = 0;
        expected.clear();
    }
    void fail(const char *what) {
        if (!failed) printf("FAIL cycle %ld: %s\n", static_cast<long>(cycle), what);
        failed = true;
    }
    // One clock; what comes out is compared.
    void tick() {
        top->eval();
        if (!top->start && top->m_valid) {
            if (expected.empty()) fail("a word that nothing asked for");
            else {
                Expected e = expected.front();
                expected.pop_front();
                if (e.word != top->m_data) fail("wrong weight word");
                if (e.cycle >= 0 && e.cycle != cycle) fail("the entry's last word came in another cycle than predicted");
            }
        }
        top->clk = 1; top->eval();
        top->clk = 0; top->eval();
        cycle++;
    }
    // Between words everything but s_valid is noise, cfg_variant two cycles after the last one.
    void pause(int cycles) {
        top->s_valid = 0;
        for (int i = 0; i < cycles; i++) {
            top->s_data = static_cast<uint32_t>(random());
            top->s_load = random() & 1;
            if (i) top->cfg_variant = random() & 15;
            tick();
        }
    }
    void entry(const Entry &e, int odds) {
        while (e.starts && top->sts_busy) pause(1);
        for (size_t i = 0; i < e.in.size(); i++) {
            pause(1 + (static_cast<int>(random() % 8) < odds ? static_cast<int>(random() % 12) : 0));
            top->s_valid = 1;
            top->s_load = e.load;
            top->cfg_variant = static_cast<uint8_t>(e.code);
            top->s_data = e.in[i];
            if (!e.load && top->sts_words != e.out.size() / 2) fail("sts_words is not the entry's length");
            // words of the entry may come out before its last word went in
            if (i == 0)
                for (size_t k = 0; k + 1 < e.out.size(); k++) expected.push_back({e.out[k], -1});
            if (i + 1 == e.in.size() && !e.out.empty()) expected.push_back({e.out.back(), cycle + e.delay});
            tick();
        }
    }
};

bool run(const std::vector<Entry> &entries, unsigned seed, int odds) {
    Bench b(seed);
    for (const Entry &e : entries) b.entry(e, odds);
    b.pause(40);
    if (!b.expected.empty()) b.fail("words are missing");
    // `start` in the midst of an entry, the last one, whose tables are still there: nothing of it comes afterwards, and the next one is whole.
    for (auto last = entries.rbegin(); last != entries.rend(); ++last) {
        const Entry &e = *last;
        if (e.load) continue;
        Entry half = e;
        half.in.resize((e.in.size() + 1) / 2);
        half.out.assign(e.out.begin(), e.out.end());
        b.entry(half, 0);
        b.top->s_valid = 0;
        b.top->start = 1;
        b.tick();
        b.top->start = 0;
        b.expected.clear();
        b.pause(20);
        b.entry(e, 0);
        b.pause(40);
        if (!b.expected.empty()) b.fail("words are missing after a start");
        break;
    }
    return b.failed;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    std::ifstream file(argv[1]);
    std::vector<Entry> entries;
    std::string line, what;
    Entry next;
    while (std::getline(file, line)) {
        std::istringstream text(line);
        text >> what;
        if (what == "segment") {
            text >> next.load >> next.code >> next.delay;
            next.starts = true;
            continue;
        }
        size_t n = 0;
        text >> n >> std::hex;
        std::vector<uint32_t> words(n);
        for (uint32_t &w : words) text >> w;
        if (what == "in") next.in = words;
        else {
            next.out = words;
            entries.push_back(next);
            next.starts = false;
        }
    }
    bool failed = entries.empty();
    // odds of eight that a word is late: never, sometimes, always
    for (int odds : {0, 3, 8}) failed |= run(entries, static_cast<unsigned>(atoi(argv[2])) + static_cast<unsigned>(odds), odds);
    if (!failed) printf("%zu entries and tables\n", entries.size());
    return failed;
}
