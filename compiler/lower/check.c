/* hd_program_check: what stands between a file and a device. Every address is computed in 64 bits without wrapping, and every
 * count that ends a loop of the hardware is compared with what the loop really sees. */
#include <math.h>
#include <string.h>

#include "lower.h"

typedef struct desc_check {
    const hd_program *p;
    const uint32_t *d;
    uint32_t n; /* number of the descriptor */
    hd_err *err;
} desc_check;

#define GET(c, name) hd_field_get((c)->d, HD_F_##name)

static hd_status bad(const desc_check *c, const char *thing, int64_t found, const char *relation, int64_t allowed) {
    return hd_fail(c->err, HD_FORMAT, "descriptor %u: %s %lld; allowed %s%lld", c->n, thing, (long long)found, relation, (long long)allowed);
}
static hd_status equal(const desc_check *c, const char *thing, int64_t found, int64_t expected) {
    return found == expected ? HD_OK : bad(c, thing, found, "", expected);
}
static hd_status at_least(const desc_check *c, const char *thing, int64_t found, int64_t low) {
    return found >= low ? HD_OK : bad(c, thing, found, "from ", low);
}
static hd_status at_most(const desc_check *c, const char *thing, int64_t found, int64_t high) {
    return found <= high ? HD_OK : bad(c, thing, found, "up to ", high);
}

static hd_status check_reserved(const desc_check *c) {
    uint32_t used[HD_DESC_WORDS] = {0};
#define HD_FIELD(n, w, l, b, s, m) used[w] |= hd_field_mask(HD_F_##n) << (l);
#include "../../sw/contract/ops.def"
#undef HD_FIELD
    for (uint32_t w = 0; w < HD_DESC_WORDS; w++)
        if (c->d[w] & ~used[w])
            return hd_fail(c->err, HD_FORMAT, "descriptor %u: word %u is 0x%08x; bits outside 0x%08x must be 0", c->n, w, c->d[w], used[w]);
    return HD_OK;
}

/* Fetch: the walk must stay inside one tensor of IN_H x IN_W pixels that lies in the memory. `words` of each pixel are read. */
static hd_status check_fetch(const desc_check *c, int64_t words) {
    hd_status st;
    int64_t in_h = GET(c, IN_H), in_w = GET(c, IN_W), dx = GET(c, DX), dy = GET(c, DY), sx = GET(c, SX), sy = GET(c, SY);
    int64_t kh = GET(c, KH), kw = GET(c, KW), out_w = GET(c, OUT_W), positions = GET(c, POSITIONS);
    const struct {
        const char *name;
        int64_t v;
    } nonzero[] = {{"IN_H", in_h}, {"IN_W", in_w}, {"DX", dx}, {"DY", dy}, {"SX", sx}, {"SY", sy}, {"KH", kh}, {"KW", kw},
                   {"OUT_W", out_w}, {"POSITIONS", positions}, {"NCB", GET(c, NCB)}};
    for (size_t i = 0; i < sizeof nonzero / sizeof nonzero[0]; i++)
        if ((st = at_least(c, nonzero[i].name, nonzero[i].v, 1))) return st;
    if (positions % out_w)
        return hd_fail(c->err, HD_FORMAT, "descriptor %u: POSITIONS %lld; allowed multiples of OUT_W %lld", c->n, (long long)positions, (long long)out_w);
    if (!GET(c, SINGLE)) {
        if ((st = equal(c, "DX without SINGLE", dx, 1))) return st;
        if ((st = at_most(c, "SX without SINGLE", sx, kw))) return st;
    }
    /* Coordinates are counters of at most 16 bits and a sign, and two bits more than an address has. */
    int64_t far = 2 * (int64_t)c->p->geometry.act_words - 1;
    if (far > 32767) far = 32767;
    if ((st = at_most(c, "IN_H", in_h, 32767)) || (st = at_most(c, "IN_W", in_w, 32767))) return st;
    if ((st = at_least(c, "IY0", GET(c, IY0), -far)) || (st = at_least(c, "IX0", GET(c, IX0), -far))) return st;
    if ((st = at_most(c, "last input row", GET(c, IY0) + (positions / out_w - 1) * sy + (kh - 1) * dy, far))) return st;
    if ((st = at_most(c, "last input column", GET(c, IX0) + (out_w - 1) * sx + (kw - 1) * dx, far))) return st;
    int64_t pixel = GET(c, COL_STEP) / dx;
    if ((st = at_least(c, "COL_STEP", GET(c, COL_STEP), dx))) return st;
    if ((st = equal(c, "COL_STEP", GET(c, COL_STEP), dx * pixel))) return st;
    if ((st = equal(c, "POS_STEP", GET(c, POS_STEP), sx * pixel))) return st;
    if ((st = equal(c, "KY_STEP", GET(c, KY_STEP), dy * in_w * pixel))) return st;
    if ((st = equal(c, "LINE_STEP", GET(c, LINE_STEP), sy * in_w * pixel))) return st;
    if ((st = at_most(c, "words read of a pixel", words, pixel))) return st;
    int64_t base = (GET(c, IN_START) - (GET(c, IY0) * in_w + GET(c, IX0)) * pixel) & 0xffffff;
    return at_most(c, "input's end", base + (in_h * in_w - 1) * pixel + words, c->p->geometry.act_words);
}

static hd_status check_store(const desc_check *c, int64_t words) {
    int64_t positions = GET(c, POSITIONS), stride = GET(c, OUT_STRIDE);
    hd_status st = at_least(c, "OUT_STRIDE", stride, words);
    return st ? st : at_most(c, "output's end", GET(c, OUT_START) + (positions - 1) * stride + words, c->p->geometry.act_words);
}

static hd_status check_residual(const desc_check *c, int64_t words) {
    const hd_geometry *g = &c->p->geometry;
    hd_status st;
    if (!GET(c, RESIDUAL)) return equal(c, "RES_N without RESIDUAL", GET(c, RES_N), 0);
    if ((st = equal(c, "RES_N", GET(c, RES_N), words)) || (st = at_most(c, "RES_N", words, hd_geometry_residual_words(g)))) return st;
    if ((st = at_most(c, "residual's end", GET(c, RES_START) + (GET(c, POSITIONS) - 1) * GET(c, RES_STRIDE) + words, g->act_words))) return st;
    int64_t lo = -128 * GET(c, RES_MULT) + GET(c, RES_ADD), hi = 127 * GET(c, RES_MULT) + GET(c, RES_ADD);
    if ((st = at_least(c, "smallest residual product", lo, INT32_MIN)) || (st = at_most(c, "largest residual product", hi, INT32_MAX))) return st;
    return equal(c, "TILE_COLS * RES_TILES", GET(c, TILE_COLS) * GET(c, RES_TILES), (int64_t)g->lanes * GET(c, CPC));
}

static hd_status check_tiles(const desc_check *c, int64_t tiles) {
    const hd_geometry *g = &c->p->geometry;
    int64_t cpc = GET(c, CPC), tile = GET(c, TILE_COLS), last = GET(c, LAST_COLS), cout = GET(c, COUT), nch = GET(c, NCH);
    hd_status st;
    if ((st = at_least(c, "CPC", cpc, 1)) || (st = at_most(c, "CPC", cpc, 16)) || (st = at_least(c, "COUT", cout, 1))) return st;
    if ((st = at_least(c, "TILE_COLS", tile, 1)) || (st = at_most(c, "TILE_COLS", tile, g->cols))) return st;
    if ((st = at_least(c, "LAST_COLS", last, 1)) || (st = at_most(c, "LAST_COLS", last, tile))) return st;
    if ((st = equal(c, "NCH", nch, hd_geometry_drained(g, (uint32_t)cout, (uint32_t)cpc)))) return st;
    if (cpc <= g->cols) {
        if ((st = equal(c, "TILE_COLS modulo CPC", tile % cpc, 0)) || (st = equal(c, "LAST_COLS modulo CPC", last % cpc, 0))) return st;
    } else {
        if ((st = equal(c, "CPC modulo TILE_COLS", cpc % tile, 0)) || (st = equal(c, "LAST_COLS", last, tile))) return st;
    }
    return equal(c, "columns of all tiles", (tiles - 1) * tile + last, nch * cpc);
}

static hd_status check_stream(const desc_check *c, int64_t words, int64_t *tiles) {
    const hd_program *p = c->p;
    int64_t first = GET(c, STREAM_FIRST), last = GET(c, STREAM_LAST);
    hd_status st;
    if ((st = at_most(c, "STREAM_LAST", last, (int64_t)p->n_stream - 1)) || (st = at_most(c, "STREAM_FIRST", first, last))) return st;
    *tiles = 0;
    for (int64_t i = first; i <= last; i++) {
        uint32_t e = p->index[i];
        int is_last = (int)hd_field_get(&e, HD_I_LAST), is_final = (int)hd_field_get(&e, HD_I_FINAL);
        if (hd_field_get(&e, HD_I_ADDRESS) >= words)
            return hd_fail(c->err, HD_FORMAT, "descriptor %u: stream entry %lld has window word %lld; allowed up to %lld", c->n, (long long)i,
                           (long long)hd_field_get(&e, HD_I_ADDRESS), (long long)words - 1);
        if (e & ~(hd_field_mask(HD_I_ADDRESS) | 1u << HD_I_LAST.lsb | 1u << HD_I_FINAL.lsb))
            return hd_fail(c->err, HD_FORMAT, "descriptor %u: stream entry %lld is 0x%04x; bit 14 must be 0", c->n, (long long)i, e);
        if (is_final != (i == last) || (is_final && !is_last))
            return hd_fail(c->err, HD_FORMAT, "descriptor %u: stream entry %lld has LAST %d, FINAL %d; FINAL belongs to the last entry, with LAST", c->n,
                           (long long)i, is_last, is_final);
        *tiles += is_last;
        /* What the sequencer waits for is the latest of the words that the pairs read. */
        uint32_t pairs = hd_geometry_pairs(&p->geometry), most = 0;
        for (uint32_t k = 0; k < pairs; k++) most = p->pair[(size_t)i * pairs + k] > most ? p->pair[(size_t)i * pairs + k] : most;
        if (pairs && most != hd_field_get(&e, HD_I_ADDRESS))
            return hd_fail(c->err, HD_FORMAT, "descriptor %u: stream entry %lld has window word %lld; its pairs' largest is %u", c->n, (long long)i,
                           (long long)hd_field_get(&e, HD_I_ADDRESS), most);
    }
    return HD_OK;
}

static hd_status check_conv(const desc_check *c) {
    const hd_program *p = c->p;
    const hd_geometry *g = &p->geometry;
    int64_t words = GET(c, KH) * GET(c, KW) * GET(c, NCB), out_words = (GET(c, COUT) + g->lanes - 1) / g->lanes, tiles;
    hd_status st;
    if ((st = check_fetch(c, GET(c, NCB)))) return st;
    if ((st = equal(c, "PASSES", GET(c, PASSES), (GET(c, POSITIONS) + g->rows - 1) / g->rows))) return st;
    if ((st = equal(c, "PASS_STEP", GET(c, PASS_STEP), g->rows * GET(c, OUT_STRIDE)))) return st;
    if ((st = at_most(c, "window words", words + (g->post ? 0 : GET(c, RES_N)), g->window_words))) return st;
    if ((st = check_stream(c, words, &tiles))) return st;
    if ((st = check_tiles(c, tiles))) return st;
    if ((st = at_most(c, "EVEN", GET(c, EVEN), g->sums))) return st;
    if ((st = at_most(c, "RESIDUAL", GET(c, RESIDUAL), g->residual)) || (st = check_residual(c, out_words))) return st;
    if ((st = check_store(c, out_words))) return st;
    if ((st = at_most(c, "CLAMP_LO", GET(c, CLAMP_LO), GET(c, CLAMP_HI)))) return st;
    if (GET(c, TABLE) && (st = at_most(c, "TABLE_ID", GET(c, TABLE_ID), (int64_t)p->n_table - 1))) return st;
    int64_t param = GET(c, PARAM_FIRST), nch = GET(c, NCH), least = hd_geometry_least_shift(g);
    if ((st = at_most(c, "parameters' end", param + nch, p->n_param))) return st;
    for (int64_t i = param; i < param + nch; i++) {
        int64_t shift = hd_field_get(p->param + 2 * i, HD_P_SHIFT);
        int64_t from = hd_field_get(p->param + 2 * i, HD_P_MULT) ? least : 1;
        if (shift < from || shift > 47)
            return hd_fail(c->err, HD_FORMAT, "descriptor %u: parameter %lld has shift %lld; allowed %lld..47", c->n, (long long)i, (long long)shift,
                           (long long)from);
    }
    return HD_OK;
}

static hd_status check_maxpool(const desc_check *c) {
    hd_status st;
    int64_t slices = GET(c, SLICES);
    if ((st = equal(c, "SINGLE", GET(c, SINGLE), 1)) || (st = equal(c, "NCB", GET(c, NCB), 1)) || (st = at_least(c, "SLICES", slices, 1))) return st;
    if ((st = equal(c, "RESIDUAL", GET(c, RESIDUAL), 0)) || (st = equal(c, "RES_N", GET(c, RES_N), 0))) return st;
    if ((st = check_fetch(c, slices))) return st;
    return check_store(c, slices);
}

static hd_status check_port(const hd_program *p, const hd_port *q, const char *name, hd_err *err) {
    const hd_geometry *g = &p->geometry;
    if (q->h < 1 || q->w < 1 || q->c < 1 || q->h > 65535 || q->w > 65535 || q->c > 1 << 24)
        return hd_fail(err, HD_FORMAT, "%s: %u x %u x %u; allowed from 1, rows and columns up to 65535, channels up to %d", name, q->h, q->w, q->c, 1 << 24);
    if (!isfinite(q->scale) || q->scale <= 0) return hd_fail(err, HD_FORMAT, "%s: scale %g; allowed above 0", name, (double)q->scale);
    if (q->zero < -128 || q->zero > 127) return hd_fail(err, HD_FORMAT, "%s: zero point %d; allowed -128..127", name, q->zero);
    uint64_t pixels = (uint64_t)q->h * q->w, bytes = q->c;
    if (q->expanded > 1) return hd_fail(err, HD_FORMAT, "%s: expanded %u; allowed 0 or 1", name, q->expanded);
    if (q->expanded) {
        if (!q->kh || !q->kw || !q->sy || !q->sx || !q->dy || !q->dx)
            return hd_fail(err, HD_FORMAT, "%s: expanded with a window %ux%u, stride %ux%u, dilation %ux%u; allowed from 1", name, q->kh, q->kw, q->sy,
                           q->sx, q->dy, q->dx);
        if (!q->out_h || !q->out_w || q->out_h > 65535 || q->out_w > 65535)
            return hd_fail(err, HD_FORMAT, "%s: expanded to %ux%u positions; allowed 1..65535", name, q->out_h, q->out_w);
        pixels = (uint64_t)q->out_h * q->out_w;
        bytes = (uint64_t)q->kh * q->kw; /* both 16 bits wide; c up to 2^24 keeps the product below 2^56 */
        bytes *= q->c;
    }
    uint64_t words = (bytes + g->lanes - 1) / g->lanes;
    if (q->stride != words)
        return hd_fail(err, HD_FORMAT, "%s: %u words per position; %llu bytes need %llu", name, q->stride, (unsigned long long)bytes, (unsigned long long)words);
    if (q->address > g->act_words || pixels * words > g->act_words - q->address)
        return hd_fail(err, HD_FORMAT, "%s: %llu words at %u; the activation memory has %u", name, (unsigned long long)(pixels * words), q->address,
                       g->act_words);
    return HD_OK;
}

static hd_status check_counts(const hd_program *p, hd_err *err) {
    const hd_geometry *g = &p->geometry;
    const struct {
        const char *name;
        uint32_t found, low, high;
    } rule[] = {{"descriptors", p->n_desc, 1, g->descriptors}, {"stream entries", p->n_stream, 0, g->extern_log2 ? hd_field_mask(HD_F_STREAM_LAST) : g->stream_words},
                {"parameters", p->n_param, 0, g->param_words}, {"tables", p->n_table, 0, g->tables}, {"layers", p->n_layers, 0, p->n_desc}};
    for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++)
        if (rule[i].found < rule[i].low || rule[i].found > rule[i].high)
            return hd_fail(err, HD_FORMAT, "%u %s; allowed %u..%u", rule[i].found, rule[i].name, rule[i].low, rule[i].high);
    return HD_OK;
}

/* Layers name the descriptors for reports: in order, without gaps, END apart. */
static hd_status check_layers(const hd_program *p, hd_err *err) {
    uint32_t next = 0;
    for (uint32_t i = 0; i < p->n_layers; i++) {
        const hd_layer_info *l = &p->layer[i];
        if (l->first_desc != next || !l->n_desc || l->n_desc > p->n_desc - 1 - next)
            return hd_fail(err, HD_FORMAT, "layer %u: descriptors %u and %u more; expected from %u, %u in all", i, l->first_desc, l->n_desc, next, p->n_desc - 1);
        next += l->n_desc;
        if (l->blocks_present > l->blocks || !(l->zeros_used >= 0 && l->zeros_used <= 1))
            return hd_fail(err, HD_FORMAT, "layer %u: %u of %u blocks, share of zeros %g; allowed at most all and 0..1", i, l->blocks_present, l->blocks,
                           (double)l->zeros_used);
    }
    if (next != p->n_desc - 1) return hd_fail(err, HD_FORMAT, "the layers have %u descriptors; the program has %u", next, p->n_desc - 1);
    return HD_OK;
}

hd_status hd_program_check(const hd_program *p, hd_err *err) {
    hd_status st;
    if ((st = hd_geometry_check(&p->geometry, err)) || (st = check_counts(p, err))) return st;
    if ((st = check_port(p, &p->input, "input", err)) || (st = check_port(p, &p->output, "output", err))) return st;
    for (uint32_t i = 0; i < p->n_desc; i++) {
        desc_check c = {.p = p, .d = p->desc + (size_t)i * HD_DESC_WORDS, .n = i, .err = err};
        int64_t op = GET(&c, OPCODE);
        if ((st = check_reserved(&c))) return st;
        if (op == HD_OP_CONV) st = check_conv(&c);
        else if (op == HD_OP_MAXPOOL) st = check_maxpool(&c);
        else if (op != HD_OP_END) st = bad(&c, "opcode", op, "up to ", HD_OP_MAXPOOL);
        if (st) return st;
        if ((op == HD_OP_END) != (i == p->n_desc - 1))
            return hd_fail(err, HD_FORMAT, "descriptor %u: opcode %lld; END is the last of %u descriptors", i, (long long)op, p->n_desc);
    }
    if ((st = hd_external_check(p, err))) return st;
    return check_layers(p, err);
}
