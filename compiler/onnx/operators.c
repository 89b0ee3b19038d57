/* The table of operators. */
#include "call.h"

static const hd_host_op operators[] = {
#define HD_HOST_OP(name, since, until, min_in, max_in, max_out, types, attributes, run) {#name, since, until, min_in, max_in, max_out, types, attributes, run},
#include "operators.def"
#undef HD_HOST_OP
};

const hd_host_op *hd_host_operators(int *count) {
    *count = (int)(sizeof operators / sizeof *operators);
    return operators;
}
