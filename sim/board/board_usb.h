// What is at the USB lines of a Verilated board: a host, at the level of lines and packets (fs_host.h, ulpi_host.h), with frames. It runs on USB's clock; the board's
// own clock passes beside it in the ratio of their frequencies.
#ifndef BOARD_USB_H
#define BOARD_USB_H
#include <algorithm>
#include <cstdint>

#include "board_api.h"
#include "fs_host.h"
#include "ulpi_host.h"

template <class Board> class BoardLink {
  public:
#if HD_LINK == 1
    using Host = FsHost;
    enum : uint64_t { HZ = 48000000 };
#else
    using Host = UlpiHost;
    enum : uint64_t { HZ = 60000000 };
#endif
    Host host;

    explicit BoardLink(Board &b) : host(bus()), board(b) {}
    void start(unsigned clock_hz) {
        ratio = static_cast<double>(clock_hz) / static_cast<double>(HZ);
        host.idle(8);
        board.top->locked = 1;
        host.idle(static_cast<int>(1200 + 600 / ratio));
        next_frame = host.clocks;
    }
    // A run, or bytes that the link may still have to answer: the FIFOs hold 2 KiB at most, at 8 clocks a byte.
    bool busy() const { return board.top->busy || board.clocks < awake; }
    const char *fault() const { return host.violations ? host.violation.c_str() : nullptr; }

    int reset() {
        // A frame of the link that was broken off is forgotten (TIMEOUT_BITS of virtual_board.v), as between two programs of a real host.
        if (dirty) idle(static_cast<uint64_t>((1 << 16) / ratio) + 1);
        dirty = false;
        if (!connected()) return -1;
        host.reset();
        host.idle(1000);
        next_frame = host.clocks;
        return is_high();
    }
    unsigned transact(hd_board_transaction &t) {
        room(t.token == P_IN ? 512 : t.n);
        uint8_t pid;
        Bytes body;
        host.token(static_cast<uint8_t>(t.token), static_cast<int>(t.address), static_cast<int>(t.endpoint));
        if (t.token == P_OUT || t.token == P_SETUP) host.data(static_cast<uint8_t>(t.data_pid), Bytes(t.bytes, t.bytes + t.n));
        uint64_t before = host.violations;
        if (!host.receive(pid, body) || host.violations != before) return 0;
        if (pid == P_NAK || pid == P_STALL) return pid;
        if (t.token != P_IN) {
            if (pid != P_ACK && pid != P_NYET) return 0;
            if (t.token == P_OUT && t.endpoint) wake();
            return pid;
        }
        if (pid != P_DATA0 && pid != P_DATA1) return 0;
        host.send(P_ACK, {});
        host.idle(12);
        std::copy(body.begin(), body.end(), t.bytes);
        t.n = body.size();
        if (t.endpoint) wake();
        return pid;
    }
    void idle(uint64_t clocks) {
        for (uint64_t end = host.clocks + clocks; host.clocks < end;) {
            frame();
            uint64_t part = next_frame < end ? next_frame : end;
            while (host.clocks < part) host.idle(1);
        }
    }

  private:
    Board &board;
    double ratio = 1, debt = 0;
    uint64_t next_frame = 0, awake = 0;
    int frames = 0;
    bool dirty = false; // bytes came since the last reset

#if HD_LINK == 1
    Lines bus() {
        return Lines{[this](bool p, bool n) { clock(p, n); }, [this] { return board.top->usb_oe != 0; }, [this] { return board.top->dp_o != 0; }, [this] { return board.top->dn_o != 0; }};
    }
    void clock(bool p, bool n) {
        bool oe = board.top->usb_oe;
        board.top->dp_i = oe ? board.top->dp_o : p;
        board.top->dn_i = oe ? board.top->dn_o : n;
        edges();
    }
    int is_high() { return 0; }
    bool connected() { return board.top->usb_pull; }
#else
    UlpiBus bus() {
        return UlpiBus{[this](uint8_t d, bool dir, bool nxt) { clock(d, dir, nxt); }, [this] { return board.top->ulpi_o; }, [this] { return board.top->usb_oe != 0; },
                       [this] { return board.top->ulpi_stp != 0; }};
    }
    void clock(uint8_t d, bool dir, bool nxt) {
        board.top->ulpi_i = d;
        board.top->ulpi_dir = dir;
        board.top->ulpi_nxt = nxt;
        edges();
    }
    int is_high() { return host.high; }
    bool connected() { return true; } // its transceiver pulls
#endif
    void edges() {
        board.top->usb_clk = 1;
        board.top->eval();
        board.top->usb_clk = 0;
        for (debt += ratio; debt >= 1; debt -= 1) board.clock();
        board.top->eval();
    }
    void wake() {
        awake = board.clocks + 32768;
        dirty = true;
    }
    uint64_t frame_clocks() { return is_high() ? HZ / 8000 : HZ / 1000; }
    void frame() {
        if (host.clocks < next_frame) return;
        host.start_of_frame(is_high() ? frames / 8 : frames);
        frames++;
        next_frame += frame_clocks();
        if (next_frame <= host.clocks) next_frame = host.clocks + frame_clocks(); // nobody was there for a while
    }
    // Until a transaction of n bytes ends before the next frame begins, as hosts plan them.
    void room(size_t n) {
        uint64_t needed = is_high() ? 120 + 5 * n / 4 : 500 + 38 * (n < 64 ? n : 64);
        frame();
        if (host.clocks + needed <= next_frame) return;
        while (host.clocks < next_frame) host.idle(1);
        frame();
    }
};
#endif
