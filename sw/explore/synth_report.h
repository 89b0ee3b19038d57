/* Reading what the tools of synth.c left behind. */
#ifndef HD_SYNTH_REPORT_H
#define HD_SYNTH_REPORT_H
#include "synth.h"

/* In the folder of a design whose placer was stopped: the seconds it was given. */
#define HD_SYNTH_GAVE_UP "gave_up"

/* A text file, to be freed; NULL with the reason in err. */
char *hd_synth_read_log(const char *log, hd_err *err);
/* Reads nextpnr's "ICESTORM_LC:  5308/ 5280 100%" lines out of its log. */
void hd_synth_read_uses(hd_synth_report *r, const char *text);
/* Nothing is used more often than the device has it. */
int hd_synth_fits(const hd_synth_report *r);
/* Seconds after which the placer of this folder was stopped, 0 = it was not. */
unsigned hd_synth_given_up(const char *folder);
/* All that r->folder tells; r->bitstream and r->wanted_mhz must be set. pump: cycles of clk_fast in one of clk. */
hd_status hd_synth_read_report(hd_synth_report *r, unsigned pump, hd_err *err);
#endif
