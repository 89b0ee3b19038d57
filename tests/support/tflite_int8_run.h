/* int8 TFLite files run as TFLite runs them: textbook loops written from the format's quantisation specification and from what its kernels are documented to round. They share the
 * file reader with the importer and nothing else. "TFLite's arithmetic" is three: */
#ifndef TFLITE_INT8_RUN_H
#define TFLITE_INT8_RUN_H
#include "../../compiler/import/tflite_internal.h"

typedef enum tflite_build {
    TFLITE_TWO_ROUNDINGS, /* reference kernels, and those for microcontrollers: a doubling high multiplication by 31 bits rounds to 2^-right of a code, a shift then to codes, both halves away from zero */
    TFLITE_ONE_ROUNDING,  /* the same built with TFLITE_SINGLE_ROUNDING: the whole product is shifted once, halves up */
    TFLITE_XNNPACK,       /* what the interpreter's default delegate does on processors: the accumulator times a float scale, rounded to the nearest even; additions by multipliers of 21 bits, halves up */
    TFLITE_BUILDS
} tflite_build;
extern const char *const tflite_build_name[TFLITE_BUILDS];

/* What a study puts in the place of a build's rounding; all 0: nothing. */
typedef struct tflite_changes {
    int bits;         /* of a multiplier, halves up in one rounding; 0 = the build's own */
    int additions;    /* 1 = each tensor of an addition is rounded, 2 = the sum is */
    int half_up_mean; /* of average pooling; TFLite's goes away from zero */
} tflite_changes;

/* value: [tensor of the file] its codes; the input's are there, all computed ones are written. A final softmax passes its input on: the class is the same. */
void tflite_run(hd_tflite *t, int8_t **value, tflite_build build, tflite_changes changes);
#endif
