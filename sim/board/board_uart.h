// What is at the UART pins of a Verilated board: a bridge with a clock of its own, slower by 0.01%.
#ifndef BOARD_UART_H
#define BOARD_UART_H
#include <cstdint>
#include <deque>

#include "board_api.h"

template <class Board> class BoardLink {
  public:
    explicit BoardLink(Board &b) : board(b) {}
    void start(unsigned) {
        for (int i = 0; i < 8; i++) clock();
        board.top->locked = 1;
        for (int i = 0; i < 600; i++) clock();
    }
    // The link answers some hundred clocks after a request's last byte; only then is silence an end.
    bool busy() const { return !from_board.empty() || under_way(); }
    const char *fault() const { return nullptr; }
    size_t step(const uint8_t *bytes, size_t n, uint8_t *out, size_t size, uint64_t clocks) {
        to_board.insert(to_board.end(), bytes, bytes + n);
        if (n) quiet = 0;
        for (uint64_t i = 0; i < clocks && from_board.size() < size && under_way(); i++) {
            bool before = silent();
            clock();
            quiet = before ? quiet + 1 : 0;
        }
        size_t got = 0;
        for (; got < size && !from_board.empty(); got++) {
            out[got] = from_board.front();
            from_board.pop_front();
        }
        return got;
    }

  private:
    Board &board;
    std::deque<uint8_t> to_board, from_board;
    static constexpr double BIT = HD_BOARD_CLOCKS_PER_64_BITS / 64.0 * 1.0001; // a quartz is not as fast as another
    double now = 0, began = -10 * BIT, due = 0;  // clocks; when the byte's start bit began, when the next sample is due
    int take_bit = -1, value = 0, quiet = 0;
    bool sending = false;
    uint8_t byte = 0;

    bool silent() const { return to_board.empty() && !sending && take_bit < 0 && !board.top->busy; }
    bool under_way() const { return !silent() || quiet < 4096; }
    void clock() {
        board.top->rx = static_cast<uint8_t>(rx());
        board.clock();
        tx(board.top->tx);
        now++;
    }
    int rx() {
        if (!sending && to_board.empty()) return 1;
        if (!sending) {
            began = began + 10 * BIT > now ? began + 10 * BIT : now;
            byte = to_board.front();
            to_board.pop_front();
            sending = true;
        }
        int bit = now < began ? -1 : static_cast<int>((now - began) / BIT);
        if (bit >= 10) {
            sending = false;
            return rx();
        }
        return bit < 0 || bit == 9 ? 1 : bit == 0 ? 0 : (byte >> (bit - 1)) & 1;
    }
    void tx(int level) {
        if (take_bit < 0) {
            if (!level) take_bit = value = 0, due = now + BIT / 2;
            return;
        }
        if (now < due) return;
        due += BIT;
        if (take_bit >= 1 && take_bit <= 8) value |= level << (take_bit - 1);
        if (take_bit++ < 9) return;
        if (level) from_board.push_back(static_cast<uint8_t>(value)); // else a framing error: the bridge drops it
        take_bit = -1;
    }
};
#endif
