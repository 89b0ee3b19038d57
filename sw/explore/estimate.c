/* What is reckoned, not measured: what an FPGA holds, the block RAMs of memories, the time of a link. */
#include "../runtime/pack.h"
#include "point.h"

hd_capacity hd_board_capacity(const hd_board *b) {
    const hd_fpga *f = hd_board_fpga(b);
    return (hd_capacity){.cells = f ? f->cells : 0, .dsp = f ? f->dsp : 0, .ram = b->ram_kbit / (hd_board_is(b, HD_FPGA_ECP5) ? 18 : 4), .spram = b->spram_kbit / 256};
}

/* ---- block RAMs ---- */

static unsigned ceil_div(unsigned a, unsigned b) {
    return (a + b - 1) / b;
}

/* The fewest blocks of one shape for a memory of width x depth bits. Shapes are width and depth of one block. */
static unsigned blocks(unsigned width, unsigned depth, int ecp5) {
    static const unsigned ice[][2] = {{16, 256}, {8, 512}, {4, 1024}, {2, 2048}}, ecp[][2] = {{36, 512}, {18, 1024}, {9, 2048}, {4, 4096}, {2, 8192}, {1, 16384}};
    const unsigned(*shape)[2] = ecp5 ? ecp : ice;
    unsigned n = ecp5 ? 6 : 4, best = 0;
    if (!width || !depth) return 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned count = ceil_div(width, shape[i][0]) * ceil_div(depth, shape[i][1]);
        if (!best || count < best) best = count;
    }
    return best;
}

unsigned hd_ram_blocks(unsigned *spram, const hd_geometry *g, const hd_board *b) {
    const int ecp5 = hd_board_is(b, HD_FPGA_ECP5), large = b->spram_kbit > 0, narrow = large && g->slot > 1;
    const unsigned part = g->lanes / g->pump, halves = g->fetch, weight = g->cols * part * g->planes, deep = g->stream_words * g->pump;
    unsigned n = 0;
    *spram = 0;
    /* Memories of 32 bits; of the last one yosys leaves out the bits that nobody reads. */
    if (large) *spram += ceil_div(weight, 32) * 2 * ceil_div(deep, 16384);
    else n += weight / 32 * blocks(32, deep, ecp5) + blocks(weight % 32, deep, ecp5);
    if (narrow) {
        *spram += ceil_div(g->stream_words, 16384) + ceil_div(g->act_words * g->lanes, 32768);
    } else {
        n += blocks(16, g->stream_words, ecp5);
        n += halves * ceil_div(part, 4) * blocks(32, g->act_words * g->pump / halves, ecp5);
    }
    if (g->gather) n += g->lanes / 4 * (blocks(32, g->stream_words, ecp5) + g->rows * 2 * blocks(16, 2 * g->window_words, ecp5));
    else n += g->rows * halves * blocks(part * 8, 2 * g->window_words * g->pump / halves, ecp5);
    n += blocks(32, g->param_words, ecp5) + blocks(22, g->param_words, ecp5) + blocks(32, g->descriptors * HD_DESC_STRIDE, ecp5);
    if (g->perf) n += blocks(32, g->descriptors * HD_PERF_WORDS, ecp5);
    if (g->tables) n += (g->post ? 1 : g->rows) * blocks(32, 64 * (g->tables < 2 ? 2 : g->tables), ecp5);
    if (g->residual && g->post) n += blocks(16, g->rows * hd_geometry_residual_words(g) * g->lanes, ecp5);
    return n;
}

/* ---- the link ---- */

enum { FRAME_WORDS = 1024, HEAD = 1 + HD_LINK_HEADER + HD_LINK_CRC, UART_BITS = 10 };

/* Bytes of frames that carry n words one way, docs/link.md. */
static double frames(double words) {
    double n = 1;
    while (words > n * FRAME_WORDS) n++;
    return n * (HEAD + HD_LINK_CRC) + 4 * words;
}

/* Requests and their answers go at the same time, but for the last answer of a WRITE and for READ, which waits for each. */
double hd_link_seconds(const hd_program *p, const hd_board *b, double clock_hz) {
    double in = (double)hd_port_words(&p->input, p->geometry.lanes), out = (double)hd_port_words(&p->output, p->geometry.lanes);
    double reads = 1;
    while (out > reads * FRAME_WORDS) reads++;
    double bytes = frames(in) + HEAD + 2 * HEAD + reads * HEAD + frames(out);
    return bytes * UART_BITS / hd_board_bit_rate(b, clock_hz, NULL);
}
