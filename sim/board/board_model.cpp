// A Verilated board behind sim/board/board_api.h. HD_LINK: the UART at its pins, a byte at a time, or a host's USB packets at its lines.
#include "board_api.h"

#include <cstring>
#include <memory>
#include <new>

#include "Vheddle.h"
#include "verilated.h"

#if HD_LINK == 0
#include "board_uart.h"
#else
#include "board_usb.h"
#endif

struct hd_board_rtl {
    VerilatedContext context;
    std::unique_ptr<Vheddle> top{new Vheddle(&context)};
    uint64_t clocks = 0;
    char fault[17] = "";

    // A cycle of the board's clock; whoever is at its pins has set them.
    void clock() {
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
        clocks++;
        if (!fault[0] && top->fault[3]) {
            // Text of a Verilog string: the last character in the lowest byte.
            int n = 0;
            for (int i = 15; i >= 0; i--) {
                char c = static_cast<char>(top->fault[i / 4] >> (i % 4 * 8));
                if (c) fault[n++] = c;
            }
        }
    }
    BoardLink<hd_board_rtl> link{*this};
};

namespace {

hd_board_rtl *board_open(unsigned clock_hz) {
    hd_board_rtl *b = new (std::nothrow) hd_board_rtl;
    if (!b) return nullptr;
    b->top->clk = 0;
    b->top->usb_clk = 0;
    b->top->locked = 0;
    b->link.start(clock_hz);
    return b;
}

void board_close(hd_board_rtl *b) {
    if (!b) return;
    b->top->final();
    delete b;
}

int board_busy(hd_board_rtl *b) { return b->link.busy(); }
const char *board_fault(hd_board_rtl *b) { return b->fault[0] ? b->fault : b->link.fault(); }
uint64_t board_clocks(hd_board_rtl *b) { return b->clocks; }

#if HD_LINK == 0
size_t board_step(hd_board_rtl *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, uint64_t clocks) { return b->link.step(bytes, n, out, size, clocks); }
const hd_board_api api = {HD_BOARD_API_VERSION, HD_LINK, board_open, board_close, board_busy, board_fault, board_clocks, board_step, nullptr, nullptr, nullptr, nullptr};
#else
int board_reset(hd_board_rtl *b) { return b->link.reset(); }
unsigned board_transact(hd_board_rtl *b, hd_board_transaction *t) { return b->link.transact(*t); }
void board_idle(hd_board_rtl *b, uint64_t clocks) { b->link.idle(clocks); }
uint64_t board_usb_clocks(hd_board_rtl *b) { return b->link.host.clocks; }
const hd_board_api api = {HD_BOARD_API_VERSION, HD_LINK, board_open, board_close, board_busy, board_fault, board_clocks, nullptr, board_reset, board_transact, board_idle, board_usb_clocks};
#endif

} // namespace

extern "C" const hd_board_api *hd_board_api_get(void) { return &api; }
