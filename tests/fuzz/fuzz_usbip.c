/* The USB/IP server and the virtual FTDI bridge, from a client that says anything. */
#include "../../drivers/usbip.h"
#include "served.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_usbip *s = NULL;
    hd_err err = {0};
    if (!size) return 0;
    served_start(data + 1, size - 1);
    fuzz_expect(!hd_usbip_listen(&s, served_device(data[0]), NULL, 0, &err), "%s", err.message);
    hd_status st = hd_usbip_serve(s, &served_stop, &err);
    fuzz_expect(st == HD_OK, "the server ends: %s", err.message);
    hd_usbip_close(s);
    served_end();
    return 0;
}
