/* Activation memory: each tensor lives from the stage that writes it to the last one that reads it, and only tensors
 * that never live together may share words. Largest first at the lowest free address; within a few per cent of optimal on real networks
 * (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020). */
#include <stdlib.h>

#include "lower.h"

static int overlap_in_time(const hd_lifetime *a, const hd_lifetime *b) {
    return a->first <= b->last && b->first <= a->last;
}

uint64_t hd_place(hd_lifetime *t, int n) {
    uint64_t top = 0;
    for (int done = 0; done < n; done++) {
        /* Tensors already placed are marked by a complemented `words`; no second array is needed. */
        int pick = -1;
        for (int i = 0; i < n; i++)
            if (!(t[i].words >> 63) && (pick < 0 || t[i].words > t[pick].words)) pick = i;
        uint64_t at = 0;
        for (int moved = 1; moved;) {
            moved = 0;
            for (int i = 0; i < n; i++) {
                if (!(t[i].words >> 63) || !overlap_in_time(&t[i], &t[pick])) continue;
                uint64_t words = ~t[i].words;
                if (at < t[i].address + words && t[i].address < at + t[pick].words) at = t[i].address + words, moved = 1;
            }
        }
        t[pick].address = at;
        if (at + t[pick].words > top) top = at + t[pick].words;
        t[pick].words = ~t[pick].words;
    }
    for (int i = 0; i < n; i++) t[i].words = ~t[i].words;
    return top;
}
