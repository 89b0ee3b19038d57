/* Random words for hw/decode and what the golden model makes of them. vectors COLS LANES PLANES DECODE SEED COUNT: COUNT segments of a line "segment LOAD CODE
 * D", D the cycles from an entry's last word to its last weight word, then for each entry (or, with LOAD, the whole table) a line "in N WORDS" and a line
 * "out N WORDS". */
#include <stdio.h>
#include <stdlib.h>

#include "../../drivers/ref_codes.h"
#include "../../sw/core/rng.h"

static void print_words(const char *what, const uint32_t *words, uint32_t n) {
    printf("%s %u", what, n);
    for (uint32_t i = 0; i < n; i++) printf(" %08x", words[i]);
    printf("\n");
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: vectors COLS LANES PLANES DECODE SEED COUNT\n");
        return 2;
    }
    hd_geometry g = {.rows = 1, .cols = (uint32_t)atoi(argv[1]), .lanes = (uint32_t)atoi(argv[2]), .planes = (uint32_t)atoi(argv[3]), .pump = 1};
    uint32_t decode = (uint32_t)atoi(argv[4]), words = hd_geometry_weight_words(&g);
    static hd_ref_codes tables;
    static uint32_t in[512], out[512];
    hd_rng rng;
    hd_rng_seed(&rng, strtoull(argv[5], NULL, 10), decode);
    int loaded[HD_CODES] = {[HD_CODE_E8P] = 1}, entries_of[HD_CODES] = {0};
    for (long n = atol(argv[6]); n > 0; n--) {
        int code = (int)hd_rng_below(&rng, HD_CODES), load = hd_code_loads(code) && (!loaded[code] || hd_rng_below(&rng, 4) == 0);
        /* The last segment is one of entries: the bench sends its last entry again. */
        if (!(decode & hd_code_unit(code)) || !hd_code_fits(code, &g) || (load && n == 1)) {
            n++;
            continue;
        }
        printf("segment %d %d %u\n", load, code, hd_ref_codes_delay(code, &g));
        if (load && code != HD_CODE_BOOKS) loaded[HD_CODE_TABLE4] = loaded[HD_CODE_TABLE16] = 0; /* one memory */
        if (load) loaded[code] = 1;
        uint32_t entries = load ? 1 : 1 + hd_rng_below(&rng, 6), size = load ? hd_code_loads(code) : words / 2;
        for (uint32_t e = 0; e < entries; e++) {
            for (uint32_t i = 0; i < size; i++) in[i] = hd_rng_u32(&rng) & (load && code == HD_CODE_TABLE4 ? 0xf0f0f0f0u : 0xffffffffu);
            print_words("in", in, size);
            if (load) hd_ref_codes_load(&tables, code, in);
            else {
                entries_of[code]++;
                hd_ref_codes_entry(out, &tables, code, in, &g);
            }
            print_words("out", out, load ? 0 : words);
        }
    }
    /* A run that leaves a code out proves nothing about it. */
    for (int code = 0; code < HD_CODES; code++)
        if ((decode & hd_code_unit(code)) && hd_code_fits(code, &g) && entries_of[code] < 10) {
            fprintf(stderr, "vectors: %d entries of code %d; 10 or more make a test\n", entries_of[code], code);
            return 1;
        }
    return 0;
}
