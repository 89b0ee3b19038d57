// What is at the UART pins of a Verilated board: a sender and a receiver of exactly HD_BOARD_CLOCKS_PER_BIT clocks a bit.
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
    int send_bit = -1, send_clock = 0, take_bit = -1, take_clock = 0, value = 0, quiet = 0;
    uint8_t sending = 0;

    bool silent() const { return to_board.empty() && send_bit < 0 && take_bit < 0 && !board.top->busy; }
    bool under_way() const { return !silent() || quiet < 4096; }
    void clock() {
        board.top->rx = static_cast<uint8_t>(rx());
        board.clock();
        tx(board.top->tx);
    }
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
};
#endif
