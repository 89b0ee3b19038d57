/* Losses with a teacher (internal to sw/train and its tests).
 *
 * With student logits x, teacher logits y, softmax p_T(x) at temperature T (Hinton, Vinyals and Dean 2015):
 *
 *     loss = (1 - share) * cross-entropy(label, p_1(x)) + share * T^2 * KL(p_T(y) || p_T(x))
 *     d loss / dx = (1 - share) * (p_1(x) - onehot(label)) + share * T * (p_T(x) - p_T(y))
 */
#ifndef HD_TRAIN_DISTIL_H
#define HD_TRAIN_DISTIL_H
#include "data.h"

enum { HD_MAX_CLASSES = 4096 };

typedef struct hd_distil {
    float share, temperature;
} hd_distil;

/* As hd_batch_loss; teacher: [n][classes] logits of the samples b holds. */
double hd_distil_loss(hd_batch *b, const int *labels, const float *teacher, const hd_distil *d, float scale);

/* Where teacher logits come from: a frozen network, or one that is trained meanwhile (deep mutual learning, Zhang et al. 2018). Frozen ones on
 * images that are never moved are computed once. */
typedef struct hd_teacher {
    const hd_graph *g;   /* lent */
    int threads, capacity;
    size_t classes;
    hd_batch **worker;   /* [threads] */
    float **logits;      /* [threads][capacity][classes] */
    float *known;        /* [images][classes], or NULL */
} hd_teacher;

/* like: the student, whose input and number of outputs the teacher must share. */
hd_status hd_teacher_new(hd_teacher *t, const hd_graph *g, const hd_graph *like, int capacity, int threads, hd_err *err);
void hd_teacher_free(hd_teacher *t);
/* Computes the logits of all images of d, once, on the teacher's threads. */
hd_status hd_teacher_learn(hd_teacher *t, const hd_data *d, hd_err *err);
/* [n][classes] logits for the n picked images that `student` holds; lent until the thread's next call. */
const float *hd_teacher_logits(hd_teacher *t, int thread, const hd_batch *student, const hd_pick *pick);
#endif
