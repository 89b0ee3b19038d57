// How long bytes take between host and board: UART bits, full-speed and high-speed USB transactions. Times in seconds of the simulation.
//
// USB is modelled transaction by transaction with the overheads of USB 2.0, tables 5-9 and 5-10 (SYNC, PID, token, CRC, gaps between packets: 13 bytes at full speed, 55 at
// high speed), frames of 1,500 and microframes of 7,500 bytes that no transaction crosses, and a device that answers NAK while its FIFO is full or empty: full-speed OUT data is
// then sent again, at high speed the host asks by PING. The driver always has transfers waiting for the board, so that behind each OUT the host asks by an IN, which the board answers with NAK. Bit stuffing, errors and other devices on the bus are not modelled.
#ifndef HD_SYSC_WIRE_H
#define HD_SYSC_WIRE_H
#include <cstddef>

#include "sysc_api.h"

class Wire {
public:
    explicit Wire(const hd_sysc_config &config);
    // Behind a READ the link waits for its answer.
    bool one_by_one() const { return link_ == HD_SYSC_UART; }
    // The board has taken all n bytes that the host began to send at `from`; it takes one in `clocks` of its clock, or later.
    double out(double from, std::size_t n, double clocks) const;
    // The host has n bytes that the board began to make at `from`, one in `clocks`.
    double in(double from, std::size_t n, double clocks) const;

private:
    double usb_out(double from, std::size_t n, double made) const;
    double usb_in(double from, std::size_t n, double made) const;
    double fit(double at, double bytes) const;

    hd_sysc_link link_;
    double clock_, byte_;                        // seconds of a clock of the board, and of a byte on the wire
    double frame_, overhead_, nak_;              // seconds of a frame; bytes around a packet, of a transaction that ends with NAK before data
    std::size_t packet_, fifo_;
};

#endif
