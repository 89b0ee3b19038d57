// A ULPI transceiver with a USB host at its other end, as far as a device behind it can tell: bus turnarounds, RXCMDs, register writes, packets with a byte in any
// cycle, chirps. Written from the ULPI specification 1.1 and USB 2.0; the host's packets and CRCs are those of fs_host.h.
#ifndef ULPI_HOST_H
#define ULPI_HOST_H
#include <deque>

#include "fs_host.h"

struct UlpiBus {
    std::function<void(uint8_t data, bool dir, bool nxt)> clock; // one clock with these inputs
    std::function<uint8_t()> data;
    std::function<bool()> drives, stp;
};

class UlpiHost {
  public:
    explicit UlpiHost(UlpiBus b, uint64_t seed = 1) : bus(std::move(b)), s(seed * 77 + 5) {}
    double skew = 0; // the transceiver's business
    uint64_t clocks = 0, violations = 0;
    std::string violation;
    bool knows_high = true; // the host
    bool high = false;      // how it ended
    int us = 6;             // clocks of a microsecond, as the device is built
    uint8_t function = 0, otg = 6;
    unsigned full = 64;     // bytes of a full packet
    double interrupt = 0;   // of what the device begins, by an RXCMD

    void idle(int n) {
        for (int i = 0; i < n; i++) quiet();
    }
    // J, 100 us after power-up; then SE0 until the device has had its chirps.
    void reset() {
        for (int i = 0; i < 40; i++) quiet();
        high = false;
        line_state(0);
        int chirp = 0;
        for (int i = 0; i < 6000 * us; i++) {
            chirping = false;
            quiet();
            if (chirping) chirp++;
            if (chirp && !chirping) break;
            if (chirping && (function & 0x1f) != 0x14) wrong("chirps with function control " + std::to_string(function));
        }
        if (chirp < 1000 * us) wrong("chirps for " + std::to_string(chirp / us) + " us; at least 1000 are needed");
        if (chirp > 7000 * us) wrong("chirps too long");
        if (knows_high) {
            for (int i = 0; i < 4; i++) {
                line_state(2);
                idle(50 * us);
                line_state(1);
                idle(50 * us);
            }
            line_state(0);
            idle(100 * us);
            high = (function & 0x5f) == 0x40;
            if (!high) wrong("is not at high speed after the chirps: function control " + std::to_string(function));
        } else {
            idle(4000 * us);
            if ((function & 0x5f) != 0x45) wrong("is not back at full speed: function control " + std::to_string(function));
            line_state(1);
            idle(10 * us);
        }
        if (otg != 0) wrong("left its pull-downs on");
        full = high ? 512 : 64;
    }

    void send(uint8_t pid, const Bytes &body, const Damage &d = Damage()) {
        Bytes all{static_cast<uint8_t>(pid | (~pid & 15) << 4)};
        all.insert(all.end(), body.begin(), body.end());
        if (d.flip >= 0) {
            size_t at = static_cast<size_t>(d.flip) % (8 * all.size());
            all[at / 8] = static_cast<uint8_t>(all[at / 8] ^ 1 << at % 8);
        }
        if (d.cut >= 0 && static_cast<size_t>(d.cut) / 8 < all.size()) all.resize(static_cast<size_t>(d.cut) / 8);
        // The turnaround says that a packet begins, or an RXCMD after it.
        bool with_nxt = chance(0.5);
        drive(0, true, with_nxt);
        if (!with_nxt) drive(status(0x10), true, false);
        for (size_t i = 0; i < all.size(); i++) {
            int gap = high ? (chance(0.2) ? 1 : 0) : 39;
            for (int k = 0; k < gap; k++) drive(status(0x10), true, false);
            drive(all[i], true, true);
        }
        if (d.stuff) drive(status(0x30), true, false);
        if (chance(0.5)) drive(status(0x00), true, false); // or the bus is simply given back
        drive(0, false, false);
        since = 0;
    }
    void token(uint8_t pid, int address, int endpoint, const Damage &d = Damage()) {
        int v = address | endpoint << 7;
        send(pid, {static_cast<uint8_t>(v), static_cast<uint8_t>(v >> 8 | FsHost::crc5(v) << 3)}, d);
        if (pid != P_IN && pid != P_PING) idle(high ? 4 : 20);
    }
    void start_of_frame(int frame) {
        int v = frame & 0x7ff;
        send(P_SOF, {static_cast<uint8_t>(v), static_cast<uint8_t>(v >> 8 | FsHost::crc5(v) << 3)});
        idle(20);
    }
    void data(uint8_t pid, Bytes body, const Damage &d = Damage()) {
        uint16_t c = FsHost::crc16(body);
        body.push_back(static_cast<uint8_t>(c));
        body.push_back(static_cast<uint8_t>(c >> 8));
        send(pid, body, d);
    }
    bool receive(uint8_t &pid, Bytes &body) {
        int waited = 0;
        body.clear();
        while (packets.empty() && !transmitting)
            if (quiet(), ++waited > (high ? 90 : 90)) return false;
        if (turn < 7) wrong("answers after " + std::to_string(turn) + " clocks; at least 7");
        if (turn > (high ? 14 : 18)) wrong("answers after " + std::to_string(turn) + " clocks; the link's share of the turnaround is " + (high ? "14" : "18"));
        while (packets.empty() && transmitting) quiet();
        if (packets.empty()) return false; // interrupted
        Bytes all = packets.front();
        packets.pop_front();
        idle(4);
        pid = all[0];
        body.assign(all.begin() + 1, all.end());
        if (pid == P_DATA0 || pid == P_DATA1) {
            if (body.size() < 2) {
                wrong("data without CRC");
                return true;
            }
            uint16_t sent = static_cast<uint16_t>(body[body.size() - 2] | body[body.size() - 1] << 8);
            body.resize(body.size() - 2);
            if (sent != FsHost::crc16(body)) wrong("its CRC16 is wrong");
            if (body.size() > full) wrong("a packet of more than " + std::to_string(full) + " bytes");
        } else if (!body.empty()) {
            wrong("a handshake with bytes");
        }
        return true;
    }
    // The lines without a packet: 0 SE0 (or silence at high speed), 1 J, 2 K.
    void line_state(int l) {
        if (l == line) return;
        line = l;
        report();
    }

  private:
    UlpiBus bus;
    uint64_t s;
    int line = 1;
    bool transmitting = false, chirping = false, was_dir = false;
    int state = 0; // of what the device sends: 0 nothing, 1 command seen, 2 bytes, 3 value, 4 stop is due
    uint8_t command = 0;
    Bytes bytes;
    std::deque<Bytes> packets;
    int wait = 0, turn = 0, since = 0;

    uint32_t next() {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        return static_cast<uint32_t>(s >> 16);
    }
    bool chance(double p) { return next() < p * 4294967296.0; }
    void wrong(const std::string &what) {
        if (!violations++) violation = what;
    }
    uint8_t status(int event) { return static_cast<uint8_t>(event | line | 0x0c); }
    void drive(uint8_t data, bool dir, bool nxt) {
        if (dir && was_dir && bus.drives()) wrong("drives the bus against the transceiver");
        if (dir) transmitting = false, state = 0;
        bus.clock(data, dir, nxt);
        was_dir = dir;
        clocks++;
        since++;
    }
    void report() {
        drive(0, true, false);
        drive(status(0), true, false);
        drive(0, false, false);
    }
    // A cycle in which the device may drive the bus.
    void quiet() {
        if (state == 1 && interrupt > 0 && (command & 0xc0) == 0x80 && chance(interrupt)) { // a register write is interrupted
            report();
            return;
        }
        uint8_t d = bus.data();
        bool driven = bus.drives() && !was_dir, stop = bus.stp(), nxt = false;
        if (!driven) {
            drive(0, false, false);
            return;
        }
        switch (state) {
        case 0:
            if (stop && d) wrong("stops with a byte on the bus");
            if (d && !stop) {
                command = d;
                state = 1;
                turn = since;
                wait = static_cast<int>(next() % 3);
                transmitting = (d & 0xc0) == 0x40 && d != 0x40;
                bytes.assign(1, d & 15);
                if ((d & 0xc0) != 0x40 && (d & 0xc0) != 0x80) wrong("an unknown command " + std::to_string(d));
            }
            break;
        case 1:
            if (d != command) wrong("takes its command back");
            if (wait-- > 0) break;
            nxt = true;
            state = (command & 0xc0) == 0x80 ? 3 : 2;
            wait = state == 2 && !high ? 39 : 0;
            break;
        case 2:
            if (command == 0x40) {
                chirping = !stop;
                nxt = true;
                if (d && !stop) wrong("chirps something else than K");
                if (stop) state = 0, nxt = false;
                break;
            }
            if (stop) {
                if (d) wrong("stops with a byte on the bus");
                packets.push_back(bytes);
                transmitting = false;
                state = 0;
                break;
            }
            if (wait-- > 0) break;
            if (high && chance(0.1)) break; // stuffed bits
            nxt = true;
            bytes.push_back(d);
            wait = high ? 0 : 39;
            break;
        case 3:
            nxt = true;
            if ((command & 0x3f) == 0x04) function = d;
            else if ((command & 0x3f) == 0x0a) otg = d;
            else wrong("writes register " + std::to_string(command & 0x3f));
            state = 4;
            break;
        default:
            if (!stop) wrong("does not stop after a register write");
            state = 0;
        }
        // nxt belongs to the cycle whose byte was looked at: the device's output does not depend on it before the edge.
        drive(0, false, nxt);
    }
};
#endif
