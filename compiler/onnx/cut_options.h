/* How a graph with open sizes is run once: cut.h. */
#ifndef HD_CUT_OPTIONS_H
#define HD_CUT_OPTIONS_H
typedef struct hd_cut_options {
    const char *shape; /* NULL, or sizes of the inputs: "1x3x48x192", or "x=1x3x48x192,h=2x1x64" */
    const char *fix;   /* NULL, or inputs that always have one number: "sr=16000" */
} hd_cut_options;
#endif
