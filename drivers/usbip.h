/* A USB/IP server for one virtual device: any Linux machine attaches it as if it were plugged in (`usbip attach -r HOST -b 1-1`). */
#ifndef HD_USBIP_H
#define HD_USBIP_H
#include "vusb.h"

enum { HD_USBIP_PORT = 3240 };

typedef struct hd_usbip hd_usbip;

/* Listens on address:port (NULL = 127.0.0.1, 0 = a free port). Takes the device (closed by hd_usbip_close, and here on failure). */
hd_status hd_usbip_listen(hd_usbip **out, hd_vusb *device, const char *address, unsigned port, hd_err *err);
/* The failure that hd_usbip_listen would end with now, before a device is built: HD_USAGE for what is no address, HD_IO for a port in use. */
hd_status hd_usbip_can_listen(const char *address, unsigned port, hd_err *err);
unsigned hd_usbip_port(const hd_usbip *s);
/* Serves until *stop is set, checked at least every 50 ms, or the device's board fails. One client at a time; others wait. A client that goes away or speaks
 * nonsense loses its connection, and the device is reset for the next one. */
hd_status hd_usbip_serve(hd_usbip *s, const volatile int *stop, hd_err *err);
void hd_usbip_close(hd_usbip *s);
#endif
