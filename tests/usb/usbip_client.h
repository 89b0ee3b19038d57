/* A USB/IP client for tests, written from the protocol's description: requests and transfers of the device 1-1, and a pipe of bytes through what it is. Everything that should not happen ends the program. */
#ifndef USBIP_CLIENT_H
#define USBIP_CLIENT_H
#include <stddef.h>
#include <stdint.h>

#include "../../drivers/pipe.h"

uint32_t be32(const uint8_t *b);
void set32(uint8_t *b, uint32_t v);
/* A connection to the server on this machine; bytes out; n bytes in (0 when they do not come in five seconds). */
int call_server(unsigned port);
void say(int fd, const void *bytes, size_t n);
int hear(int fd, void *bytes, size_t n);
/* A connection with the device imported. */
int import_device(unsigned port);
/* Sends a CMD_SUBMIT; returns its number. */
uint32_t submit(int fd, unsigned endpoint, int in, const uint8_t *setup, const void *bytes, uint32_t n);
uint32_t next_number(void);
/* A control transfer: its status, and the bytes. */
int control(int fd, uint8_t type, uint8_t request, uint16_t value, uint16_t index, uint16_t length, void *bytes, uint32_t *actual);
enum client_kind { CLIENT_FT231X = 0, CLIENT_FT2232H = 1, CLIENT_NATIVE };
/* The device as a pipe. */
hd_pipe *client_pipe_open(unsigned port, enum client_kind kind);
#endif
