// hw/usb/usb_fs.v against the host of fs_host.h, or with -DULPI hw/usb/usb_ulpi.v against that of ulpi_host.h: enumeration, requests, both pipes with lost and
// damaged packets, halts, resets, suspend, clock differences, and the bulk rate of full frames. test_core SEED COUNT.
#include <cstring>
#include <deque>
#include <memory>

#ifdef ULPI
#include "Vusb_ulpi.h"
#include "ulpi_host.h"
using Top = Vusb_ulpi;
using Host = UlpiHost;
#else
#include "Vusb_fs.h"
#include "fs_host.h"
using Top = Vusb_fs;
using Host = FsHost;
#endif
#include "verilated.h"

namespace {

struct Random {
    uint64_t s;
    explicit Random(uint64_t seed) : s(seed * 0x9e3779b97f4a7c15ull + 77) { for (int i = 0; i < 8; i++) next(); }
    uint32_t next() {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        return static_cast<uint32_t>(s >> 16);
    }
    uint32_t below(uint32_t n) { return next() % n; }
    bool chance(double p) { return next() < p * 4294967296.0; }
};

#define CHECK(c, ...)                                              \
    do {                                                           \
        if (!(c)) {                                                \
            std::printf("FAIL seed %llu: ", (unsigned long long)seed); \
            std::printf(__VA_ARGS__);                              \
            std::printf(" (%s:%d)\n", __FILE__, __LINE__);         \
            std::exit(1);                                          \
        }                                                          \
    } while (0)

struct Bench {
    uint64_t seed;
    Random r;
    VerilatedContext context;
    std::unique_ptr<Top> top;
    Host host;
    bool fast = false;                     // at high speed
    size_t full = 64;                      // bytes of a full packet
    std::deque<uint8_t> received, to_send; // at the device's byte ports
    double m_ready = 1, s_valid = 1;       // how often the other side of the ports is ready
    int address = 0;
    bool out_toggle = false, in_toggle = false, ping = false;
    double lose = 0, damage = 0;           // of host packets; of the host's ear

#ifdef ULPI
    explicit Bench(uint64_t seed_, bool host_knows_high = true)
        : seed(seed_), r(seed_), top(new Top(&context)), host(UlpiBus{[this](uint8_t d, bool dir, bool nxt) { clock(d, dir, nxt); }, [this] { return top->data_o; },
                                                                      [this] { return top->data_oe != 0; }, [this] { return top->stp != 0; }}, seed_) {
        host.knows_high = host_knows_high;
        start();
    }
    void clock(uint8_t d, bool dir, bool nxt) {
        top->data_i = d;
        top->dir = dir;
        top->nxt = nxt;
        edge();
    }
    void low() {
        for (int i = 0; i < 4; i++) clock(0, false, false);
    }
#else
    explicit Bench(uint64_t seed_, bool = false)
        : seed(seed_), r(seed_), top(new Top(&context)), host(Lines{[this](bool p, bool n) { clock(p, n); }, [this] { return top->oe != 0; }, [this] { return top->dp_o != 0; },
                                                                    [this] { return top->dn_o != 0; }}) {
        start();
    }
    void clock(bool p, bool n) {
        bool oe = top->oe;
        top->dp_i = oe ? top->dp_o : p;
        top->dn_i = oe ? top->dn_o : n;
        edge();
    }
    void low() {
        for (int i = 0; i < 4; i++) clock(true, false);
    }
#endif
    void start() {
        top->clk = 0;
        top->rst_n = 0;
        low();
        top->rst_n = 1;
        host.idle(100);
    }
    void edge() {
        top->m_byte_ready = r.chance(m_ready);
        top->s_byte_valid = !to_send.empty() && r.chance(s_valid);
        if (top->s_byte_valid) top->s_byte_data = to_send.front();
        top->eval();
        if (top->m_byte_valid && top->m_byte_ready) received.push_back(top->m_byte_data);
        if (top->s_byte_valid && top->s_byte_ready) to_send.pop_front();
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
    }
    void bus_reset() {
        host.reset();
#ifdef ULPI
        fast = host.high;
        full = host.full;
        CHECK(fast == (top->high != 0), "the device believes in another speed");
#endif
    }
    Damage spoil() {
        Damage d;
        if (r.chance(damage)) {
            uint32_t kind = r.below(4);
            if (kind == 0) d.flip = static_cast<int>(r.below(500));
            else if (kind == 1) d.cut = static_cast<int>(r.below(60));
            else if (kind == 2) d.stuff = true;
            else d.dribble = true;
        }
        return d;
    }

    // One bulk OUT transaction; true when the device has the packet (ACK heard).
    enum Result { ACKED, NAKED, STALLED, NOTHING };
    Result out(const Bytes &b, int endpoint = 1) {
        uint8_t pid;
        Bytes none;
        // At high speed a host asks for room after NYET and NAK.
        if (ping && endpoint == 1) {
            host.token(P_PING, address, 1, spoil());
            if (!host.receive(pid, none) || r.chance(lose)) return NOTHING;
            if (pid == P_NAK) return NAKED;
            if (pid == P_STALL) return STALLED;
            CHECK(pid == P_ACK, "PING is answered by PID %d", pid);
        }
        host.token(P_OUT, address, endpoint, spoil());
        host.data(out_toggle ? P_DATA1 : P_DATA0, b, spoil());
        if (!host.receive(pid, none) || r.chance(lose)) return NOTHING;
        if (pid == P_ACK || (pid == P_NYET && fast)) {
            out_toggle = !out_toggle;
            ping = pid == P_NYET;
            return ACKED;
        }
        ping = fast && pid == P_NAK;
        return pid == P_NAK ? NAKED : pid == P_STALL ? STALLED : NOTHING;
    }
    Result in(Bytes &b, int endpoint = 1) {
        host.token(P_IN, address, endpoint, spoil());
        uint8_t pid;
        Bytes got;
        if (!host.receive(pid, got)) return NOTHING;
        if (pid == P_NAK) return NAKED;
        if (pid == P_STALL) return STALLED;
        if (r.chance(lose)) return NOTHING; // the host heard nothing: no ACK
        CHECK(pid == P_DATA0 || pid == P_DATA1, "answers IN with PID %d", pid);
        bool fresh = (pid == P_DATA1) == in_toggle;
        if (!r.chance(lose)) host.send(P_ACK, {});
        host.idle(12);
        if (!fresh) return NOTHING;
        in_toggle = !in_toggle;
        b = got;
        return ACKED;
    }
    // A control transfer; -1 = stalled, else the bytes of the data stage.
    int control(uint8_t type, uint8_t request, uint16_t value, uint16_t index, uint16_t length, Bytes *data = nullptr, bool retry = false) {
        Bytes setup{type, request, uint8_t(value), uint8_t(value >> 8), uint8_t(index), uint8_t(index >> 8), uint8_t(length), uint8_t(length >> 8)}, got;
        uint8_t pid;
        Bytes none;
        int tries = 0;
        do {
            CHECK(++tries < 50, "SETUP is never acknowledged");
            host.token(P_SETUP, address, 0, retry ? spoil() : Damage());
            host.data(P_DATA0, setup, retry ? spoil() : Damage());
        } while (!host.receive(pid, none) || (retry && r.chance(lose)));
        CHECK(pid == P_ACK, "SETUP is answered by PID %d", pid);
        bool toggle = true;
        if (type & 0x80) {
            while (got.size() < length) {
                CHECK(++tries < 100, "no data stage");
                host.token(P_IN, address, 0);
                if (!host.receive(pid, none)) continue;
                if (pid == P_STALL) return -1;
                if (pid == P_NAK) continue;
                if (retry && r.chance(lose)) continue;
                if ((pid == P_DATA1) == toggle) {
                    got.insert(got.end(), none.begin(), none.end());
                    toggle = !toggle;
                }
                bool lost = retry && r.chance(lose);
                if (!lost) host.send(P_ACK, {});
                host.idle(12);
                if (none.size() < 64 && !lost) break;
            }
            for (tries = 0;; tries++) {
                CHECK(tries < 50, "no status stage");
                host.token(P_OUT, address, 0);
                host.data(P_DATA1, {});
                if (host.receive(pid, none) && !(retry && r.chance(lose))) break;
            }
            CHECK(pid == P_ACK, "status stage answered by PID %d", pid);
        } else {
            for (tries = 0;; tries++) {
                CHECK(tries < 50, "no status stage");
                host.token(P_IN, address, 0);
                if (!host.receive(pid, none)) continue;
                if (pid == P_STALL) return -1;
                if (pid == P_NAK) continue;
                CHECK(pid == P_DATA1 && none.empty(), "the status stage is no empty DATA1");
                host.send(P_ACK, {});
                host.idle(12);
                break;
            }
        }
        if (data) *data = got;
        return static_cast<int>(got.size());
    }
    void enumerate(int to) {
        bus_reset();
        address = 0;
        out_toggle = in_toggle = ping = false;
        Bytes d;
        CHECK(control(0x80, 6, 0x0100, 0, 64, &d) == 18, "the device descriptor has %zu bytes", d.size());
        bus_reset();
        CHECK(control(0x00, 5, static_cast<uint16_t>(to), 0, 0) == 0, "no SET_ADDRESS");
        address = to;
        host.idle(100);
        CHECK(control(0x80, 6, 0x0100, 0, 18, &d) == 18, "no device descriptor at the new address");
        CHECK(d[0] == 18 && d[1] == 1 && d[7] == 64 && (d[8] | d[9] << 8) == 0x1209 && d[17] == 1, "wrong device descriptor");
        CHECK(control(0x80, 6, 0x0200, 0, 9, &d) == 9 && (d[2] | d[3] << 8) == 32, "wrong head of the configuration");
        CHECK(control(0x80, 6, 0x0200, 0, 255, &d) == 32, "wrong length of the configuration");
        // A walk over it: one interface, two bulk endpoints of 64 bytes.
        int interfaces = 0, endpoints = 0;
        for (size_t at = 0; at < d.size(); at += d[at]) {
            CHECK(d[at] >= 2 && at + d[at] <= d.size(), "a descriptor of %d bytes at %zu", d[at], at);
            interfaces += d[at + 1] == 4;
            if (d[at + 1] == 5) {
                CHECK(d[at + 2] == (endpoints ? 0x81 : 0x01) && d[at + 3] == 2 && (d[at + 4] | d[at + 5] << 8) == static_cast<int>(full), "wrong endpoint");
                endpoints++;
            }
        }
        CHECK(interfaces == 1 && endpoints == 2, "%d interfaces, %d endpoints", interfaces, endpoints);
        CHECK(control(0x00, 9, 1, 0, 0) == 0 && top->configured, "no SET_CONFIGURATION");
    }
    std::string text(int index) {
        Bytes d;
        std::string s;
        CHECK(control(0x80, 6, static_cast<uint16_t>(0x300 | index), 0x409, 255, &d) == d[0] && d[1] == 3, "string %d", index);
        for (size_t i = 2; i < d.size(); i += 2) s += static_cast<char>(d[i]);
        return s;
    }
    void sound() { CHECK(!host.violations, "%llu violations of the specification, the first: the device %s", (unsigned long long)host.violations, host.violation.c_str()); }
};

void requests(uint64_t seed, bool high) {
    Bench b(seed, high);
    Bytes d;
    b.enumerate(5);
#ifdef ULPI
    CHECK(b.fast == high, "the wrong speed");
    CHECK(b.control(0x80, 6, 0x0600, 0, 10, &d) == 10 && d[1] == 6 && d[7] == 64, "no device qualifier");
    CHECK(b.control(0x80, 6, 0x0700, 0, 255, &d) == 32 && d[1] == 7 && (d[22] | d[23] << 8) == (high ? 64 : 512), "no configuration of the other speed");
#else
    CHECK(b.control(0x80, 6, 0x0600, 0, 10) == -1, "a full-speed device has no qualifier");
#endif
    CHECK(b.text(1) == "heddle" && b.text(2) == "accelerator" && b.text(3) == "heddle00", "wrong strings");
    CHECK(b.control(0x80, 6, 0x0300, 0, 255, &d) == 4 && d[2] == 9 && d[3] == 4, "wrong languages");
    CHECK(b.control(0x80, 6, 0x0304, 0, 10) == -1, "string 4");
    CHECK(b.control(0x80, 8, 0, 0, 1, &d) == 1 && d[0] == 1, "GET_CONFIGURATION");
    CHECK(b.control(0x80, 0, 0, 0, 2, &d) == 2 && d[0] == 0 && d[1] == 0, "GET_STATUS");
    CHECK(b.control(0x81, 10, 0, 0, 1, &d) == 1 && d[0] == 0, "GET_INTERFACE");
    CHECK(b.control(0xc0, 1, 0, 0, 4) == -1 && b.control(0x40, 1, 0, 0, 0) == -1, "unknown requests must stall");
    CHECK(b.control(0x00, 9, 2, 0, 0) == -1, "there is no configuration 2");
    // Another address is not this device; a stall of EP0 ends with the next SETUP.
    b.host.token(P_IN, 6, 1);
    uint8_t pid;
    CHECK(!b.host.receive(pid, d), "answers for another device");
    b.host.token(P_IN, 5, 2);
    CHECK(!b.host.receive(pid, d), "answers for an endpoint that it does not have");
    // Halts, each with its toggle.
    Bytes three{1, 2, 3};
    CHECK(b.out(three) == Bench::ACKED, "OUT");
    for (int ep : {0x01, 0x81}) {
        CHECK(b.control(0x02, 3, 0, static_cast<uint16_t>(ep), 0) == 0, "SET_FEATURE halt");
        CHECK(b.control(0x82, 0, 0, static_cast<uint16_t>(ep), 2, &d) == 2 && d[0] == 1, "halt is not seen");
        CHECK((ep & 0x80 ? b.in(d) : b.out(three)) == Bench::STALLED, "halted endpoint %x does not stall", ep);
        CHECK(b.control(0x02, 1, 0, static_cast<uint16_t>(ep), 0) == 0, "CLEAR_FEATURE halt");
        CHECK(b.control(0x82, 0, 0, static_cast<uint16_t>(ep), 2, &d) == 2 && d[0] == 0, "halt stays");
        (ep & 0x80 ? b.in_toggle : b.out_toggle) = false;
    }
    CHECK(b.out(three) == Bench::ACKED && b.received.size() == 6, "OUT after a halt: %zu bytes", b.received.size());
    CHECK(b.in(d) == Bench::NAKED, "IN without bytes");
    // A full packet alone is followed by an empty one.
    for (size_t i = 0; i < b.full; i++) b.to_send.push_back(static_cast<uint8_t>(i));
    b.host.idle(2000);
    CHECK(b.in(d) == Bench::ACKED && d.size() == b.full, "a full packet");
    CHECK(b.in(d) == Bench::ACKED && d.empty(), "the empty packet behind it");
    CHECK(b.in(d) == Bench::NAKED, "only one empty packet");
    // Unconfigured, the bulk endpoints do nothing.
    CHECK(b.control(0x00, 9, 0, 0, 0) == 0 && !b.top->configured, "SET_CONFIGURATION 0");
    b.out_toggle = false;
    CHECK(b.out(three) == Bench::NOTHING, "OUT while unconfigured");
    // 3 ms of idle: suspended; then awake again.
#ifdef ULPI
    b.host.idle(3100 * b.host.us);
    b.host.line_state(1); // at full speed the lines show J: no reset
    b.host.idle(300 * b.host.us);
#else
    b.host.idle(48 * 3100);
#endif
    CHECK(b.top->suspended, "not suspended after 3.1 ms");
    b.enumerate(9);
    CHECK(!b.top->suspended && b.out(three) == Bench::ACKED, "after suspend and reset");
    b.sound();
}

// Both pipes at once, with everything that can go wrong on a bus: what arrives is what was sent, once and in order.
void traffic(uint64_t seed) {
    Bench b(seed, seed % 4 != 0);
#ifdef ULPI
    b.host.interrupt = 0.2;
#endif
    b.host.skew = (static_cast<int>(b.r.below(51)) - 25) * 1e-4; // 0.25% either way
    b.enumerate(1 + static_cast<int>(b.r.below(127)));
    if (b.r.chance(0.8)) b.lose = 0.1 * b.r.below(4), b.damage = 0.1 * b.r.below(4);
    b.m_ready = b.r.chance(0.5) ? 1 : 0.02;
    b.s_valid = b.r.chance(0.5) ? 1 : 0.02;
    std::deque<uint8_t> sent, expected, got;
    Bytes packet;
    bool retry = false;
    int frame = 0;
    for (int i = 0; i < 300; i++) {
        if (b.r.chance(0.1)) b.host.start_of_frame(frame++);
        if (b.r.chance(0.03)) {
            Bytes d;
            CHECK(b.control(0x80, 6, 0x0200, 0, 255, &d, true) == 32, "a request among traffic");
        }
        if (b.r.chance(0.5)) {
            // A packet that was not acknowledged is sent again as it was.
            if (!retry) {
                packet.resize(b.r.chance(0.3) ? b.full : b.r.below(static_cast<uint32_t>(b.full) + 1));
                for (uint8_t &x : packet) x = b.r.chance(0.3) ? 0xff : static_cast<uint8_t>(b.r.next());
            }
            Bench::Result res = b.out(packet);
            CHECK(res != Bench::STALLED, "OUT stalls");
            retry = res != Bench::ACKED;
            if (!retry) sent.insert(sent.end(), packet.begin(), packet.end());
        } else {
            if (b.to_send.size() < 3 * b.full) {
                uint32_t n = b.r.below(static_cast<uint32_t>(2 * b.full));
                for (uint32_t k = 0; k < n; k++) {
                    uint8_t x = b.r.chance(0.3) ? 0xff : static_cast<uint8_t>(b.r.next());
                    b.to_send.push_back(x);
                    expected.push_back(x);
                }
            }
            Bytes d;
            if (b.in(d) == Bench::ACKED) got.insert(got.end(), d.begin(), d.end());
        }
    }
    // Without faults the rest comes through.
    b.lose = b.damage = 0;
    b.m_ready = b.s_valid = 1;
    for (int i = 0; retry && i < 20; i++)
        if (b.out(packet) == Bench::ACKED) {
            sent.insert(sent.end(), packet.begin(), packet.end());
            retry = false;
        }
    CHECK(!retry, "OUT is stuck");
    for (int i = 0; i < 60; i++) {
        Bytes d;
        if (b.in(d) == Bench::ACKED) got.insert(got.end(), d.begin(), d.end());
    }
    b.host.idle(4000);
    CHECK(b.received == sent, "OUT: %zu bytes sent, %zu arrived", sent.size(), b.received.size());
    CHECK(got == expected, "IN: %zu bytes sent, %zu arrived", expected.size(), got.size());
    b.sound();
}

// Frames of 1 ms (at high speed microframes of 125 us) filled with bulk transactions: bytes a second of each direction.
void rate(uint64_t seed) {
#ifdef ULPI
    const uint64_t length = 7500; // clocks of 60 MHz
    const double seconds = 125e-6, limit = 53.248, wanted = 40;
#else
    const uint64_t length = 48000;
    const double seconds = 1e-3, limit = 1.216, wanted = 1.0;
#endif
    for (int dir = 0; dir < 2; dir++) {
        Bench b(seed);
        b.enumerate(3);
        uint64_t bytes = 0, start = b.host.clocks, frames = 20;
        for (uint64_t f = 0; f < frames; f++) {
            b.host.start_of_frame(static_cast<int>(f));
            // The last 10% of a frame stay free, as a host keeps them for control transfers.
            while (b.host.clocks < start + (f + 1) * length - length / 10) {
                while (b.to_send.size() < 2 * b.full) b.to_send.push_back(static_cast<uint8_t>(b.r.next()));
                Bytes d;
                if (dir ? b.in(d) == Bench::ACKED : b.out(Bytes(b.full, 0x55)) == Bench::ACKED) bytes += dir ? d.size() : b.full;
            }
            while (b.host.clocks < start + (f + 1) * length) b.host.idle(1);
        }
        double rate = static_cast<double>(bytes) / (seconds * static_cast<double>(frames)) * 1e-6;
        std::printf("bulk %s: %.3f MB/s of %.3f\n", dir ? "in" : "out", rate, limit);
        CHECK(rate >= wanted, "%.3f MB/s", rate);
        b.sound();
    }
}

} // namespace

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1, count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 30;
    requests(seed, true);
    requests(seed, false);
    rate(seed);
    for (uint64_t s = seed; s < seed + count; s++) traffic(s);
    std::printf("requests, rates and %llu sessions of traffic from seed %llu: right\n", (unsigned long long)count, (unsigned long long)seed);
    return 0;
}
