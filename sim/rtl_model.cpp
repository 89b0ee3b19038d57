// The Verilated accelerator behind sim/rtl_api.h. Compiled together with Verilator's output for one geometry.
#include "rtl_api.h"

#include <memory>
#include <new>

#include "Vheddle.h"
#include "verilated.h"
#ifdef HD_TRACE
#include "verilated_fst_c.h"
#endif
// HD_PUMP: cycles of clk_fast in one of clk, 1 where the view has no clk_fast.
extern "C" {
#include "../sw/contract/contract.h"
}

struct hd_rtl {
    VerilatedContext context;
    std::unique_ptr<Vheddle> top;
#ifdef HD_TRACE
    std::unique_ptr<VerilatedFstC> trace;
    uint64_t time = 0;
#endif
    char fault[17] = "";
#if HD_PUMP > 1
    bool late = false;
#endif
    // One clock cycle: inputs are taken at the rising edge.
    void cycle() {
#if HD_PUMP == 1
        top->clk = 1;
        settle(5);
        top->clk = 0;
        settle(5);
#else
        // clk rises with a cycle of clk_fast or, in every other program run, half a cycle of clk_fast later, as a divided clock may.
        for (int i = 0; i < HD_PUMP; i++) {
            top->fast_take = i == HD_PUMP / 2;
            top->clk_fast = 1;
            if (i == 0 && !late) top->clk = 1;
            if (i == HD_PUMP / 2) top->clk = 0;
            settle(2);
            top->clk_fast = 0;
            if (i == 0 && late) top->clk = 1;
            settle(2);
        }
#endif
    }
    void settle(uint64_t step) {
        top->eval();
#ifdef HD_TRACE
        if (trace) trace->dump(time);
        time += step;
#else
        (void)step;
#endif
    }
};

namespace {

hd_rtl *rtl_open(const char *trace_path) {
    hd_rtl *m = new (std::nothrow) hd_rtl;
    if (!m) return nullptr;
#ifdef HD_TRACE
    m->context.traceEverOn(true);
#endif
    m->top.reset(new Vheddle(&m->context));
#ifdef HD_TRACE
    if (trace_path) {
        m->trace.reset(new VerilatedFstC);
        m->top->trace(m->trace.get(), 99);
        m->trace->open(trace_path);
    }
#else
    (void)trace_path;
#endif
    m->top->clk = 0;
    m->top->rst_n = 0;
    m->top->h_we = 0;
    m->top->h_re = 0;
    m->top->stall = 0;
    for (int i = 0; i < 4; i++) m->cycle();
    m->top->rst_n = 1;
    m->cycle();
    return m;
}

void rtl_close(hd_rtl *m) {
    if (!m) return;
    m->top->final();
#ifdef HD_TRACE
    if (m->trace) m->trace->close();
#endif
    delete m;
}

// External memory takes its time; a controller that never lets go is a fault that shows as words that do not come.
void wait_for_memory(hd_rtl *m) {
    for (int i = 0; i < 100000 && m->top->h_wait; i++) m->cycle();
}

void rtl_write(hd_rtl *m, unsigned space, uint32_t at, const uint32_t *words, size_t n) {
    m->top->h_space = static_cast<uint8_t>(space);
    for (size_t i = 0; i < n; i++) {
        m->top->h_we = 0;
        wait_for_memory(m);
        m->top->h_we = 1;
        m->top->h_addr = (at + static_cast<uint32_t>(i)) & 0xffffffu;
        m->top->h_wdata = words[i];
        m->cycle();
#if HD_PUMP > 1
        m->top->h_we = 0;
        for (int k = 0; k < 2; k++) m->cycle();
#endif
    }
    m->top->h_we = 0;
}

void rtl_read(hd_rtl *m, unsigned space, uint32_t at, uint32_t *words, size_t n) {
    m->top->h_space = static_cast<uint8_t>(space);
    for (size_t i = 0; i < n; i++) {
        m->top->h_addr = (at + static_cast<uint32_t>(i)) & 0xffffffu;
        m->top->h_re = 1;
        m->cycle();
        m->top->h_re = 0;
        wait_for_memory(m);
        for (int k = 0; k < 3; k++) m->cycle();
        words[i] = m->top->h_rdata;
    }
}

void rtl_start(hd_rtl *m) {
    const uint32_t one = 1;
#if HD_PUMP > 1
    m->late = !m->late;
#endif
    rtl_write(m, HD_SPACE_REG, HD_REG_CONTROL, &one, 1);
}

uint64_t rtl_step(hd_rtl *m, uint64_t cycles, int *busy) {
    uint64_t n = 0;
    for (; n < cycles && m->top->busy; n++) m->cycle();
    *busy = m->top->busy;
    return n;
}

// Leaves the model usable: back to idle.
void rtl_stop(hd_rtl *m) {
    m->top->rst_n = 0;
    for (int i = 0; i < 4; i++) m->cycle();
    m->top->rst_n = 1;
    m->cycle();
}

int rtl_run(hd_rtl *m, uint64_t max_cycles, uint64_t stall_seed, const volatile int *stop) {
    rtl_start(m);
    uint64_t s = stall_seed * 0x9e3779b97f4a7c15ull + 1;
    int result = 0;
    for (uint64_t n = 0; m->top->busy; n++) {
        if (max_cycles && n >= max_cycles) {
            result = 1;
            break;
        }
        if ((n & 0xffff) == 0xffff && stop && *stop) {
            result = 2;
            break;
        }
        if (stall_seed) {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            // Each stream is held in about a quarter of the cycles, in runs of various length.
            uint8_t stall = 0;
            for (int b = 0; b < 3; b++)
                if (((s >> (b * 8)) & 3) == 0) stall = static_cast<uint8_t>(stall | (1 << b));
            m->top->stall = stall;
        }
        m->cycle();
    }
    m->top->stall = 0;
    if (result) rtl_stop(m);
    return result;
}

const char *rtl_fault(hd_rtl *m, uint64_t *at) {
    int n = 0;
#ifdef HD_EXTERN
    // A Verilog string: the last character in the lowest byte.
    for (int i = 15; i >= 0; i--) {
        char c = static_cast<char>(m->top->fault[i / 4] >> (i % 4 * 8) & 0xff);
        if (c) m->fault[n++] = c;
    }
    *at = m->top->fault_at;
#endif
    m->fault[n] = 0;
    return n ? m->fault : nullptr;
}

const hd_rtl_api api = {HD_RTL_API_VERSION, rtl_open, rtl_close, rtl_write, rtl_read, rtl_run, rtl_start, rtl_step, rtl_stop, rtl_fault};

} // namespace

extern "C" const hd_rtl_api *hd_rtl_api_get(void) { return &api; }
