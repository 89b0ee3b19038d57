/* Cycles of a program, or of all array parts of a network in parts as if they were one: what predict and profile print. */
#include <stdlib.h>

#include "../core/progress.h"
#include "parts.h"

static hd_status measure(hd_cost **out, const hd_program *p, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    return driver ? hd_cost_measure(out, p, driver, o, err) : hd_cost_predict(out, p, err);
}

static hd_status measure_parts(cli_cost *c, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    const hd_parts *p = c->parts;
    hd_cost **part = calloc((size_t)p->n_parts + 1, sizeof *part);
    hd_status s = part ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; !s && k < p->n_parts; k++) {
        if (p->part[k].kind != HD_PART_ARRAY) continue;
        s = hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped") : measure(&part[k], p->part[k].program, driver, o, err);
    }
    if (!s) s = hd_cost_join(&c->cost, (const hd_cost *const *)part, p->n_parts, &c->program.geometry, err);
    for (int k = 0; part && k < p->n_parts; k++) hd_cost_free(part[k]);
    free(part);
    return s;
}

hd_status cli_cost_open(cli_cost *c, const char *path, hd_err *err) {
    uint32_t magic = 0;
    hd_err none;
    *c = (cli_cost){0};
    if (cli_file_magic(&magic, path, &none) || magic != (uint32_t)HD_HPP_MAGIC) {
        hd_status s = hd_program_load(&c->own, path, err);
        if (!s) c->program = *c->own;
        return s;
    }
    hd_status s = hd_parts_load(&c->parts, 1, path, err);
    for (int k = 0; !s && k < c->parts->n_parts; k++)
        if (c->parts->part[k].kind == HD_PART_ARRAY) {
            c->program = *c->parts->part[k].program;
            c->program.model = c->parts->name;
            return HD_OK;
        }
    return s ? s : hd_fail(err, HD_UNSUPPORTED, "%s: all of its parts run on the host; there are no cycles", path);
}

hd_status cli_cost_measure(cli_cost *c, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    return c->parts ? measure_parts(c, driver, o, err) : measure(&c->cost, c->own, driver, o, err);
}

void cli_cost_close(cli_cost *c) {
    hd_cost_free(c->cost);
    if (c->own) hd_program_free(c->own);
    hd_parts_free(c->parts);
    *c = (cli_cost){0};
}
