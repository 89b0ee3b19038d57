/* A .tflite file as plain structs; private to this folder. Field numbers are those of TensorFlow Lite's schema.fbs (version 3). */
#ifndef HD_TFLITE_INTERNAL_H
#define HD_TFLITE_INTERNAL_H
#include "flatbuffer.h"
#include "import.h"

enum { HD_TFLITE_MAX_RANK = 6, HD_TFLITE_MAX_INPUTS = 8, HD_TFLITE_MAX_ELEMENTS = 1 << 26 };

/* TensorType */
enum { HD_TFLITE_FLOAT32 = 0, HD_TFLITE_FLOAT16 = 1, HD_TFLITE_INT32 = 2, HD_TFLITE_UINT8 = 3, HD_TFLITE_INT64 = 4, HD_TFLITE_INT16 = 7, HD_TFLITE_INT8 = 9 };

/* BuiltinOperator */
typedef enum hd_tflite_op {
    HD_TFLITE_ADD = 0, HD_TFLITE_AVERAGE_POOL = 1, HD_TFLITE_CONV = 3, HD_TFLITE_DEPTHWISE = 4, HD_TFLITE_DEQUANTIZE = 6, HD_TFLITE_FULLY_CONNECTED = 9,
    HD_TFLITE_LOGISTIC = 14, HD_TFLITE_MAX_POOL = 17, HD_TFLITE_RELU = 19, HD_TFLITE_RELU6 = 21, HD_TFLITE_RESHAPE = 22, HD_TFLITE_SOFTMAX = 25,
    HD_TFLITE_TANH = 28, HD_TFLITE_PAD = 34, HD_TFLITE_MEAN = 40, HD_TFLITE_SQUEEZE = 43, HD_TFLITE_LEAKY_RELU = 98, HD_TFLITE_QUANTIZE = 114,
    HD_TFLITE_HARD_SWISH = 117
} hd_tflite_op;

typedef struct hd_tflite_tensor {
    char name[64];       /* shortened for messages; never empty */
    int type, rank;
    int dim[HD_TFLITE_MAX_RANK];
    size_t count;
    const uint8_t *data; /* lent, little-endian and whole; NULL: computed at run time */
    const uint8_t *scale, *zero; /* float32 and int64 [scales], lent; NULL: not quantised */
    size_t scales;       /* 1 or the size of dimension `axis` */
    int axis;
} hd_tflite_tensor;

typedef struct hd_tflite_node {
    int op;              /* hd_tflite_op, or another number of the schema */
    int n_inputs, input[HD_TFLITE_MAX_INPUTS]; /* tensors; -1 = left out */
    int output;
    size_t options;      /* table, 0 = none */
} hd_tflite_node;

typedef struct hd_tflite {
    const char *label;   /* path for messages */
    hd_flat flat;
    int n_tensors, n_nodes, input, output;
    hd_tflite_tensor *tensor; /* owned */
    hd_tflite_node *node;     /* owned */
} hd_tflite;

/* tflite_read.c: everything is checked here against the file and against itself (indices, sizes, quantisation). */
hd_status hd_tflite_read(hd_tflite *t, const uint8_t *data, size_t size, const char *label, hd_err *err);
void hd_tflite_free(hd_tflite *t);
const char *hd_tflite_type_name(int type);
/* "conv2d.3": what a node is called in messages and policies. */
void hd_tflite_node_name(const hd_tflite *t, int node, char *name, size_t size);
/* `count` real values of a constant: float32, float16, or integers by their scale. */
void hd_tflite_values(const hd_tflite_tensor *x, float *to);
/* The same in new memory; NULL without. */
float *hd_tflite_floats(const hd_tflite_tensor *x);
float hd_tflite_scale(const hd_tflite_tensor *x, size_t channel);
int64_t hd_tflite_zero(const hd_tflite_tensor *x, size_t channel);
#endif
