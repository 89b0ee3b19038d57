// Runs a script of board_script.c on a Verilated board top through its UART pins and compares every word and the cycles.
// Built with -DCLOCKS_PER_BIT, of the top's CLK; the model's prefix is Vboard. With HAS_SDRAM a second model, Vmemory, is at the board's SDRAM pins.
// board_bench SCRIPT
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "../../sim/board/uart_bridge.h"
#include "../link/host.h"
#include "Vboard.h"
#ifdef HAS_SDRAM
#include "Vmemory.h"
#endif
#include "verilated.h"

namespace {

#ifdef HAS_SDRAM
// One half of a clock of the FPGA (in ulx3s_pins.v) and its memory. What the FPGA drives changes with CLK's rising edge, what the memory drives with the falling
// one, which is the rising one of its clock: there each takes what the other gave before. False after a broken rule.
bool half_clock(Vboard &top, Vmemory &memory, bool clk) {
    if (clk) top.give = 0;
    top.CLK = clk;
    top.eval();
    const char *rule = !top.sdram_cke ? "CKE is low" : top.sdram_clk == clk ? "sdram_clk is not the inverted clock" : nullptr;
    if (clk) {
        if (top.floating && top.floating != 0xffff) rule = "some of the data pins are driven";
        memory.sd_cmd = static_cast<uint8_t>(top.sdram_csn << 3 | top.sdram_rasn << 2 | top.sdram_casn << 1 | top.sdram_wen);
        memory.sd_bank = top.sdram_ba;
        memory.sd_addr = top.sdram_a;
        memory.sd_dqm = top.sdram_dqm != 0;
        memory.sd_out = top.data;
        memory.sd_oe = !top.floating;
        top.give = top.floating != 0;
        top.given = memory.sd_in;
    }
    memory.clk = top.sdram_clk;
    memory.eval();
    if (rule) return printf("FAIL: %s\n", rule), false;
    if (!memory.fault[0]) return true;
    char name[17] = "";
    for (int i = 0, n = 0; i < 16; i++) {
        char c = static_cast<char>(memory.fault[3 - i / 4] >> (24 - 8 * (i % 4)));
        if (c) name[n++] = c;
    }
    return printf("FAIL: the memory's rule '%s' was broken in clock %llu\n", name, (unsigned long long)memory.fault_at), false;
}
#endif

} // namespace

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    std::ifstream file(argv[1]);
    std::string line;
    Host host(300000);
    std::deque<Request> wanted; // in the order of the script: READ with the words that must come, RUN with its cycles
    int programs = 0;
    while (std::getline(file, line)) {
        std::istringstream in(line);
        char kind = 0;
        Request q;
        in >> kind;
        if (kind == '#') {
            programs++;
            continue;
        }
        if (kind == 'R') {
            q.op = HD_LINK_OP_RUN;
            in >> q.cycles;
        } else {
            size_t n = 0;
            q.op = kind == 'W' ? HD_LINK_OP_WRITE : HD_LINK_OP_READ;
            in >> q.space >> q.address >> n >> std::hex;
            q.words.resize(n);
            for (uint32_t &w : q.words) in >> w;
        }
        if (!in) return printf("FAIL: bad line '%.60s'\n", line.c_str()), 1;
        if (q.op != HD_LINK_OP_WRITE) wanted.push_back(q);
        host.add(q);
    }
    uint64_t compared = 0, wrong = 0, runs = 0, total = 0;
    host.done = [&](const Request &q) {
        if (q.op == HD_LINK_OP_WRITE) return;
        const Request &w = wanted.front();
        if (q.op == HD_LINK_OP_RUN) {
            runs++;
            total += w.cycles;
            if (!q.cycles_known || q.cycles != w.cycles) wrong++, printf("run %llu: %u cycles, model %u\n", (unsigned long long)runs, q.cycles, w.cycles);
        }
        for (size_t i = 0; q.op == HD_LINK_OP_READ && i < q.words.size(); i++, compared++)
            if (q.words[i] != w.words[i] && wrong++ < 10)
                printf("run %llu, space %u, word %zu: %08x, model %08x\n", (unsigned long long)runs, q.space, q.address + i, q.words[i], w.words[i]);
        wanted.pop_front();
    };
    VerilatedContext context;
    std::unique_ptr<Vboard> top(new Vboard(&context));
    UartBridge uart(CLOCKS_PER_BIT);
#ifdef HAS_BUTTON
    top->BTN_N = 1;
#endif
#ifdef HAS_SDRAM
    std::unique_ptr<Vmemory> memory(new Vmemory(&context));
#endif
    top->RX = 1;
    uint64_t clocks = 0, limit = 400000000;
    for (; !host.idle() && clocks < limit; clocks++) {
        if (clocks == 2000) host.sync(0x600dbeef);
        uint8_t byte;
        while (clocks >= 2000 && uart.to_board.size() < 2 && host.next(byte)) uart.to_board.push_back(byte);
        top->RX = static_cast<uint8_t>(uart.rx());
        for (int clk = 1; clk >= 0; clk--) {
#ifdef HAS_SDRAM
            if (!half_clock(*top, *memory, clk)) return 1;
#else
            top->CLK = static_cast<uint8_t>(clk);
            top->eval();
#endif
        }
        uart.tx(top->TX);
        for (uint8_t b : uart.from_board) host.receive(b);
        uart.from_board.clear();
        if (clocks >= 2000) host.clock();
    }
    if (!host.idle()) printf("FAIL: the board does not answer\n");
    printf("%d programs, %llu runs of %llu cycles, %llu words compared, %llu clocks, %llu requests sent again, %llu wrong\n", programs, (unsigned long long)runs,
           (unsigned long long)total, (unsigned long long)compared, (unsigned long long)clocks, (unsigned long long)host.repeats, (unsigned long long)wrong);
    return wrong || !host.idle() || !compared || host.repeats;
}
