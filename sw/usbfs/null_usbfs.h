/* A USB device that takes no time, behind the kernel's usbfs interface in this program itself: ioctl, poll, read and lseek are defined here, and libusb's calls bind to them. For
 * measuring what a program spends around libusb; so it lives in a program of its own. Open its descriptor by hd_usb_open_fd or libusb_wrap_sys_device. */
#ifndef NULL_USBFS_H
#define NULL_USBFS_H
#include <stdint.h>

enum null_usbfs_mode {
    NULL_USBFS_STREAM, /* OUT bytes are taken, IN transfers are filled, both at once */
    NULL_USBFS_ECHO    /* OUT bytes come back: an IN transfer waits for them */
};

/* A new device 1209:0001 at high speed, with bulk endpoints 0x01 and 0x81; its descriptor, or -1. */
int null_usbfs_plug(enum null_usbfs_mode mode);
/* Bytes that went out and came in so far, copied as the kernel copies them. */
uint64_t null_usbfs_out(void);
uint64_t null_usbfs_in(void);
void null_usbfs_remove(void);
#endif
