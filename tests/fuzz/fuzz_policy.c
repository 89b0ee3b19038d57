/* A policy file, then each of the texts that options take: a method, a geometry, memories. */
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const layers[] = {"conv1", "layer0.q", "", "fc"};
    hd_policy p = {0};
    hd_recipe r;
    hd_geometry g = {0};
    hd_err err = {0};
    char text[256], again[512];
    if (hd_policy_load(&p, fuzz_file(0, data, size), &err) == HD_OK)
        for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) fuzz_expect(hd_policy_of(&p, layers[i]) != NULL, "no policy for a layer");
    else fuzz_expect(err.message[0] != 0, "a policy refused without a message");
    hd_policy_free(&p);
    size_t n = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, n);
    text[n] = 0;
    if (hd_recipe_parse(&r, text, &err) == HD_OK) {
        hd_recipe same;
        hd_recipe_text(&r, again, sizeof again);
        fuzz_expect(hd_recipe_parse(&same, again, &err) == HD_OK, "the text of method '%s', '%s', is refused: %s", text, again, err.message);
    }
    if (hd_geometry_parse(&g, text, &err) == HD_OK) fuzz_expect(hd_geometry_check(&g, &err) == HD_OK, "geometry '%s' passes: %s", text, err.message);
    fuzz_expect(!hd_geometry_parse(&g, "2x4x8x2", &err), "%s", err.message);
    if (hd_geometry_memory(&g, text, &err) == HD_OK) fuzz_expect(hd_geometry_check(&g, &err) == HD_OK, "memories '%s' pass: %s", text, err.message);
    return 0;
}
