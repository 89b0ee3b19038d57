/* Scripts for the link and the USB, in which the other side is honest for a while, and first words of USB/IP and usb-redir clients. */
#include <string.h>

#include "../../sw/core/bytes.h"
#include "seeds.h"

static void write_scripts(void) {
    static const uint8_t operations[] = {0x20, 0, 0, 0x61, 4, 0, 0x02, 9, 0, 0xa0, 1, 0, 0xe5, 2, 0};
    static const char *const targets[] = {"link", "usb"};
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < 8; i++) {
            uint8_t s[220] = {(uint8_t)(t ? 1 + 4 * i : i)};
            char name[8] = {(char)('0' + i)};
            for (size_t k = t ? 60 : 8; k + sizeof operations < sizeof s; k += sizeof operations + 5) memcpy(s + k, operations, sizeof operations);
            s[(t ? 90 : 30) + i] = (uint8_t)(6 + i);
            seed_write(targets[t], name, s, sizeof s);
        }
    uint8_t bus[600] = {2};
    /* a device descriptor of 18 bytes, the configuration's head, all 32 bytes of it; answers to transfers */
    static const uint8_t device[18] = {18, 1, 0, 2, 255, 0, 0, 64, 9, 18, 1, 0, 0, 1, 1, 2, 3, 1};
    static const uint8_t config[32] = {9, 2, 32, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 2, 255, 0, 0, 0, 7, 5, 1, 2, 64, 0, 0, 7, 5, 0x81, 2, 64, 0, 0};
    size_t n = 3;
    bus[2] = 0x40; /* the status of SET_ADDRESS */
    bus[n++] = 0, bus[n++] = 0x40 | 18;
    memcpy(bus + n, device, 18);
    n += 19; /* and the status packet */
    bus[n++] = 0, bus[n++] = 0x40 | 9;
    memcpy(bus + n, config, 9);
    n += 10;
    bus[n++] = 0, bus[n++] = 0x40 | 32;
    memcpy(bus + n, config, 32);
    n += 33;
    for (; n + 16 < sizeof bus; n += 11) memcpy(bus + n, "\x81\x20\0\x80\6\0\1\0\0\22\0", 11);
    seed_write("vusb", "device", bus, sizeof bus);
}

static void put16(uint8_t *b, unsigned v) { b[0] = (uint8_t)(v >> 8), b[1] = (uint8_t)v; }

/* A piece that the client says at once. */
static void say(hd_writer *w, const uint8_t *bytes, size_t n) {
    hd_put_u8(w, (uint8_t)n);
    hd_put_bytes(w, bytes, n);
}

static void write_usbip(void) {
    for (int h = 0; h < 2; h++) {
        uint8_t op[40] = {1, 0x11, 0x80, 0x05}, command[48 + 16];
        hd_writer w = {0};
        hd_put_u8(&w, (uint8_t)h);
        say(&w, op, 8);
        op[3] = 0x03;
        memcpy(op + 8, "1-1", 3);
        say(&w, op, 40);
        static const uint8_t setups[][8] = {{0x80, 6, 0, 1, 0, 0, 18, 0}, {0x80, 6, 0, 2, 0, 0, 64, 0}, {0x80, 6, 1, 3, 9, 4, 255, 0}, {0, 9, 1, 0, 0, 0, 0, 0}, {0x40, 3, 0x1a, 0, 2, 0, 0, 0}, {0x40, 9, 1, 0, 2, 0, 0, 0}};
        unsigned number = 1;
        for (size_t i = 0; i < sizeof setups / sizeof *setups + 4; i++) {
            int bulk = i >= sizeof setups / sizeof *setups, in = bulk ? (int)(i & 1) : setups[i][0] >> 7;
            memset(command, 0, sizeof command);
            command[3] = 1;
            put16(command + 6, number++);
            command[15] = (uint8_t)in;
            command[19] = (uint8_t)(bulk ? h ? in ? 3 : 4 : in ? 1 : 2 : 0);
            put16(command + 26, bulk ? in ? 512 : 16 : setups[i][6]);
            if (!bulk) memcpy(command + 40, setups[i], 8);
            say(&w, command, bulk && !in ? 64 : 48);
        }
        memset(command, 0, sizeof command);
        command[3] = 2;
        put16(command + 22, number - 1);
        say(&w, command, 48);
        seed_write("usbip", h ? "ft2232h" : "ft231x", w.data, w.size);
        hd_writer_free(&w);
    }
}

/* A packet of usb-redir; without 64-bit ids before the hello. */
static void packet(hd_writer *w, uint32_t type, uint64_t id, int wide, const uint8_t *bytes, size_t n) {
    hd_writer p = {0};
    hd_put_u32(&p, type);
    hd_put_u32(&p, (uint32_t)n);
    if (wide) hd_put_u64(&p, id);
    else hd_put_u32(&p, (uint32_t)id);
    hd_put_bytes(&p, bytes, n);
    say(w, p.data, p.size);
    hd_writer_free(&p);
}

static void write_usbredir(void) {
    for (int wide = 0; wide < 2; wide++) {
        uint8_t hello[68] = "fuzz";
        hd_writer w = {0};
        hd_put_u8(&w, 1);
        hello[64] = wide ? 0xb6 : 0; /* capabilities */
        packet(&w, 0, 0, 0, hello, sizeof hello);
        packet(&w, 3, 0, wide, NULL, 0);                                     /* reset */
        packet(&w, 6, 1, wide, (const uint8_t *)"\1", 1);                     /* set configuration */
        packet(&w, 7, 2, wide, NULL, 0);                                     /* and get it */
        packet(&w, 9, 3, wide, (const uint8_t *)"\0\0", 2);                   /* set and get alternate settings */
        packet(&w, 10, 4, wide, (const uint8_t *)"\0", 1);
        packet(&w, 100, 5, wide, (const uint8_t *)"\x80\6\x80\0\0\1\0\0\22\0", 10); /* control: the device descriptor */
        packet(&w, 101, 6, wide, (const uint8_t *)"\4\0\4\0\0\0\0\0" "abcd", wide ? 12 : 8); /* bulk out, in */
        packet(&w, 101, 7, wide, (const uint8_t *)"\x83\0\0\2\0\0\0\0\0\0", wide ? 10 : 8);
        packet(&w, 21, 7, wide, NULL, 0);                                    /* cancel */
        seed_write("usbredir", wide ? "wide" : "narrow", w.data, w.size);
        hd_writer_free(&w);
    }
}

void seed_usb(void) {
    write_scripts();
    write_usbip();
    write_usbredir();
}
