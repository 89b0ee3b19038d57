/* A USB device behind the kernel's usbfs interface, inside the test program: ioctl, read and lseek are defined here, libusb's calls bind to them. Open the
 * descriptor of usbfs_plug() by hd_usb_open_fd. The device is a board of the link (link_board.h), as native bulk endpoints or behind an FTDI
 * bridge; faults are injected between it and the host. One device at a time. Its time is
 * virtual: clock_gettime and poll are defined here too, and waiting takes none. */
#ifndef USBFS_H
#define USBFS_H
#include <stdint.h>

#include "../../sw/core/rng.h"
#include "../support/link_board.h"

enum usbfs_kind { USBFS_NATIVE, USBFS_FT2232H, USBFS_FT231X, USBFS_STRANGER };

/* Chances a transfer. */
typedef struct usbfs_faults {
    double lost_out, corrupt_out, short_out, stall_out, error_out;
    double lost_in, corrupt_in, twice_in, stall_in, error_in, overflow_in;
    double delay, most_delay; /* of a completion, seconds */
    double no_memory;         /* of a submission */
    double overrun;           /* FTDI: the status bit, and a packet lost */
    double unplug;
} usbfs_faults;

/* Plugs a new device in; returns its descriptor, or -1. Closed by usbfs_remove. */
int usbfs_plug(enum usbfs_kind kind, link_board *board, uint64_t seed);
/* Pulls it out: requests fail from now on, transfers under way come back. */
void usbfs_pull(void);
/* Ends the device for good; the driver must have closed it. */
void usbfs_remove(void);
void usbfs_set_faults(const usbfs_faults *f);
/* Bulk data goes to nobody and comes from nowhere at once: for measuring the driver alone. */
void usbfs_null_device(int on);
/* FTDI: the board's wire has the rate of this SET_BAUD_RATE (as in usbfs_counts); at another one bytes arrive as others. 0: at any rate. */
void usbfs_wire_rate(uint32_t baud);
typedef struct usbfs_counts {
    uint64_t transfers, faults, claims, releases, detached, attached, bad; /* bad: what no driver may do */
    unsigned under_way_most, under_way;
    uint32_t baud; /* wValue | wIndex << 16 of the last SET_BAUD_RATE */
    int latency;
} usbfs_counts;
usbfs_counts usbfs_look(void);
/* What the next claim answers: 0, or an errno such as EBUSY. */
void usbfs_refuse_claim(int error);
#endif
