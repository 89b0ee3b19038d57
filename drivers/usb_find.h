/* Boards on the USB: those with a heddle device in the FPGA, and those behind an FTDI bridge. */
#ifndef HD_USB_FIND_H
#define HD_USB_FIND_H
#include "usb_pipe.h"

typedef struct hd_usb_info {
    uint16_t vendor, product;
    enum hd_usb_kind kind;
    const char *kind_name; /* "native", "FT2232H", "FT231X" */
    int interface;         /* that carries the bytes */
    char path[32];         /* bus and ports: "1-4.2" */
    char serial[64];       /* "" when it has none or cannot be opened */
    char title[96];        /* product string, else the kind's name */
    int usable;
    char why[192];         /* when not usable: what to do */
} hd_usb_info;

/* All boards found, in the order of their paths; *list is malloc'ed (NULL when *n is 0). HD_DEVICE when there is no USB here at all. */
hd_status hd_usb_list(hd_usb_info **list, size_t *n, hd_err *err);
/* Opens the board that `where` names: NULL or "" (the only one), a serial number, a path "1-4.2" or "0403:6010". None or several: HD_DEVICE with the list. */
hd_status hd_usb_open(hd_pipe **out, const char *where, const hd_usb_options *o, hd_err *err);
/* Opens a board by an open file descriptor of its usbfs node (which must stay open), as sandboxes and Android hand them out. The kind comes from its
 * descriptors. */
hd_status hd_usb_open_fd(hd_pipe **out, int fd, const hd_usb_options *o, hd_err *err);
#endif
