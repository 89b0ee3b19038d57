/* The steps that `--method` names, for one layer: what happens to it before its weights are solved, how they are solved, and what codes them.
 *
 * A recipe is written as names joined by '+', a number after ':' where a name takes one: "gptq", "smooth:0.5+gptq", "svd:0.25+residual+gptq",
 * "table:9". Steps run in the order of the fields below, whatever the order of the names. hd_recipe_parse knows the names that are
 * built; a field without a name there is refused by hd_policy_check. */
#ifndef HD_RECIPE_H
#define HD_RECIPE_H
#include "linear.h"

/* 1. The layer becomes several (compiler/compress/factor.h). */
typedef enum hd_factoring { HD_FACTOR_NONE, HD_FACTOR_SVD, HD_FACTOR_TUCKER, HD_FACTOR_CP, HD_FACTOR_TRAIN } hd_factoring;
/* 3. Scales move from a layer's inputs into its weights. */
typedef enum hd_folding { HD_FOLD_NONE, HD_FOLD_SMOOTH, HD_FOLD_AWQ } hd_folding;
/* 5. How weights are written. Language models only, but INTEGER. */
typedef enum hd_coding { HD_CODING_INTEGER, HD_CODING_TABLE, HD_CODING_ADDITIVE, HD_CODING_TRELLIS, HD_CODING_E8P } hd_coding;

typedef struct hd_recipe {
    hd_factoring factor;
    float rank;        /* the factors' weights over the layer's, at most; 0 < rank <= 1 */
    int residual;      /* factors are kept in 8 bits, and what they leave over beside them in the policy's bits */
    float outliers;    /* 2. inputs whose largest magnitude is above this many times the median input's go their own way; 0 = none do */
    hd_folding fold;
    float fold_power;  /* SMOOTH: alpha; AWQ chooses it by search */
    hd_method solver;  /* 4. */
    int published;     /* the solver as its paper has it, without descent, exchanges and fits (gptq0, sparsegpt0, iobs0) */
    int in_order;      /* GPTQ's columns as they stand, not by falling diagonal */
    int moving;        /* GPTQ's group scales are found on the way, not before (columns in order) */
    hd_coding coding;
    int coding_bits;   /* of a code, of a group of coding_group weights; E8P: a weight, 2 to 4 */
    int pv;            /* 6. codes and values are trained on after that (sw/train/pv_tune.h): language models, heddle tune */
    int coding_group;  /* no part of the line: the policy's; 0 = the coding's default */
} hd_recipe;

/* The recipe that `text` names; fields without a name in it take their defaults (nothing; solver RTN). HD_RANGE or HD_FORMAT say what is
 * wrong with it and what is allowed. */
hd_status hd_recipe_parse(hd_recipe *r, const char *text, hd_err *err);
/* The names of a recipe, as hd_recipe_parse takes them. */
void hd_recipe_text(const hd_recipe *r, char *text, size_t size);
/* The options of the solver for a format: sparse formats are solved by SPARSEGPT unless the recipe says IOBS or RTN (the largest
 * stay, rounded), dense ones by GPTQ where it says SPARSEGPT or IOBS. */
void hd_recipe_solver(hd_linear_options *o, const hd_recipe *r, int sparse);
/* Does anything happen to the graph (fields 1 to 3)? */
int hd_recipe_rewrites(const hd_recipe *r);
#endif
