/* What the files of seeds share. */
#ifndef SEEDS_H
#define SEEDS_H
#include "../../compiler/graph/llama.h"

extern hd_err seed_err;
/* Ends the program with the message of seed_err. */
void seed_good(hd_status s);
/* FOLDER/TARGET/NAME, lent until the next call; the folder is made. */
const char *seed_path(const char *target, const char *name);
void seed_write(const char *target, const char *name, const void *data, size_t size);
/* seeds_llama.c: m in the formats that heddle reads and does not write. */
void seed_gguf(const hd_llama *m, int seed);
void seed_safetensors(const hd_llama *m, int seed);
/* seeds_host.c: operators of the host executor. */
void seed_host(void);
/* seeds_tflite.c */
void seed_tflite(void);
/* seeds_usb.c: link, USB, USB/IP, usb-redir. */
void seed_usb(void);
#endif
