/* The tokenizer files of karpathy/llama2.c: u32 length of the longest piece, then for each token f32 score, u32 length, bytes.
 * Encoding: a space in front, one token a character (or byte tokens 3..258), then the best-scored merge until none is left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "llama.h"

enum { FIRST_BYTE = 3, LONGEST = 4096 };

typedef struct piece {
    char *text; /* NUL-terminated for convenience; `length` counts */
    size_t length;
    float score;
    int byte; /* the byte that "<0xNN>" stands for, or -1 */
} piece;

struct hd_tokenizer {
    int vocab;
    piece *piece;
    int *order; /* tokens sorted by text */
    char bytes[256];
};

void hd_tokenizer_free(hd_tokenizer *t) {
    if (!t) return;
    for (int i = 0; t->piece && i < t->vocab; i++) free(t->piece[i].text);
    free(t->piece);
    free(t->order);
    free(t);
}

static int compare(const char *a, size_t na, const char *b, size_t nb) {
    int c = memcmp(a, b, na < nb ? na : nb);
    return c ? c : na < nb ? -1 : na > nb;
}

static int byte_of(const piece *p) {
    unsigned v = 0;
    char back[8];
    if (p->length != 6 || sscanf(p->text, "<0x%02X>", &v) != 1 || v > 255) return -1;
    snprintf(back, sizeof back, "<0x%02X>", v);
    return strcmp(back, p->text) ? -1 : (int)v;
}

/* Heap sort: qsort has no argument for the table, and equal texts must keep a fixed order (the lower token first). */
static int before(const hd_tokenizer *t, int a, int b) {
    const piece *x = &t->piece[a], *y = &t->piece[b];
    int c = compare(x->text, x->length, y->text, y->length);
    return c < 0 || (c == 0 && a < b);
}

static void sift(hd_tokenizer *t, int root, int n) {
    for (int child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && before(t, t->order[child], t->order[child + 1])) child++;
        if (!before(t, t->order[root], t->order[child])) return;
        int swap = t->order[root];
        t->order[root] = t->order[child];
        t->order[child] = swap;
    }
}

static void sort(hd_tokenizer *t) {
    for (int i = 0; i < t->vocab; i++) t->order[i] = i;
    for (int i = t->vocab / 2; i-- > 0;) sift(t, i, t->vocab);
    for (int n = t->vocab - 1; n > 0; n--) {
        int swap = t->order[0];
        t->order[0] = t->order[n];
        t->order[n] = swap;
        sift(t, 0, n);
    }
}

static hd_status parse(hd_tokenizer *t, hd_reader *r, hd_err *err) {
    hd_get_u32(r); /* the longest piece: not needed, the pieces say it */
    for (int i = 0; i < t->vocab; i++) {
        piece *p = &t->piece[i];
        p->score = hd_get_f32(r);
        uint32_t n = hd_get_u32(r);
        size_t left = r->size - r->at;
        if (r->failed) return hd_fail(err, HD_FORMAT, "token %d: the file ends; %d tokens are expected", i, t->vocab);
        if (n > LONGEST || n > left) return hd_fail(err, HD_FORMAT, "token %d: %u bytes; allowed 0 to %zu", i, n, left < LONGEST ? left : (size_t)LONGEST);
        if (!(p->score - p->score == 0.0f)) return hd_fail(err, HD_FORMAT, "token %d: its score is not finite", i);
        if (!(p->text = malloc((size_t)n + 1))) return hd_fail(err, HD_NOMEM, "token %d: no memory for %u bytes", i, n);
        memcpy(p->text, hd_get_bytes(r, n), n);
        p->text[n] = 0;
        p->length = n;
        p->byte = byte_of(p);
    }
    if (r->at != r->size) return hd_fail(err, HD_FORMAT, "%zu bytes follow token %d, the last of the vocabulary", r->size - r->at, t->vocab - 1);
    return HD_OK;
}

hd_status hd_tokenizer_memory(hd_tokenizer **out, const uint8_t *data, size_t size, const char *label, int vocab, hd_err *err) {
    *out = NULL;
    if (vocab < FIRST_BYTE) return hd_fail(err, HD_RANGE, "%s: a vocabulary of %d; allowed are %d and more", label, vocab, FIRST_BYTE);
    hd_tokenizer *t = calloc(1, sizeof *t);
    hd_status s;
    if (t) {
        t->vocab = vocab;
        t->piece = calloc((size_t)vocab, sizeof *t->piece);
        t->order = calloc((size_t)vocab, sizeof *t->order);
        for (int i = 0; i < 256; i++) t->bytes[i] = (char)i;
    }
    if (!t || !t->piece || !t->order) {
        s = hd_fail(err, HD_NOMEM, "%s: no memory for %d tokens", label, vocab);
    } else {
        hd_reader r = {.data = data, .size = size};
        s = parse(t, &r, err);
        if (s) hd_fail_in(err, label);
    }
    if (s) {
        hd_tokenizer_free(t);
        return s;
    }
    sort(t);
    *out = t;
    return HD_OK;
}

hd_status hd_tokenizer_load(hd_tokenizer **out, const char *path, int vocab, hd_err *err) {
    uint8_t *data;
    size_t size;
    *out = NULL;
    hd_status s = hd_file_read(&data, &size, path, 1 << 28, 0, err);
    if (s) return s;
    s = hd_tokenizer_memory(out, data, size, path, vocab, err);
    free(data);
    return s;
}

const char *hd_tokenizer_piece(const hd_tokenizer *t, int previous, int token, size_t *length) {
    const piece *p = &t->piece[token];
    if (p->byte >= 0) {
        *length = 1;
        return &t->bytes[p->byte];
    }
    int skip = previous == HD_TOKEN_BOS && p->text[0] == ' ';
    *length = p->length - (size_t)skip;
    return p->text + skip;
}

/* The lowest token whose text is a followed by b, or -1. */
static int find(const hd_tokenizer *t, const char *a, size_t na, const char *b, size_t nb) {
    char joined[2 * LONGEST];
    memcpy(joined, a, na);
    memcpy(joined + na, b, nb);
    int lo = 0, hi = t->vocab;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        const piece *p = &t->piece[t->order[mid]];
        if (compare(p->text, p->length, joined, na + nb) < 0) lo = mid + 1;
        else hi = mid;
    }
    if (lo == t->vocab) return -1;
    const piece *p = &t->piece[t->order[lo]];
    return compare(p->text, p->length, joined, na + nb) ? -1 : t->order[lo];
}

/* Replaces the pair with the best score by its merge (the first of equals); 0 when none merges. */
static int merge_once(const hd_tokenizer *t, int16_t *token, int *n) {
    int best = -1, at = -1;
    for (int i = 0; i + 1 < *n; i++) {
        const piece *a = &t->piece[token[i]], *b = &t->piece[token[i + 1]];
        int merged = find(t, a->text, a->length, b->text, b->length);
        if (merged >= 0 && (best < 0 || t->piece[merged].score > t->piece[best].score)) {
            best = merged;
            at = i;
        }
    }
    if (best < 0) return 0;
    token[at] = (int16_t)best;
    memmove(token + at + 1, token + at + 2, (size_t)(*n - at - 2) * sizeof *token);
    (*n)--;
    return 1;
}

/* One character (a byte and what continues it, four bytes at most) as one token or as its bytes. */
static hd_status put_character(const hd_tokenizer *t, const char *text, size_t length, int16_t *token, int *n, hd_err *err) {
    int id = find(t, text, length, "", 0);
    if (id >= 0) {
        token[(*n)++] = (int16_t)id;
        return HD_OK;
    }
    for (size_t i = 0; i < length; i++) {
        int byte = FIRST_BYTE + (unsigned char)text[i];
        if (byte >= t->vocab) return hd_fail(err, HD_UNSUPPORTED, "byte 0x%02x of the text: the vocabulary of %d has no token for it", (unsigned char)text[i], t->vocab);
        token[(*n)++] = (int16_t)byte;
    }
    return HD_OK;
}

int hd_tokenizer_encode(const hd_tokenizer *t, const char *text, int16_t *tokens, int limit, hd_err *err) {
    size_t size = strlen(text);
    if (size > 1 << 20) return hd_fail(err, HD_RANGE, "a text of %zu bytes; allowed are %d", size, 1 << 20);
    int16_t *token = malloc((size + 2) * sizeof *token);
    if (!token) return hd_fail(err, HD_NOMEM, "no memory for a text of %zu bytes", size);
    int n = 0;
    token[n++] = HD_TOKEN_BOS;
    hd_status s = size ? put_character(t, " ", 1, token, &n, err) : HD_OK;
    for (size_t i = 0, length; !s && i < size; i += length) {
        for (length = 1; length < 4 && ((unsigned char)text[i + length] & 0xc0) == 0x80;) length++;
        s = put_character(t, text + i, length, token, &n, err);
    }
    while (!s && merge_once(t, token, &n)) continue;
    if (!s && n > limit) s = hd_fail(err, HD_RANGE, "the text has %d tokens; allowed are %d", n, limit);
    if (!s) memcpy(tokens, token, (size_t)n * sizeof *token);
    free(token);
    return s ? s : n;
}
