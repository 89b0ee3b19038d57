/* The usb-redir server and the virtual FTDI bridge, from a client that says anything. */
#include <stdio.h>
#include <unistd.h>

#include "../../drivers/usbredir.h"
#include "served.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    hd_usbredir *s = NULL;
    hd_err err = {0};
    if (!size) return 0;
    snprintf(path, sizeof path, "/tmp/heddle-fuzz-%ld.socket", (long)getpid());
    served_start(data + 1, size - 1);
    fuzz_expect(!hd_usbredir_listen(&s, served_device(data[0]), path, &err), "%s", err.message);
    hd_status st = hd_usbredir_serve(s, &served_stop, &err);
    fuzz_expect(st == HD_OK, "the server ends: %s", err.message);
    hd_usbredir_close(s);
    served_end();
    return 0;
}
