/* Queues of transfers, oldest first, for the devices behind vusb.h. */
#ifndef HD_VUSB_QUEUE_H
#define HD_VUSB_QUEUE_H
#include "vusb.h"

typedef struct queue {
    hd_vusb_transfer *first, **end;
} queue;

static inline void push(queue *q, hd_vusb_transfer *t) {
    if (!q->first) q->end = &q->first;
    t->next = NULL;
    *q->end = t;
    q->end = &t->next;
}

static inline hd_vusb_transfer *pop(queue *q) {
    hd_vusb_transfer *t = q->first;
    if (t) q->first = t->next;
    return t;
}

/* 1 when it was in the queue. */
static inline int take_out(queue *q, const hd_vusb_transfer *t) {
    for (hd_vusb_transfer **at = &q->first; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            q->end = &q->first;
            while (*q->end) q->end = &(*q->end)->next;
            return 1;
        }
    return 0;
}

#endif
