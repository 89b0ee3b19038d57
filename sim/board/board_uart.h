// What is at the UART pins of a Verilated board: a bridge with a clock of its own, slower by 0.01%.
#ifndef BOARD_UART_H
#define BOARD_UART_H
#include "board_api.h"
#include "uart_bridge.h"

template <class Board> class BoardLink {
  public:
    explicit BoardLink(Board &b) : board(b) {}
    void start(unsigned) {
        for (int i = 0; i < 8; i++) clock();
        board.top->locked = 1;
        for (int i = 0; i < 600; i++) clock();
    }
    // The link answers some hundred clocks after a request's last byte; only then is silence an end.
    bool busy() const { return !bridge.from_board.empty() || under_way(); }
    const char *fault() const { return nullptr; }
    size_t step(const uint8_t *bytes, size_t n, uint8_t *out, size_t size, uint64_t clocks) {
        bridge.to_board.insert(bridge.to_board.end(), bytes, bytes + n);
        if (n) quiet = 0;
        for (uint64_t i = 0; i < clocks && bridge.from_board.size() < size && under_way(); i++) {
            bool before = silent();
            clock();
            quiet = before ? quiet + 1 : 0;
        }
        size_t got = 0;
        for (; got < size && !bridge.from_board.empty(); got++) {
            out[got] = bridge.from_board.front();
            bridge.from_board.pop_front();
        }
        return got;
    }

  private:
    Board &board;
    UartBridge bridge{HD_BOARD_CLOCKS_PER_64_BITS / 64.0 * 1.0001}; // a quartz is not as fast as another
    int quiet = 0;

    bool silent() const { return bridge.silent() && !board.top->busy; }
    bool under_way() const { return !silent() || quiet < 4096; }
    void clock() {
        board.top->rx = static_cast<uint8_t>(bridge.rx());
        board.clock();
        bridge.tx(board.top->tx);
    }
};
#endif
