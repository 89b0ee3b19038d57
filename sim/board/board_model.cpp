// A Verilated board behind sim/board/board_api.h: the UART at its pins, a byte at a time.
#include "board_api.h"

#include <cstring>
#include <deque>
#include <memory>
#include <new>

#include "Vheddle.h"
#include "verilated.h"

struct hd_board_rtl {
    VerilatedContext context;
    std::unique_ptr<Vheddle> top;
    std::deque<uint8_t> to_board, from_board;
    int send_bit = -1, send_clock = 0, take_bit = -1, take_clock = 0, value = 0, quiet = 0;
    uint8_t sending = 0;
    uint64_t clocks = 0;
    char fault[17] = "";

    int rx() {
        if (send_bit < 0) {
            if (to_board.empty()) return 1;
            sending = to_board.front();
            to_board.pop_front();
            send_bit = send_clock = 0;
        }
        int level = send_bit == 0 ? 0 : send_bit == 9 ? 1 : (sending >> (send_bit - 1)) & 1;
        if (++send_clock == HD_BOARD_CLOCKS_PER_BIT) {
            send_clock = 0;
            if (++send_bit == 10) send_bit = -1;
        }
        return level;
    }
    void tx(int level) {
        if (take_bit < 0) {
            if (!level) take_bit = take_clock = value = 0;
            return;
        }
        if (++take_clock != take_bit * HD_BOARD_CLOCKS_PER_BIT + HD_BOARD_CLOCKS_PER_BIT / 2) return;
        if (take_bit >= 1 && take_bit <= 8) value |= level << (take_bit - 1);
        if (take_bit++ < 9) return;
        if (level) from_board.push_back(static_cast<uint8_t>(value)); // else a framing error: the bridge drops it
        take_bit = -1;
    }
    void clock() {
        top->rx = static_cast<uint8_t>(rx());
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
        tx(top->tx);
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
    // The link answers some hundred clocks after a request's last byte; only then is silence an end.
    bool busy() const { return !to_board.empty() || send_bit >= 0 || take_bit >= 0 || top->busy || quiet < 4096; }
};

namespace {

hd_board_rtl *board_open() {
    hd_board_rtl *b = new (std::nothrow) hd_board_rtl;
    if (!b) return nullptr;
    b->top.reset(new Vheddle(&b->context));
    b->top->clk = 0;
    b->top->locked = 0;
    for (int i = 0; i < 8; i++) b->clock();
    b->top->locked = 1;
    for (int i = 0; i < 600; i++) b->clock();
    return b;
}

void board_close(hd_board_rtl *b) {
    if (!b) return;
    b->top->final();
    delete b;
}

size_t board_step(hd_board_rtl *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, uint64_t clocks) {
    b->to_board.insert(b->to_board.end(), bytes, bytes + n);
    if (n) b->quiet = 0;
    for (uint64_t i = 0; i < clocks && b->from_board.size() < size && b->busy(); i++) {
        bool before = b->to_board.empty() && b->send_bit < 0 && b->take_bit < 0 && !b->top->busy;
        b->clock();
        b->quiet = before ? b->quiet + 1 : 0;
    }
    size_t got = 0;
    for (; got < size && !b->from_board.empty(); got++) {
        out[got] = b->from_board.front();
        b->from_board.pop_front();
    }
    return got;
}

int board_busy(hd_board_rtl *b) { return b->busy() || !b->from_board.empty(); }
const char *board_fault(hd_board_rtl *b) { return b->fault[0] ? b->fault : nullptr; }
uint64_t board_clocks(hd_board_rtl *b) { return b->clocks; }

const hd_board_api api = {HD_BOARD_API_VERSION, board_open, board_close, board_step, board_busy, board_fault, board_clocks};

} // namespace

extern "C" const hd_board_api *hd_board_api_get(void) { return &api; }
