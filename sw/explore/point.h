/* A design point: a network, how it is compressed, the array that runs it, the board that carries the array; and what comes of it.
 *
 * A point is decided by the texts of its axes and by the study it belongs to. Its result is one JSON file named by a hash of all that
 * decides it, written once and never changed, so that whoever finds it there need not compute it again: another process, another sweep,
 * another machine on the same files. What several points share is kept the same way: the compressed network with its accuracy beside the
 * points, the area of an array in heddle's cache. Several processes may work on one folder at a time. */
#ifndef HD_POINT_H
#define HD_POINT_H
#include <cjson/cJSON.h>

#include "../../compiler/compress/model.h"
#include "boards.h"
#include "measure.h"

enum { HD_AXIS_TEXT = 192, HD_STUDY_PATH = 512, HD_POINT_PLACE_SECONDS = 1800 };

typedef enum hd_axis {
    HD_AXIS_WEIGHTS,  /* "1".."8", "ternary", "auto:B": layer by layer by the automatic policy, within B bits a weight */
    HD_AXIS_SPARSITY, /* share of blocks removed */
    HD_AXIS_BLOCK,    /* "8x8", or "array": LANES x the channels of a tile */
    HD_AXIS_METHOD,   /* recipe.h */
    HD_AXIS_ENDS,     /* first and last layer: "8" bits and dense, "dense" in the point's bits, "same" as all */
    HD_AXIS_GEOMETRY, /* "4x8x8x2", or "board": the board's own */
    HD_AXIS_BOARD,    /* of boards.def, or "none": no area, no link, 48 MHz assumed */
    HD_AXIS_MEMORY,   /* "fit": as deep as the network needs, "board": the board's; then overrides, as in "fit,extern=0" */
    HD_AXES
} hd_axis;

typedef struct hd_axis_info {
    const char *name;      /* the option is --name */
    const char *otherwise; /* the text of a point that does not say */
    char separator;        /* between values of a sweep: commas, but semicolons for memories, whose values have commas */
} hd_axis_info;
extern const hd_axis_info hd_axes[HD_AXES];

typedef struct hd_point_spec {
    char axis[HD_AXES][HD_AXIS_TEXT]; /* canonical texts */
} hd_point_spec;

/* What all points of a sweep have in common. */
typedef struct hd_study {
    char model[HD_STUDY_PATH];                                                /* "default", or a file that compress takes */
    char calib[HD_STUDY_PATH], images[HD_STUDY_PATH], labels[HD_STUDY_PATH]; /* "" = Fashion-MNIST */
    uint32_t calib_count, count; /* items to calibrate on; images to judge by, 0 = all */
    int raw, hwc;                /* as for compress */
    double clock_hz;             /* 0 = the board's */
    int no_area;                 /* 1: nothing is synthesised */
} hd_study;

typedef enum hd_figure_id {
#define HD_FIGURE(id, name, title, unit, better) HD_FIGURE_##id,
#include "figures.def"
#undef HD_FIGURE
    HD_FIGURES
} hd_figure_id;

typedef struct hd_figure_info {
    const char *name, *title, *unit;
    int better;
} hd_figure_info;
extern const hd_figure_info hd_figure_infos[HD_FIGURES];

typedef struct hd_point_figure {
    double value, low, high; /* value NAN = there is none; low and high NAN = no band */
    const char *fidelity;    /* measured, exact model, analytic, synthesised, placed, assumed */
} hd_point_figure;

/* ---- specifications (point_spec.c) ---- */

void hd_point_default(hd_point_spec *p);
/* Sets one axis from what a user wrote; HD_USAGE or HD_RANGE say what is allowed. */
hd_status hd_point_set(hd_point_spec *p, hd_axis axis, const char *text, hd_err *err);
/* Board (NULL with "none") and geometry of a point; with memory "fit" the depths are roomy ones, for the compiler to cut down. */
hd_status hd_point_geometry(hd_geometry *g, const hd_board **board, int *fit, const hd_point_spec *p, hd_err *err);
/* The pruning block as numbers. */
hd_status hd_point_block(int *in, int *out, const hd_point_spec *p, hd_err *err);
/* Takes out what does not count: the sparsity of an automatic policy, the block of a dense network. Then checks what axes only say together. */
hd_status hd_point_settle(hd_point_spec *p, hd_err *err);
void hd_study_default(hd_study *s);
/* "heddle point default --weights 4 ...": the options that are not defaults. */
void hd_point_command(char *text, size_t n, const hd_study *s, const hd_point_spec *p);
cJSON *hd_study_json(const hd_study *s);
hd_status hd_study_read(hd_study *s, const cJSON *o, hd_err *err);
hd_status hd_figure_find(hd_figure_id *id, const char *name, hd_err *err);

/* ---- results (point.c) ---- */

/* Loads things when they are first needed. */
typedef struct hd_explorer hd_explorer;
/* folder is made when it is missing; the study is copied. */
hd_status hd_explorer_open(hd_explorer **out, const hd_study *s, const char *folder, hd_err *err);
void hd_explorer_close(hd_explorer *x);

/* folder/points/HASH.json, whether or not it is there. */
hd_status hd_point_path(char *path, size_t n, hd_explorer *x, const hd_point_spec *p, hd_err *err);
/* What points of one compression share, and of one area: equal keys, equal work. */
uint64_t hd_point_model_key(const hd_explorer *x, const hd_point_spec *p);
uint64_t hd_point_area_key(const hd_point_spec *p);
/* Makes the result unless it is there; *found tells. A network that the compiler cannot place is a result as well, one without figures. */
hd_status hd_point_make(hd_explorer *x, const hd_point_spec *p, int *found, hd_err *err);
/* Only the area of the point's array, into the cache. */
hd_status hd_point_area(hd_explorer *x, const hd_point_spec *p, hd_err *err);
/* Runs the point's program on the Verilated RTL: what it takes there, and whether every layer takes what the point says. */
hd_status hd_point_check(hd_explorer *x, const hd_point_spec *p, uint64_t *cycles, uint64_t *predicted, int *equal, hd_err *err);
/* Places and routes the point's design on its board, and writes folder/placed/HASH.json: the point with the clock that was reached. *fit 0: no room. */
hd_status hd_point_place(hd_explorer *x, const hd_point_spec *p, int *fit, hd_err *err);

/* ---- the compressed network (point_model.c) ---- */

typedef struct hd_point_data hd_point_data; /* network and data of a study */
hd_status hd_point_data_new(hd_point_data **out, const hd_study *s, hd_err *err);
void hd_point_data_free(hd_point_data *d);
/* A hash of the network's and the data files' content. */
uint64_t hd_point_data_hash(const hd_point_data *d);
/* folder/models/KEY.hdm and its accuracy, from there or made now. *m is owned by the caller. */
hd_status hd_point_model(hd_model **m, double *accuracy, hd_point_data *d, const hd_point_spec *p, const char *folder, uint64_t key, hd_err *err);

/* ---- estimates (estimate.c, energy.c): analytic, from what is written there ---- */

/* Logic cells, block RAMs and multipliers of an FPGA. 0 where it is not known. */
typedef struct hd_capacity {
    unsigned cells, ram, spram, dsp;
} hd_capacity;
hd_capacity hd_board_capacity(const hd_board *b);
/* Block RAMs of the memories of a geometry; *spram: large single-port RAMs, on boards that use them. */
unsigned hd_ram_blocks(unsigned *spram, const hd_geometry *g, const hd_board *b);
/* Seconds on the UART for one inference: its input, RUN, its output, with all framing; what the host and USB take besides is not in it. */
double hd_link_seconds(const hd_program *p, const hd_board *b, double clock_hz);

typedef struct hd_energy {
    double joule, low, high;
} hd_energy;
/* One inference: `seconds` of static power, and the flip-flops' switching in so many cycles, in `steps` of which the array works. */
hd_energy hd_energy_estimate(const hd_board *b, unsigned flip_flops, uint64_t cycles, uint64_t steps, double seconds);
#endif
