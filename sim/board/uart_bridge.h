// The UART bridge at a board's pins, clocked by the board: bytes as levels of the board's rx, levels of its tx as bytes (a start bit, eight bits from the lowest, a stop bit).
#ifndef UART_BRIDGE_H
#define UART_BRIDGE_H
#include <cstdint>
#include <deque>

class UartBridge {
  public:
    // clocks: of the board, in a bit.
    explicit UartBridge(double clocks) : bit(clocks), began(-10 * clocks) {}
    std::deque<uint8_t> to_board, from_board;
    // In each clock rx first, then tx.
    int rx() {
        if (!sending && to_board.empty()) return 1;
        if (!sending) {
            began = began + 10 * bit > now ? began + 10 * bit : now;
            byte = to_board.front();
            to_board.pop_front();
            sending = true;
        }
        int at = now < began ? -1 : static_cast<int>((now - began) / bit);
        if (at >= 10) {
            sending = false;
            return rx();
        }
        return at < 0 || at == 9 ? 1 : at == 0 ? 0 : (byte >> (at - 1)) & 1;
    }
    void tx(int level) {
        take(level);
        now++;
    }
    // Neither byte nor part of one is under way.
    bool silent() const { return to_board.empty() && !sending && take_bit < 0; }

  private:
    double bit, now = 0, began, due = 0; // clocks; when the byte's start bit began, when the next sample is due
    int take_bit = -1, value = 0;
    bool sending = false;
    uint8_t byte = 0;

    void take(int level) {
        if (take_bit < 0) {
            if (!level) take_bit = value = 0, due = now + bit / 2;
            return;
        }
        if (now < due) return;
        due += bit;
        if (take_bit >= 1 && take_bit <= 8) value |= level << (take_bit - 1);
        if (take_bit++ < 9) return;
        if (level) from_board.push_back(static_cast<uint8_t>(value)); // else a framing error: the bridge drops it
        take_bit = -1;
    }
};
#endif
