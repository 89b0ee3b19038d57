/* A front end of a virtual USB device (USB/IP, usb-redir) and a client whose bytes are the input: pieces of a length byte and so many bytes, one each time the server waits. The
 * calls poll and accept are the harness's (--wrap), so no network is needed; time is counted in calls. */
#ifndef SERVED_H
#define SERVED_H
#include "../../drivers/vusb.h"
#include "fuzz.h"

/* An FTDI bridge before a board that answers every byte. */
hd_vusb *served_device(unsigned how);
/* The client's bytes, before the server runs; *served_stop is set when it is over and the server waits for another. */
void served_start(const uint8_t *data, size_t size);
void served_end(void);
extern volatile int served_stop;
#endif
