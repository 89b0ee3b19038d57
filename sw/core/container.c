/* The common frame of .hdm and .hdp files: magic, version, payload size, crc32, payload. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../contract/contract.h"
#include "bytes.h"
#include "file.h"

enum { HEADER = 16, CONTAINER_LIMIT = 1 << 30 };

hd_status hd_container_write(const char *path, uint32_t magic, uint32_t version, const hd_writer *payload, hd_err *err) {
    if (payload->failed) return hd_fail(err, HD_NOMEM, "%s: out of memory while building the file", path);
    if (payload->size > CONTAINER_LIMIT - HEADER)
        return hd_fail(err, HD_RANGE, "%s: payload has %zu bytes; the format allows %d", path, payload->size, CONTAINER_LIMIT - HEADER);
    hd_writer w = {0};
    hd_put_u32(&w, magic);
    hd_put_u32(&w, version);
    hd_put_u32(&w, (uint32_t)payload->size);
    hd_put_u32(&w, (uint32_t)crc32(crc32(0, NULL, 0), payload->data, (uInt)payload->size));
    hd_put_bytes(&w, payload->data, payload->size);
    hd_status status = w.failed ? hd_fail(err, HD_NOMEM, "%s: out of memory while building the file", path)
                                : hd_file_write(path, w.data, w.size, err);
    hd_writer_free(&w);
    return status;
}

/* The magic as the four characters it stands for, where they print. */
static const char *magic_text(char text[12], uint32_t magic) {
    static const char digits[] = "0123456789abcdef";
    int printable = 1;
    for (int i = 0; i < 4; i++) {
        text[i] = (char)(magic >> 8 * i & 0xff);
        if (text[i] < ' ' || text[i] > '~') printable = 0;
    }
    text[4] = 0;
    if (printable) return text;
    memcpy(text, "0x", 2);
    for (int i = 0; i < 8; i++) text[2 + i] = digits[magic >> (28 - 4 * i) & 15];
    text[10] = 0;
    return text;
}

/* What a container of this magic is, in words; NULL for others. */
static const char *kind_of(uint32_t magic) {
    switch (magic) {
    case (uint32_t)HD_HDM_MAGIC: return "a compressed network (.hdm)";
    case (uint32_t)HD_HDP_MAGIC: return "a program (.hdp)";
    case (uint32_t)HD_HLM_MAGIC: return "a compressed language model (.hlm)";
    case (uint32_t)HD_HPM_MAGIC: return "a network in parts, compressed";
    case (uint32_t)HD_HPP_MAGIC: return "a network in parts, compiled";
    default: return NULL;
    }
}

const char *hd_file_kind(const uint8_t *data, size_t size) {
    hd_reader r = {.data = data, .size = size};
    const char *ours = kind_of(hd_get_u32(&r));
    if (size < 4) return NULL;
    if (ours) return ours;
    if (!data[0] && !data[1] && data[2] >= 8 && data[2] <= 14 && data[3] >= 1 && data[3] <= 4) return "an idx file";
    if (data[0] == 0x1f && data[1] == 0x8b) return "a gzip file";
    if (!memcmp(data, "GGUF", 4)) return "a GGUF file";
    return size >= 8 && !memcmp(data + 4, "TFL3", 4) ? "a TFLite file" : NULL;
}

static hd_status check_header(hd_reader *r, const char *path, uint32_t magic, uint32_t version, hd_err *err) {
    char is[12], want[12];
    uint32_t found = hd_get_u32(r);
    const char *kind = hd_file_kind(r->data, r->size), *needed = kind_of(magic);
    if (!needed) needed = "a file of this kind";
    if (r->size < HEADER) return hd_fail(err, HD_FORMAT, "%s: %zu bytes; the header alone of %s has %d", path, r->size, needed, HEADER);
    if (found != magic && kind) return hd_fail(err, HD_FORMAT, "%s: %s; %s is needed", path, kind, needed);
    if (found != magic) return hd_fail(err, HD_FORMAT, "%s: starts with '%s'; %s starts with '%s'", path, magic_text(is, found), needed, magic_text(want, magic));
    uint32_t file_version = hd_get_u32(r), size = hd_get_u32(r), crc = hd_get_u32(r);
    if (file_version != version)
        return hd_fail(err, HD_UNSUPPORTED, "%s: version %u; this program reads version %u", path, file_version, version);
    if (size != r->size - HEADER)
        return hd_fail(err, HD_FORMAT, "%s: payload of %zu bytes; the header says %u", path, r->size - HEADER, size);
    uint32_t actual = (uint32_t)crc32(crc32(0, NULL, 0), r->data + HEADER, (uInt)size);
    if (actual != crc)
        return hd_fail(err, HD_FORMAT, "%s: checksum of the payload is %08x; the header says %08x", path, actual, crc);
    return HD_OK;
}

hd_status hd_container_read(uint8_t **buffer, hd_reader *r, const char *path, uint32_t magic, uint32_t version, hd_err *err) {
    *buffer = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    hd_status status = hd_file_read(&data, &size, path, CONTAINER_LIMIT, 0, err);
    if (status != HD_OK) return status;
    *r = (hd_reader){.data = data, .size = size};
    status = check_header(r, path, magic, version, err);
    if (status != HD_OK) {
        free(data);
        *r = (hd_reader){0};
        return status;
    }
    *r = (hd_reader){.data = data + HEADER, .size = size - HEADER};
    *buffer = data;
    return HD_OK;
}
