/* Energy of an inference, an estimate with a band.
 *
 * E = P_static * t + flip-flops * E_toggle * (busy * A_work + idle * A_rest)
 *
 * t is the end-to-end time; busy and idle are the cycles in which the array takes a step and the others, from the exact model. E_toggle is what a design spends on a flip-flop that
 * changes once, its share of clock tree, wiring and logic behind it included, as public measurements of register power give it. A, the share of flip-flops that change in a cycle,
 * is not measured here and is what makes the band wide. Not in it: the SDRAM, the USB bridge, regulators, pins. Nothing here was measured on a board of ours. */
#include "point.h"

/* Sources of the watts and pJ in boards/fpgas.def. toggle: github.com/targeted/fpga-reg-power, microwatts for a register that changes at 100 MHz: ECP5 23 to 25, iCE40HX1K 92.
 * iCE40UP5K is not among them: its 36 pJ for an 8 x 8 product in LUTs (github.com/tinyvision-ai-inc/ice40_power) over some 64 cells is 0.56 pJ a cell. At rest: core current times
 * core voltage; LFE5U-85F 212 mA and iCE40HX8K 1.14 mA, typical, of Lattice's data sheets; iCE40UP5K 86 uA, measured with a blank design (ice40_power). Process and temperature
 * move it by half to three times.
 * Against a measurement: a machine-learning core that fills a UP5K took 10.6 mW at work and 3.5 mW idle at 12 MHz (Symbiotic EDA, MLAccel, 2018), 880 and 290 pJ a cycle;
 * 4,000 flip-flops take 270 to 1,100 at work and 45 to 340 at rest by that table. */

/* Shares of flip-flops that change in a cycle: low, middle, high. Random data changes half of a data path's. */
static const double work[3] = {0.12, 0.25, 0.5}, rest[3] = {0.02, 0.06, 0.15};

hd_energy hd_energy_estimate(const hd_board *b, unsigned flip_flops, uint64_t cycles, uint64_t steps, double seconds) {
    double joule[3] = {0};
    const hd_fpga *r = hd_board_fpga(b);
    if (r) {
        const double factor[3] = {r->low, 1, r->high};
        for (int k = 0; k < 3; k++) {
            double toggles = (double)flip_flops * ((double)steps * work[k] + (double)(cycles - steps) * rest[k]);
            joule[k] = r->static_w * factor[k] * seconds + toggles * r->toggle_pj * 1e-12;
        }
    }
    return (hd_energy){.joule = joule[1], .low = joule[0], .high = joule[2]};
}
