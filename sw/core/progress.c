#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

volatile int hd_interrupted;

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double hd_seconds(void) { return seconds_of(CLOCK_MONOTONIC); }
double hd_cpu_seconds(void) { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

void hd_progress_start(hd_progress *p, const char *label, double total) {
    *p = (hd_progress){.label = label, .start = hd_seconds(), .total = total, .on = isatty(STDERR_FILENO)};
    p->last = p->start - 1.0;
}

static void time_left(char text[32], double seconds) {
    if (seconds < 0 || seconds > 359999) text[0] = 0;
    else if (seconds < 100) snprintf(text, 32, "%.0f s left", seconds);
    else if (seconds < 6000) snprintf(text, 32, "%d min %d s left", (int)seconds / 60, (int)seconds % 60);
    else snprintf(text, 32, "%d h %d min left", (int)seconds / 3600, (int)seconds / 60 % 60);
}

void hd_progress_show(hd_progress *p, double done, const char *note) {
    if (!p->on) return;
    double now = hd_seconds();
    if (now - p->last < 0.1) return;
    p->last = now;
    double share = p->total > 0 ? done / p->total : 0;
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    char bar[25], left[32] = "", line[256];
    int full = (int)(share * 24);
    for (int i = 0; i < 24; i++) bar[i] = i < full ? '#' : '.';
    bar[24] = 0;
    if (share > 0 && now - p->start > 0.5) time_left(left, (now - p->start) * (1 - share) / share);
    snprintf(line, sizeof line, "%s [%s] %3d%% %s%s%s", p->label, bar, (int)(share * 100), left, note && left[0] ? ", " : "", note ? note : "");
    /* A line that wraps could not be redrawn. */
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && strlen(line) >= size.ws_col) line[size.ws_col - 1] = 0;
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
}

void hd_progress_end(hd_progress *p) {
    if (!p->on) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    p->on = 0;
}
