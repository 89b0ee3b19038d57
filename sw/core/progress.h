/* A progress line with time left on standard error; silent when that is no terminal. */
#ifndef HD_PROGRESS_H
#define HD_PROGRESS_H

typedef struct hd_progress {
    const char *label; /* lent */
    double start, last, total;
    int on;
} hd_progress;

void hd_progress_start(hd_progress *p, const char *label, double total);
/* done of total; `note` (may be NULL) follows the bar. Redraws at most ten times a second. */
void hd_progress_show(hd_progress *p, double done, const char *note);
void hd_progress_end(hd_progress *p);
/* Seconds of a monotonic clock. */
double hd_seconds(void);
/* Processor time of all threads of this process, in seconds: what other work on the machine does not change much. */
double hd_cpu_seconds(void);
/* Set by the CLI's SIGINT handler; long work looks at it and returns HD_INTERRUPTED. */
extern volatile int hd_interrupted;
#endif
