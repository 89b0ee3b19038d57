// The platform: host --> link --> accelerator, TLM-2.0 with blocking transport, loosely timed.
//
// No clock ticks here. The accelerator runs a quantum of cycles ahead, then lets time catch up; accesses carry their delay with them. `done` is its interrupt. A run is
// a write to register CONTROL, whose transport through the link returns with the link's answer, after the interrupt.
#include <systemc>
#include <tlm>
#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "sysc_api.h"
#include "wire.h"
extern "C" {
#include "../../sw/contract/contract.h"
}

namespace {

using sc_core::sc_time;

// Resolution of the simulation: clocks of 1/44.25 us and the like are rounded to it.
const double RESOLUTION = 1e-15;

sc_time seconds(double s) { return sc_time(s, sc_core::SC_SEC); }

// Addresses on the bus: space, then the space's host words.
uint64_t address_of(unsigned space, uint32_t at) { return static_cast<uint64_t>(space) << 28 | static_cast<uint64_t>(at) * 4; }
unsigned space_of(uint64_t address) { return static_cast<unsigned>(address >> 28); }
uint32_t word_of(uint64_t address) { return static_cast<uint32_t>(address >> 2 & 0xffffff); }
const uint64_t CONTROL = static_cast<uint64_t>(HD_SPACE_REG) << 28 | HD_REG_CONTROL * 4;

struct Accelerator : sc_core::sc_module {
    tlm_utils::simple_target_socket<Accelerator> socket;
    sc_core::sc_event done;
    int status = 0;         // of the last run
    uint64_t max_cycles = 0;

    SC_HAS_PROCESS(Accelerator);
    Accelerator(sc_core::sc_module_name name, const hd_sysc_config &c, const hd_sysc_accelerator &a)
        : sc_module(name), socket("socket"), config_(c), a_(a) {
        socket.register_b_transport(this, &Accelerator::transport);
        SC_THREAD(run);
    }

private:
    // One clock a word, more where external memory is behind it. What a failed access was is its response; the status tells why.
    void transport(tlm::tlm_generic_payload &t, sc_time &delay) {
        unsigned space = space_of(t.get_address());
        uint32_t at = word_of(t.get_address()), *words = reinterpret_cast<uint32_t *>(t.get_data_ptr());
        std::size_t n = t.get_data_length() / 4;
        int failed = 0;
        if (t.get_command() == tlm::TLM_WRITE_COMMAND && t.get_address() == CONTROL) {
            failed = a_.start(a_.self);
            if (!failed) start_.notify(sc_core::SC_ZERO_TIME);
        } else if (t.get_command() == tlm::TLM_WRITE_COMMAND) {
            failed = a_.write(a_.self, space, at, words, n);
        } else {
            failed = a_.read(a_.self, space, at, words, n);
        }
        double clocks = space == HD_SPACE_WEIGHT && config_.external_clocks ? config_.external_clocks : 1;
        delay += seconds(static_cast<double>(n) * clocks / config_.clock_hz);
        status = failed;
        t.set_response_status(failed ? tlm::TLM_GENERIC_ERROR_RESPONSE : tlm::TLM_OK_RESPONSE);
    }

    void run() {
        for (;;) {
            wait(start_);
            sc_time began = sc_core::sc_time_stamp();
            uint64_t cycles = 0;
            int busy = 1;
            status = 0;
            while (busy && !status) {
                uint64_t most = config_.quantum, clocked = 0;
                if (max_cycles && max_cycles - cycles < most) most = max_cycles - cycles;
                status = a_.step(a_.self, most, &clocked, &busy);
                cycles += clocked;
                if (!status && busy && max_cycles && cycles >= max_cycles) status = -1;
                // From the run's start, so that no rounding adds up.
                wait(began + seconds(static_cast<double>(cycles) / config_.clock_hz) - sc_core::sc_time_stamp());
            }
            done.notify();
        }
    }

    const hd_sysc_config config_;
    const hd_sysc_accelerator a_;
    sc_core::sc_event start_;
};

// docs/link.md on a wire: frames of 1,024 words, up to 8 requests under way, sizes and clocks of hw/link.
struct Link : sc_core::sc_module {
    tlm_utils::simple_target_socket<Link> from_host;
    tlm_utils::simple_initiator_socket<Link> to_board;

    Link(sc_core::sc_module_name name, const hd_sysc_config &c, Accelerator &a)
        : sc_module(name), from_host("from_host"), to_board("to_board"), config_(c), accelerator_(a), wire_(c) {
        from_host.register_b_transport(this, &Link::transport);
    }

private:
    static constexpr std::size_t FRAME_WORDS = 1024, HEAD = 1 + HD_LINK_HEADER + HD_LINK_CRC;
    // Clocks of a byte: eight bits; a word in each direction takes a turn of the header's ring too.
    static constexpr double HEAD_BYTE = 8, OUT_BYTE = 16, IN_BYTE = 18;

    void transport(tlm::tlm_generic_payload &t, sc_time &delay) {
        if (config_.link == HD_SYSC_NONE) {
            forward(t, delay);
            if (t.get_address() == CONTROL && t.is_write() && t.is_response_ok()) sc_core::wait(accelerator_.done);
            delay = sc_core::SC_ZERO_TIME; // nothing but the run takes time
            return;
        }
        sc_core::wait(delay);
        double now = sc_core::sc_time_stamp().to_seconds(), end;
        if (t.get_address() == CONTROL && t.is_write()) {
            wait(wire_.out(now, HEAD, HEAD_BYTE) - now);
            delay = sc_core::SC_ZERO_TIME;
            forward(t, delay);
            if (t.is_response_ok()) sc_core::wait(accelerator_.done);
            now = sc_core::sc_time_stamp().to_seconds();
            end = wire_.in(now, HEAD, HEAD_BYTE) + config_.host_seconds;
        } else {
            std::size_t n = t.get_data_length() / 4;
            double access = 0; // what the port takes beyond the time of the bytes, external memory's words
            if (config_.external_clocks && space_of(t.get_address()) == HD_SPACE_WEIGHT && config_.external_clocks > 4 * OUT_BYTE)
                access = static_cast<double>(n) * (config_.external_clocks - 4 * OUT_BYTE) / config_.clock_hz;
            end = (t.is_write() ? write(now, n) : read(now, n)) + access;
            sc_time port = sc_core::SC_ZERO_TIME;
            forward(t, port); // within that time, word by word
        }
        wait(end - now);
        delay = sc_core::SC_ZERO_TIME;
    }

    // Frames behind each other; the last one's answer ends the write.
    double write(double now, std::size_t n) const {
        std::size_t frames = (n + FRAME_WORDS - 1) / FRAME_WORDS;
        double taken = wire_.out(now, frames * (HEAD + HD_LINK_CRC) + 4 * n, OUT_BYTE);
        return wire_.in(taken, HEAD, HEAD_BYTE) + config_.host_seconds;
    }

    double read(double now, std::size_t n) const {
        if (!wire_.one_by_one()) { // requests and answers overlap
            std::size_t frames = (n + FRAME_WORDS - 1) / FRAME_WORDS;
            return wire_.in(wire_.out(now, HEAD, HEAD_BYTE), frames * (HEAD + HD_LINK_CRC) + 4 * n, IN_BYTE) + config_.host_seconds;
        }
        for (std::size_t at = 0; at < n; at += FRAME_WORDS) {
            std::size_t part = n - at < FRAME_WORDS ? n - at : FRAME_WORDS;
            now = wire_.in(wire_.out(now, HEAD, HEAD_BYTE), HEAD + HD_LINK_CRC + 4 * part, IN_BYTE) + config_.host_seconds;
        }
        return now;
    }

    void forward(tlm::tlm_generic_payload &t, sc_time &delay) { to_board->b_transport(t, delay); }

    static void wait(double s) { sc_core::wait(seconds(s > 0 ? s : 0)); }

    const hd_sysc_config config_;
    Accelerator &accelerator_;
    const Wire wire_;
};

// The initiator: one access at a time, as the program asks for it.
struct Host : sc_core::sc_module {
    tlm_utils::simple_initiator_socket<Host> socket;
    tlm::tlm_generic_payload *next = nullptr;

    SC_HAS_PROCESS(Host);
    explicit Host(sc_core::sc_module_name name) : sc_module(name), socket("socket") { SC_THREAD(work); }
    sc_core::sc_event asked;

private:
    void work() {
        for (;;) {
            while (!next) wait(asked);
            sc_time delay = sc_core::SC_ZERO_TIME;
            socket->b_transport(*next, delay);
            next = nullptr;
            if (delay != sc_core::SC_ZERO_TIME) wait(delay);
            sc_core::sc_pause();
            wait(asked);
        }
    }
};

} // namespace

struct hd_sysc {
    sc_core::sc_simcontext *context = nullptr;
    std::unique_ptr<Host> host;
    std::unique_ptr<Accelerator> accelerator;
    std::unique_ptr<Link> link;
};

namespace {

// Each platform has a kernel of its own, which is the current one while it is used.
class Current {
public:
    explicit Current(const hd_sysc *p) : before_(sc_core::sc_curr_simcontext) { sc_core::sc_curr_simcontext = p->context; }
    ~Current() { sc_core::sc_curr_simcontext = before_; }
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;

private:
    sc_core::sc_simcontext *before_;
};

hd_sysc *sysc_open(const hd_sysc_config *c, const hd_sysc_accelerator *a) {
    setenv("SYSTEMC_DISABLE_COPYRIGHT_MESSAGE", "1", 0);
    std::unique_ptr<hd_sysc> p(new (std::nothrow) hd_sysc);
    if (!p) return nullptr;
    p->context = new sc_core::sc_simcontext;
    Current current(p.get());
    sc_core::sc_set_time_resolution(RESOLUTION, sc_core::SC_SEC);
    sc_core::sc_report_handler::set_actions(sc_core::SC_INFO, sc_core::SC_DO_NOTHING);
    p->accelerator.reset(new Accelerator("accelerator", *c, *a));
    p->link.reset(new Link("link", *c, *p->accelerator));
    p->host.reset(new Host("host"));
    p->host->socket.bind(p->link->from_host);
    p->link->to_board.bind(p->accelerator->socket);
    return p.release();
}

void sysc_close(hd_sysc *p) {
    if (!p) return;
    {
        Current current(p);
        p->host.reset();
        p->link.reset();
        p->accelerator.reset();
    }
    delete p->context;
    delete p;
}

int transport(hd_sysc *p, tlm::tlm_command command, uint64_t address, uint32_t *words, std::size_t n) {
    Current current(p);
    tlm::tlm_generic_payload t;
    t.set_command(command);
    t.set_address(address);
    t.set_data_ptr(reinterpret_cast<unsigned char *>(words));
    t.set_data_length(static_cast<unsigned>(n * 4));
    t.set_streaming_width(static_cast<unsigned>(n * 4));
    t.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
    p->host->next = &t;
    p->host->asked.notify(sc_core::SC_ZERO_TIME);
    sc_core::sc_start();
    return p->accelerator->status;
}

int sysc_write(hd_sysc *p, unsigned space, uint32_t at, const uint32_t *words, size_t n) {
    return n ? transport(p, tlm::TLM_WRITE_COMMAND, address_of(space, at), const_cast<uint32_t *>(words), n) : 0;
}

int sysc_read(hd_sysc *p, unsigned space, uint32_t at, uint32_t *words, size_t n) {
    return n ? transport(p, tlm::TLM_READ_COMMAND, address_of(space, at), words, n) : 0;
}

int sysc_run(hd_sysc *p, uint64_t max_cycles) {
    uint32_t one = 1;
    p->accelerator->max_cycles = max_cycles;
    return transport(p, tlm::TLM_WRITE_COMMAND, CONTROL, &one, 1);
}

double sysc_now(hd_sysc *p) {
    Current current(p);
    return sc_core::sc_time_stamp().to_seconds();
}

const hd_sysc_api api = {HD_SYSC_API_VERSION, sysc_open, sysc_close, sysc_write, sysc_read, sysc_run, sysc_now};

} // namespace

extern "C" const hd_sysc_api *hd_sysc_api_get(void) { return &api; }
// The library wants one; the platform is no program of its own.
extern "C" int sc_main(int, char *[]) { return 0; }
