// A full-speed USB host at the level of lines and packets, written from USB 2.0 chapters 7, 8 and 9: what hw/usb/usb_fs.v is tested against,
// and the host of virtual boards. It shares no code with the device or the driver. Bits of the host last 4 clocks of the device's 48 MHz, more or less by `skew`; packets can be damaged on purpose.
#ifndef FS_HOST_H
#define FS_HOST_H
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

using Bytes = std::vector<uint8_t>;

enum Pid : uint8_t { P_OUT = 0x1, P_ACK = 0x2, P_DATA0 = 0x3, P_PING = 0x4, P_SOF = 0x5, P_NYET = 0x6, P_IN = 0x9, P_NAK = 0xa, P_DATA1 = 0xb, P_SETUP = 0xd, P_STALL = 0xe };

// What may be done to a packet of the host.
struct Damage {
    int flip = -1;       // this bit after SYNC is inverted
    int cut = -1;        // the packet ends after so many bits
    bool stuff = false;  // one stuffed bit is left out
    bool dribble = false; // an extra bit before EOP, as hubs make them
};

// Lines as both sides see them: nobody drives = J, by the pull-ups.
struct Lines {
    std::function<void(bool dp, bool dn)> clock; // one clock with these inputs
    std::function<bool()> device_drives, device_dp, device_dn;
};

class FsHost {
  public:
    explicit FsHost(Lines l) : lines(std::move(l)) {}
    double skew = 0;             // of the host's bit, relative
    uint64_t clocks = 0;         // device clocks so far
    uint64_t violations = 0;     // of the device against the specification
    std::string violation;

    void idle(int n) {
        for (int i = 0; i < n; i++) tick(true, false);
    }
    void reset() {
        for (int i = 0; i < 48 * 10; i++) tick(false, false);
        idle(48 * 10);
    }

    // Sends a packet of PID and bytes as they are (CRC included).
    void send(uint8_t pid, const Bytes &body, const Damage &d = Damage()) {
        Bytes all{static_cast<uint8_t>(pid | (~pid & 15) << 4)};
        all.insert(all.end(), body.begin(), body.end());
        std::vector<int> bits;
        for (uint8_t b : all)
            for (int i = 0; i < 8; i++) bits.push_back(b >> i & 1);
        if (d.flip >= 0) bits[static_cast<size_t>(d.flip) % bits.size()] ^= 1;
        if (d.cut >= 0 && static_cast<size_t>(d.cut) < bits.size()) bits.resize(static_cast<size_t>(d.cut));
        level = true;
        double debt = 0;
        for (int i = 0; i < 8; i++) bit(i == 7, debt);
        int ones = 1;
        bool left_out = !d.stuff;
        for (int b : bits) {
            bit(b, debt);
            ones = b ? ones + 1 : 0;
            if (ones == 6) {
                if (left_out) bit(0, debt);
                left_out = true;
                ones = 0;
            }
        }
        if (d.dribble) bit(1, debt);
        hold(false, false, 2, debt);
        hold(true, false, 1, debt);
        since_eop = 0;
    }

    void token(uint8_t pid, int address, int endpoint, const Damage &d = Damage()) {
        int v = address | endpoint << 7, crc = crc5(v);
        send(pid, {static_cast<uint8_t>(v), static_cast<uint8_t>(v >> 8 | crc << 3)}, d);
        idle(12);
    }
    void start_of_frame(int frame) {
        int v = frame & 0x7ff;
        send(P_SOF, {static_cast<uint8_t>(v), static_cast<uint8_t>(v >> 8 | crc5(v) << 3)});
        idle(12);
    }
    void data(uint8_t pid, Bytes body, const Damage &d = Damage()) {
        uint16_t c = crc16(body);
        body.push_back(static_cast<uint8_t>(c));
        body.push_back(static_cast<uint8_t>(c >> 8));
        send(pid, body, d);
    }

    // The device's packet, or false when none begins within 18 bit times. pid and the bytes behind it (with CRC16 checked and taken off for data).
    bool receive(uint8_t &pid, Bytes &body) {
        int waited = 0;
        body.clear();
        while (!lines.device_drives()) {
            tick(true, false);
            if (++waited > 18 * 4) return false;
        }
        double turn = since_eop / 4.0;
        if (turn < 2) wrong("answers after " + std::to_string(turn) + " bit times; at least 2");
        if (turn > 6.5) wrong("answers after " + std::to_string(turn) + " bit times; at most 6.5");
        // Its clock is ours here: four clocks a bit, from the first edge.
        while (lines.device_drives() && lines.device_dp() && !lines.device_dn()) tick(true, false);
        bool last = true;
        int ones = 0;
        std::vector<int> bits;
        for (;;) {
            tick(true, false);
            bool dp = lines.device_dp(), dn = lines.device_dn();
            if (!lines.device_drives()) {
                wrong("lets the lines go without an end of packet");
                return false;
            }
            if (!dp && !dn) break;
            if (dp == dn) wrong("drives both lines high");
            bool b = dp == last;
            last = dp;
            for (int i = 0; i < 3; i++) tick(true, false);
            if (ones == 6) {
                if (b) wrong("a stuffed bit is 1");
                ones = 0;
                continue;
            }
            ones = b ? ones + 1 : 0;
            bits.push_back(b);
            if (bits.size() > 8 * 80) {
                wrong("an endless packet");
                return false;
            }
        }
        int low = 1;
        while (lines.device_drives() && !lines.device_dp() && !lines.device_dn()) {
            tick(true, false);
            low++;
        }
        if (low < 7 || low > 9) wrong("SE0 for " + std::to_string(low) + " clocks; two bit times are 8");
        int high = 0;
        while (lines.device_drives()) {
            if (!lines.device_dp() || lines.device_dn()) wrong("no J after SE0");
            tick(true, false);
            if (++high > 8) {
                wrong("drives J for more than a bit time");
                return false;
            }
        }
        idle(12);
        if (bits.size() < 16 || bits.size() % 8) {
            wrong("a packet of " + std::to_string(bits.size()) + " bits");
            return false;
        }
        for (int i = 0; i < 8; i++)
            if (bits[static_cast<size_t>(i)] != (i == 7)) wrong("its SYNC is wrong");
        Bytes all;
        for (size_t i = 8; i < bits.size(); i += 8) {
            int v = 0;
            for (size_t k = 0; k < 8; k++) v |= bits[i + k] << k;
            all.push_back(static_cast<uint8_t>(v));
        }
        pid = all[0] & 15;
        if ((all[0] >> 4) != (~pid & 15)) wrong("its PID check is wrong");
        body.assign(all.begin() + 1, all.end());
        if (pid == P_DATA0 || pid == P_DATA1) {
            if (body.size() < 2) {
                wrong("data without CRC");
                return true;
            }
            uint16_t sent = static_cast<uint16_t>(body[body.size() - 2] | body[body.size() - 1] << 8);
            body.resize(body.size() - 2);
            if (sent != crc16(body)) wrong("its CRC16 is wrong");
            if (body.size() > 64) wrong("a packet of more than 64 bytes");
        } else if (!body.empty()) {
            wrong("a handshake with bytes");
        }
        return true;
    }

    // CRC of the 11 bits of a token and of data, as chapter 8.3.5 defines them, bit by bit.
    static int crc5(int v) {
        int c = 31;
        for (int i = 0; i < 11; i++) {
            int top = c >> 4 & 1;
            c = c << 1 & 31;
            if (top != (v >> i & 1)) c ^= 5;
        }
        int out = 0;
        for (int i = 0; i < 5; i++) out |= (~c >> (4 - i) & 1) << i;
        return out;
    }
    static uint16_t crc16(const Bytes &bytes) {
        int c = 0xffff;
        for (uint8_t b : bytes)
            for (int i = 0; i < 8; i++) {
                int top = c >> 15 & 1;
                c = c << 1 & 0xffff;
                if (top != (b >> i & 1)) c ^= 0x8005;
            }
        int out = 0;
        for (int i = 0; i < 16; i++) out |= (~c >> (15 - i) & 1) << i;
        return static_cast<uint16_t>(out);
    }

  private:
    Lines lines;
    bool level = true;
    double since_eop = 0;
    void wrong(const std::string &what) {
        if (!violations++) violation = what;
    }
    void tick(bool dp, bool dn) {
        lines.clock(dp, dn);
        clocks++;
        since_eop++;
    }
    void hold(bool dp, bool dn, int bits, double &debt) {
        debt += 4 * (1 + skew) * bits;
        while (debt >= 0.5) {
            if (lines.device_drives()) wrong("drives the lines while the host does");
            tick(dp, dn);
            debt -= 1;
        }
    }
    void bit(int b, double &debt) {
        if (!b) level = !level;
        hold(level, !level, 1, debt);
    }
};
#endif
