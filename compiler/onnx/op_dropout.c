/* Dropout. In training form its mask comes from the Mersenne Twister (Matsumoto, Nishimura 1998), seeded and read as numpy's
 * legacy generator does, which is what the published results were made with. */
#include <string.h>

#include "call.h"

typedef struct twister {
    uint32_t state[624];
    int at;
} twister;

static void seed(twister *t, uint32_t s) {
    t->state[0] = s;
    for (uint32_t k = 1; k < 624; k++) t->state[k] = 1812433253u * (t->state[k - 1] ^ t->state[k - 1] >> 30) + k;
    t->at = 624;
}

static uint32_t next(twister *t) {
    if (t->at == 624) {
        for (int k = 0; k < 624; k++) {
            uint32_t y = (t->state[k] & 0x80000000u) | (t->state[(k + 1) % 624] & 0x7fffffffu);
            t->state[k] = t->state[(k + 397) % 624] ^ y >> 1 ^ (y & 1u ? 0x9908b0dfu : 0);
        }
        t->at = 0;
    }
    uint32_t y = t->state[t->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* 53 random bits in [0, 1). */
static double uniform(twister *t) {
    double high = (double)(next(t) >> 5);
    return (high * 67108864.0 + (double)(next(t) >> 6)) / 9007199254740992.0;
}

hd_status hd_op_dropout(hd_call *c) {
    const hd_nd *x = c->in[0];
    double ratio, training;
    HD_TRY(hd_in_number(c, 1, 0.5, &ratio));
    HD_TRY(hd_in_number(c, 2, 0, &training));
    if (c->opset < 7 && !hd_attr_i(c, "is_test", 0)) return hd_call_fail(c, HD_UNSUPPORTED, "training form of operator set %lld; is_test = 1 is supported", (long long)c->opset);
    uint8_t *mask = NULL;
    if (hd_wants(c, 1)) {
        HD_TRY(hd_out_like(c, 1, c->opset < 10 ? x->type : HD_TYPE_BOOL, x));
        if (c->opset < 10) return hd_call_fail(c, HD_UNSUPPORTED, "a mask in operator set %lld", (long long)c->opset);
        mask = c->out[1].data;
        if (x->count) memset(mask, 1, x->count);
    }
    if (training == 0 || ratio == 0) return hd_out_view(c, 0, x, x->rank, x->dim);
    if (!(ratio > 0 && ratio < 1)) return hd_call_fail(c, HD_RANGE, "ratio %g; 0 to below 1 is allowed", ratio);
    const hd_nd *v = hd_call_as(c, x, HD_TYPE_F64);
    hd_nd y;
    hd_err err = {0};
    if (!v) return HD_NOMEM;
    hd_status status = hd_nd_new(&y, HD_TYPE_F64, x->rank, x->dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    twister t;
    seed(&t, (uint32_t)hd_attr_i(c, "seed", 0));
    for (size_t k = 0; k < x->count; k++) {
        int keep = uniform(&t) >= ratio;
        ((double *)y.data)[k] = keep ? ((const double *)v->data)[k] / (1 - ratio) : 0;
        if (mask) mask[k] = (uint8_t)keep;
    }
    HD_TRY(hd_out_cast(c, 0, &y, x->type));
    return hd_work(c, (double)x->count);
}
