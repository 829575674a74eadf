/*
 * The loop over a batch of codes that the instruction sets share (as batch.h does for
 * vectors): KERNEL is inlined, codes that come later are prefetched.
 */
#ifndef VS_CODE_BATCH_H
#define VS_CODE_BATCH_H

#include "batch.h"
#include "kernels_code.h"

/* ELEMENT: type of the query's elements; PLANES: how many planes the kernel reads;
 * RESULT: what to do with the sum. */
#define VS_CODE_BATCH(NAME, KERNEL, ELEMENT, PLANES, RESULT, TARGET)               \
    TARGET static void NAME(const void *query, const unsigned char *const *codes,  \
                            uint32_t n, size_t blocks, int64_t bias, float *out) { \
        const ELEMENT *q = query;                                                  \
        size_t bytes = blocks * VS_BLOCK_BYTES * (PLANES);                         \
        (void)bias;                                                                \
        for (uint32_t i = 0; i < n && i < VS_LOOKAHEAD; i++) {                     \
            vs_prefetch_code(codes[i], bytes);                                     \
        }                                                                          \
        for (uint32_t i = 0; i < n; i++) {                                         \
            if (i + VS_LOOKAHEAD < n) {                                            \
                vs_prefetch_code(codes[i + VS_LOOKAHEAD], bytes);                  \
            }                                                                      \
            out[i] = RESULT(KERNEL(q, codes[i], blocks));                          \
        }                                                                          \
    }

#define VS_AS_SUM(sum) (float)(sum)
#define VS_AS_DOT(sum) (-(float)((sum) + bias))

/* Short codes are fetched whole, for memory gives lines in pairs and both planes of one are
 * a pair; of longer ones the high plane. (SIFT-128, 300,000 rows, takes three fifths of the
 * time of fetching into the first cache 16 codes ahead; Zen 4.) */
static inline uint32_t vs_sieve_ahead(size_t blocks) {
    return blocks > 2 ? VS_SIEVE_AHEAD / 2 : VS_SIEVE_AHEAD;
}

static VS_ALWAYS_INLINE void vs_sieve_fetch(const unsigned char *const *codes, uint32_t n,
                                            size_t blocks) {
    size_t bytes = blocks * VS_BLOCK_BYTES * (blocks > 2 ? 1 : 2);
    for (uint32_t i = 0; i < n; i++) {
        for (size_t at = 0; at < bytes; at += 64) {
            VS_FETCH_FAR(codes[i] + at);
        }
    }
}

/* One code after the other, for instruction sets that add the lanes of a register. */
#define VS_CODE_SIEVE(NAME, KERNEL)                                               \
    static void NAME(const int8_t *weights, const unsigned char *const *codes,    \
                     uint32_t n, uint32_t known, size_t blocks, int32_t most,     \
                     unsigned char *restrict pass) {                              \
        uint32_t ahead = vs_sieve_ahead(blocks);                                  \
        for (uint32_t i = 0; i < n; i++) {                                        \
            vs_sieve_fetch(codes + i + ahead, i + ahead < known, blocks);         \
            int passes = KERNEL(weights, codes[i], blocks) <= most;               \
            pass[i / 8] =                                                         \
                (unsigned char)((i % 8 > 0 ? pass[i / 8] : 0) | passes << i % 8); \
        }                                                                         \
    }

/* EIGHT: compares the sums of eight codes and returns the mask of those that pass. No
 * branch depends on it. */
#define VS_CODE_SIEVE_EIGHT(NAME, EIGHT, SQUARES, TARGET)                               \
    TARGET static VS_ALWAYS_INLINE void NAME##_of(                                      \
        const int8_t *weights, const unsigned char *const *codes, uint32_t n,           \
        uint32_t known, size_t blocks, int32_t most, unsigned char *restrict pass) {    \
        uint32_t ahead = vs_sieve_ahead(blocks), i = 0;                                 \
        for (; i + 8 <= n; i += 8) {                                                    \
            vs_sieve_fetch(codes + i + ahead, i + ahead + 8 <= known ? 8 : 0, blocks);  \
            pass[i / 8] =                                                               \
                (unsigned char)EIGHT(weights, codes + i, blocks, most, SQUARES);        \
        }                                                                               \
        if (i < n) { /* the last one again where there are no more */                   \
            const unsigned char *last[8];                                               \
            for (uint32_t r = 0; r < 8; r++) {                                          \
                last[r] = codes[i + r < n ? i + r : n - 1];                             \
            }                                                                           \
            pass[i / 8] = (unsigned char)(EIGHT(weights, last, blocks, most, SQUARES) & \
                                          ((1u << (n - i)) - 1));                       \
        }                                                                               \
    }                                                                                   \
    TARGET static void NAME(const int8_t *weights, const unsigned char *const *codes,   \
                            uint32_t n, uint32_t known, size_t blocks, int32_t most,    \
                            unsigned char *restrict pass) {                             \
        if (blocks == 2) { /* one register: no loop */                                  \
            NAME##_of(weights, codes, n, known, 2, most, pass);                         \
        } else {                                                                        \
            NAME##_of(weights, codes, n, known, blocks, most, pass);                    \
        }                                                                               \
    }

#define VS_CODE_BATCHES(TARGET)                                            \
    VS_CODE_BATCH(batch_full_l2, full_l2, uint8_t, 2, VS_AS_SUM, TARGET)   \
    VS_CODE_BATCH(batch_full_dot, full_dot, int16_t, 2, VS_AS_DOT, TARGET) \
    VS_CODE_BATCH(batch_high_l2, high_l2, uint8_t, 1, VS_AS_SUM, TARGET)   \
    VS_CODE_BATCH(batch_high_dot, high_dot, int8_t, 1, VS_AS_DOT, TARGET)

#endif
