/* Weight grids and their bit streams: docs/formats.md sections 1 and 4. */
#include "model_internal.h"

static const struct { const char *id, *name; int least, most; } grids[] = {
#define HD_GRID(n, v, name, least, most, d) [v] = {#n, name, least, most},
#include "../../sw/contract/formats.def"
#undef HD_GRID
};

const char *hd_grid_name(int grid) {
    return grid < 0 ? "auto" : grids[grid].name;
}

const char *hd_grid_id(enum hd_grid grid) {
    return grids[grid].id;
}

void hd_grid_bits(int *least, int *most, enum hd_grid grid) {
    *least = grids[grid].least;
    *most = grids[grid].most;
}

int hd_grid_min(enum hd_grid grid, int bits) {
    return grid == HD_GRID_ODD ? 1 - (1 << bits) : grid == HD_GRID_EVEN ? -(1 << bits) : -2;
}

int hd_grid_max(enum hd_grid grid, int bits) {
    return grid == HD_GRID_ODD ? (1 << bits) - 1 : grid == HD_GRID_EVEN ? (1 << bits) - 2 : 2;
}

int hd_grid_has(enum hd_grid grid, int bits, int value) {
    return value >= hd_grid_min(grid, bits) && value <= hd_grid_max(grid, bits) && (value & 1) == (grid == HD_GRID_ODD);
}

size_t hd_codes_bytes(enum hd_grid grid, int bits, size_t count) {
    return grid == HD_GRID_TERNARY ? (count + 4) / 5 : (count * (size_t)bits + 7) / 8;
}

/* A value's code is its index on the grid; all grids step by two. */
void hd_codes_pack(uint8_t *bytes, enum hd_grid grid, int bits, const int16_t *values, size_t count) {
    int lowest = hd_grid_min(grid, bits);
    if (grid == HD_GRID_TERNARY) {
        for (size_t i = 0; i < hd_codes_bytes(grid, bits, count); i++) {
            unsigned byte = 0;
            for (size_t k = 5; k-- > 0;) byte = byte * 3 + (i * 5 + k < count ? (unsigned)((values[i * 5 + k] - lowest) / 2) : 1u);
            bytes[i] = (uint8_t)byte;
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned code = (unsigned)((values[i] - lowest) / 2);
        for (int b = 0; b < bits; b++) {
            size_t at = i * (size_t)bits + (size_t)b;
            bytes[at / 8] = (uint8_t)(bytes[at / 8] | ((code >> b) & 1u) << (at % 8));
        }
    }
}

size_t hd_codes_unpack(int16_t *values, enum hd_grid grid, int bits, const uint8_t *bytes, size_t count) {
    int lowest = hd_grid_min(grid, bits);
    size_t size = hd_codes_bytes(grid, bits, count);
    if (grid == HD_GRID_TERNARY) {
        for (size_t i = 0; i < size; i++) {
            unsigned byte = bytes[i];
            if (byte >= 243) return i + 1;
            for (size_t k = 0; k < 5; k++, byte /= 3) {
                if (i * 5 + k < count) values[i * 5 + k] = (int16_t)(lowest + 2 * (int)(byte % 3));
                else if (byte % 3 != 1) return i + 1;
            }
        }
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned code = 0;
        for (int b = 0; b < bits; b++) {
            size_t at = i * (size_t)bits + (size_t)b;
            code |= ((unsigned)bytes[at / 8] >> (at % 8) & 1u) << b;
        }
        values[i] = (int16_t)(lowest + 2 * (int)code);
    }
    size_t used = count * (size_t)bits % 8;
    return used && bytes[size - 1] >> used ? size : 0;
}
