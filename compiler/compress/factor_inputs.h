/* What a graph's layer sees on the calibration inputs, and what another graph wants of it there. Not for other folders. */
#ifndef HD_FACTOR_INPUTS_H
#define HD_FACTOR_INPUTS_H
#include "passes.h"

/* Second moments of a layer: inputs [ic][kh][kw] (or those of the fully connected layer), around their means. Owned; hd_layer_inputs_free. */
typedef struct hd_layer_inputs {
    int in, out;
    double *h;    /* [in][in] 2 X X^T / n, damped; positive definite */
    double *yx;   /* [out][in] 2 Y X^T / n */
    double *mean; /* [in + out] of the inputs and of the wanted outputs */
    double damping, samples; /* samples: windows that were looked at */
} hd_layer_inputs;

/* Of node `node` of p->g; Y is tensor `wanted` of the graph `reference` on the same calibration inputs. */
hd_status hd_layer_inputs_measure(hd_layer_inputs *out, const hd_pass *p, int node, const hd_graph *reference, int wanted, hd_err *err);
/* t [out][in] = (yx + damping w) h^-1: the weights that give the wanted outputs, drawn to the node's own where the inputs do not say. HD_RANGE. */
hd_status hd_layer_inputs_target(double *t, const hd_node *n, const hd_layer_inputs *x, hd_err *err);
void hd_layer_inputs_free(hd_layer_inputs *x);
#endif
