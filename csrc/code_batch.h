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

#define VS_CODE_BATCHES(TARGET)                                            \
    VS_CODE_BATCH(batch_full_l2, full_l2, uint8_t, 2, VS_AS_SUM, TARGET)   \
    VS_CODE_BATCH(batch_full_dot, full_dot, int16_t, 2, VS_AS_DOT, TARGET) \
    VS_CODE_BATCH(batch_high_l2, high_l2, uint8_t, 1, VS_AS_SUM, TARGET)   \
    VS_CODE_BATCH(batch_high_dot, high_dot, int8_t, 1, VS_AS_DOT, TARGET)

#endif
