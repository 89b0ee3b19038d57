/* What tests ask of a compressed network: how far it is from the float one, and that devices compute the integer executor's bytes. */
#ifndef HD_TEST_INTEGER_CHECKS_H
#define HD_TEST_INTEGER_CHECKS_H
#include "../../compiler/compress/compress.h"

/* Squared error of m's outputs, as numbers, over the sum of squares of g's, over all images of x (rank 2, bytes as the float network takes them). Ends the program when there is no memory. */
double hd_test_noise(const hd_graph *g, const hd_model *m, const hd_idx *x);
/* The same against tensor t of g, such as what goes into a softmax that m leaves out. */
double hd_test_noise_at(const hd_graph *g, int t, const hd_model *m, const hd_idx *x);
/* Compiles m for the geometry and runs the first images on device `ref`: an error that says where a byte is not the integer executor's. */
hd_status hd_test_ref_agrees(const hd_model *m, const char *geometry, const hd_idx *x, uint32_t images, hd_err *err);
#endif
