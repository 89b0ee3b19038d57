/* TensorFlow Lite files, float and quantised. */
#include <stdio.h>

#include "../support/tflite_int8_net.h"
#include "../support/tflite_net.h"
#include "seeds.h"

void seed_tflite(void) {
    for (uint64_t seed = 1; seed <= 24; seed++) {
        char name[32];
        net n = tflite_net(seed);
        int8_net q = int8_net_random(seed);
        flat_builder file = tflite_file(&n), int8 = int8_net_file(&q);
        snprintf(name, sizeof name, "float%llu", (unsigned long long)seed);
        if (file.size < 4096) seed_write("tflite", name, file.data, file.size);
        snprintf(name, sizeof name, "int8_%llu", (unsigned long long)seed);
        if (int8.size < 8192) seed_write("tflite", name, int8.data, int8.size);
        flat_free(&file);
        flat_free(&int8);
        tflite_net_free(&n);
        int8_net_free(&q);
    }
}
