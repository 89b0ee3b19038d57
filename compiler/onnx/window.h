/* Windows of convolutions and poolings over one to three axes. Private to this folder. */
#ifndef HD_WINDOW_H
#define HD_WINDOW_H
#include "call.h"

enum { HD_WINDOW_AXES = 3 };
typedef struct hd_window {
    int n; /* spatial axes */
    int64_t in[HD_WINDOW_AXES], out[HD_WINDOW_AXES], kernel[HD_WINDOW_AXES], stride[HD_WINDOW_AXES], dilation[HD_WINDOW_AXES], before[HD_WINDOW_AXES], after[HD_WINDOW_AXES];
} hd_window;

/* Reads strides, dilations, pads and auto_pad of the node for input x and a kernel, and computes the output's sizes. */
hd_status hd_window_read(hd_window *w, hd_call *c, const hd_nd *x, const int64_t *kernel, int64_t ceil_mode);
/* The attribute's list, one entry a spatial axis, or `fallback` in each. */
hd_status hd_window_list(hd_call *c, const char *name, int n, int64_t fallback, int64_t lowest, int64_t *list);
/* Elements of so many axes, none of them negative; HD_RANGE for more than 2^40, which no tensor has. */
hd_status hd_window_size(hd_call *c, int n, const int64_t *dim, int64_t *size);
/* Input position of tap t at output position o, -1 in the padding. Positions are row-major over the axes. */
int64_t hd_window_at(const hd_window *w, int64_t o, int64_t t);
#endif
