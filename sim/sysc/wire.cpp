#include "wire.h"

#include <algorithm>
#include <cmath>
#include <deque>

Wire::Wire(const hd_sysc_config &c) : link_(c.link), clock_(1 / c.clock_hz), byte_(0), frame_(0), overhead_(0), nak_(0), packet_(0), fifo_(0) {
    switch (link_) {
    case HD_SYSC_NONE: break;
    case HD_SYSC_UART: byte_ = 10 / c.bit_rate; break; // start bit, 8 data bits, stop bit
    case HD_SYSC_FULL_SPEED: byte_ = 8 / 12e6, frame_ = 1e-3, overhead_ = 13, nak_ = 8, packet_ = 64, fifo_ = 512; break;
    case HD_SYSC_HIGH_SPEED: byte_ = 8 / 480e6, frame_ = 125e-6, overhead_ = 55, nak_ = 36, packet_ = 512, fifo_ = 2048; break;
    }
}

// When a transaction of so many bytes can begin: it ends with the frame it begins in, behind that frame's start.
double Wire::fit(double at, double bytes) const {
    const double start_of_frame = 6 * byte_;
    double frame = std::floor(at / frame_), begin = std::max(at, frame * frame_ + start_of_frame);
    return begin + bytes * byte_ <= (frame + 1) * frame_ ? begin : (frame + 1) * frame_ + start_of_frame;
}

double Wire::usb_out(double from, std::size_t n, double takes) const {
    std::deque<double> free_at; // when the board has taken each packet that may still be in the FIFO
    double at = from, taken = from;
    for (std::size_t sent = 0; sent < n;) {
        std::size_t size = std::min(packet_, n - sent);
        double bytes = overhead_ + static_cast<double>(size), begin = fit(at, bytes);
        while (free_at.size() >= fifo_ / packet_ && free_at.front() > begin) {
            // No room: the data goes for nothing, at high speed only a PING; the host's IN in between finds nothing.
            at = begin + (link_ == HD_SYSC_FULL_SPEED ? bytes : nak_) * byte_;
            begin = fit(fit(at, nak_) + nak_ * byte_, bytes);
        }
        while (!free_at.empty() && free_at.front() <= begin) free_at.pop_front();
        double end = begin + bytes * byte_;
        taken = std::max(taken, end) + static_cast<double>(size) * takes;
        free_at.push_back(taken);
        sent += size;
        at = fit(end, nak_) + nak_ * byte_;
    }
    return taken;
}

double Wire::usb_in(double from, std::size_t n, double makes) const {
    double at = from;
    for (std::size_t got = 0; got < n;) {
        double begin = fit(at, nak_);
        std::size_t made = static_cast<std::size_t>((begin - from) / makes), size = std::min({packet_, n - got, made > got ? std::min(made - got, fifo_) : 0});
        if (size == 0) { // NAK: the host asks again
            at = begin + nak_ * byte_;
            continue;
        }
        double bytes = overhead_ + static_cast<double>(size);
        at = fit(begin, bytes) + bytes * byte_;
        got += size;
    }
    return at;
}

double Wire::out(double from, std::size_t n, double clocks) const {
    double bytes = static_cast<double>(n);
    switch (link_) {
    case HD_SYSC_NONE: return from;
    case HD_SYSC_UART: return from + bytes * std::max(byte_, clocks * clock_);
    default: return usb_out(from, n, clocks * clock_);
    }
}

double Wire::in(double from, std::size_t n, double clocks) const {
    double bytes = static_cast<double>(n);
    switch (link_) {
    case HD_SYSC_NONE: return from;
    case HD_SYSC_UART: return from + clocks * clock_ + bytes * std::max(byte_, clocks * clock_);
    default: return usb_in(from, n, clocks * clock_);
    }
}
