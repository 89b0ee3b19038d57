/* usb-redir for one virtual device: QEMU plugs it into a guest's xHCI controller (`-device usb-redir`), where the guest's own kernel enumerates and resets it. */
#ifndef HD_USBREDIR_H
#define HD_USBREDIR_H
#include "vusb.h"

typedef struct hd_usbredir hd_usbredir;

/* Listens on a UNIX socket made at `path`, for this user only; what a server that died left there is replaced. Takes the device (closed by
 * hd_usbredir_close, and here on failure). HD_USAGE for a path that is too long, HD_IO when something else is there or listens there. */
hd_status hd_usbredir_listen(hd_usbredir **out, hd_vusb *device, const char *path, hd_err *err);
/* The failure that hd_usbredir_listen would end with now because of the path, before a device is built. */
hd_status hd_usbredir_can_listen(const char *path, hd_err *err);
/* Serves until *stop is set, checked at least every 50 ms, or the device's board fails. One client at a time; others wait. A client that goes away or speaks
 * nonsense loses its connection, and the device is reset for the next one. */
hd_status hd_usbredir_serve(hd_usbredir *s, const volatile int *stop, hd_err *err);
void hd_usbredir_close(hd_usbredir *s); /* removes the socket */
#endif
