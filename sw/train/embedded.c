/* The trained default network as bytes of the program: the assembler reads the file, no tool has to spell it out in C. */
#include "train.h"

__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        ".globl hd_default_model_first\n"
        ".hidden hd_default_model_first\n"
        "hd_default_model_first:\n"
        ".incbin \"" HD_DEFAULT_MODEL "\"\n"
        ".globl hd_default_model_end\n"
        ".hidden hd_default_model_end\n"
        "hd_default_model_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const unsigned char hd_default_model_first[], hd_default_model_end[];

const unsigned char *hd_default_model(size_t *size) {
    *size = (size_t)(hd_default_model_end - hd_default_model_first);
    return hd_default_model_first;
}
