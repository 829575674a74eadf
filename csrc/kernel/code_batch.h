/*
 * The loop over a batch of codes that the instruction sets share (as batch.h does for
 * vectors): KERNEL is inlined, codes that come later are prefetched.
 */
#ifndef VS_KERNEL_CODE_BATCH_H
#define VS_KERNEL_CODE_BATCH_H

#include "csrc/kernel/batch.h"
#include "csrc/base/bits.h"
#include "csrc/kernel/code.h"

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
#define VS_AS_HIGH_L2(sum) (float)(16 * (int64_t)(sum) + bias)
#define VS_AS_HIGH_DOT(sum) (float)((sum) + bias)

/* The same, four codes at a time: they share the loads of the query and the last additions.
 * FOUR writes the results; ONE is for the last few. */
#define VS_CODE_FOURS(NAME, FOUR, ONE, ELEMENT, PLANES, RESULT, TARGET)            \
    TARGET static void NAME(const void *query, const unsigned char *const *codes,  \
                            uint32_t n, size_t blocks, int64_t bias, float *out) { \
        const ELEMENT *q = query;                                                  \
        size_t bytes = blocks * VS_BLOCK_BYTES * (PLANES);                         \
        uint32_t i = 0;                                                            \
        (void)bias;                                                                \
        for (; i < n && i < 4; i++) {                                              \
            vs_prefetch_code(codes[i], bytes);                                     \
        }                                                                          \
        for (i = 0; i + 4 <= n; i += 4) {                                          \
            for (uint32_t next = i + 4; next < n && next < i + 8; next++) {        \
                vs_prefetch_code(codes[next], bytes);                              \
            }                                                                      \
            FOUR(q, codes + i, blocks, bias, out + i);                             \
        }                                                                          \
        for (; i < n; i++) {                                                       \
            out[i] = RESULT(ONE(q, codes[i], blocks));                             \
        }                                                                          \
    }

/* The high planes of the next eight codes of a run, on their way into the cache. */
static VS_ALWAYS_INLINE void vs_prefetch_eight(VsCodeRun *run, size_t size) {
    const unsigned char *code = run->code;
    if ((run->wanted & 15) == 15) { /* most are wanted: no branch for each */
        for (size_t at = 0; at < size / 2; at += 64) {
            VS_PREFETCH_FAR(code + at);
            VS_PREFETCH_FAR(code + at + size);
            VS_PREFETCH_FAR(code + at + 2 * size);
            VS_PREFETCH_FAR(code + at + 3 * size);
            VS_PREFETCH_FAR(code + at + 4 * size);
            VS_PREFETCH_FAR(code + at + 5 * size);
            VS_PREFETCH_FAR(code + at + 6 * size);
            VS_PREFETCH_FAR(code + at + 7 * size);
        }
    } else {
        for (uint64_t bits = run->wanted & 0xFF; bits != 0; bits &= bits - 1) {
            for (size_t at = 0; at < size / 2; at += 64) {
                VS_PREFETCH_FAR(code + vs_first_bit(bits) * size + at);
            }
        }
    }
    run->code += 8 * size;
    run->wanted >>= 8;
}

/* One code after the other. */
#define VS_CODE_SUMS(NAME, KERNEL)                                               \
    static int32_t NAME(const int8_t *weights, VsCodeRun run, VsCodeRun later,   \
                        size_t blocks, int32_t *sum) {                           \
        int32_t least = INT32_MAX;                                               \
        size_t size = blocks * VS_BLOCK;                                         \
        for (uint32_t from = 0; from < VS_RUN; from += 8) {                      \
            vs_prefetch_eight(&later, size);                                     \
            for (uint64_t bits = run.wanted & (uint64_t)0xFF << from; bits != 0; \
                 bits &= bits - 1) {                                             \
                uint32_t i = vs_first_bit(bits);                                 \
                sum[i] = KERNEL(weights, run.code + i * size, blocks);           \
                least = sum[i] < least ? sum[i] : least;                         \
            }                                                                    \
        }                                                                        \
        return least;                                                            \
    }

/* What F gives for eight codes that lie one after the other, for an array of registers: a
 * loop would put them into memory. */
#define VS_OF_EIGHT(F, weights, code, blocks, squares)              \
    {F(weights, (code), blocks, squares),                           \
     F(weights, (code) + (blocks) * VS_BLOCK, blocks, squares),     \
     F(weights, (code) + 2 * (blocks) * VS_BLOCK, blocks, squares), \
     F(weights, (code) + 3 * (blocks) * VS_BLOCK, blocks, squares), \
     F(weights, (code) + 4 * (blocks) * VS_BLOCK, blocks, squares), \
     F(weights, (code) + 5 * (blocks) * VS_BLOCK, blocks, squares), \
     F(weights, (code) + 6 * (blocks) * VS_BLOCK, blocks, squares), \
     F(weights, (code) + 7 * (blocks) * VS_BLOCK, blocks, squares)}

/* Eight together, the last few of a run with those before them: so memory has eight places
 * to bring codes from (with four at a time a scan that waits for memory takes up to twice
 * the time). EIGHT returns what it writes, in a register; ONE takes what has not so many
 * neighbours. For x86 (sums_avx2.h). */
#define VS_CODE_SUMS_EIGHT(NAME, EIGHT, ONE, SQUARES, TARGET)                         \
    TARGET static VS_ALWAYS_INLINE int32_t NAME##_of(const int8_t *weights,           \
                                                     VsCodeRun run, VsCodeRun later,  \
                                                     size_t blocks, int32_t *sum) {   \
        size_t size = blocks * VS_BLOCK;                                              \
        int32_t least = INT32_MAX, of_eights;                                         \
        __m256i eights = _mm256_set1_epi32(INT32_MAX);                                \
        while (run.wanted != 0) {                                                     \
            uint32_t i = vs_first_bit(run.wanted), from = i;                          \
            uint32_t some = (uint32_t)(run.wanted >> i) & 0xFF;                       \
            vs_prefetch_eight(&later, size);                                          \
            if (some != 0xFF) {                                                       \
                uint32_t last = vs_last_bit(some);                                    \
                if (vs_count_bits(some) < 5 || i + last < 7) {                        \
                    sum[i] = ONE(weights, run.code + i * size, blocks, SQUARES);      \
                    least = sum[i] < least ? sum[i] : least;                          \
                    run.wanted &= run.wanted - 1;                                     \
                    continue;                                                         \
                }                                                                     \
                from = i + last - 7;                                                  \
            }                                                                         \
            eights = _mm256_min_epi32(eights, EIGHT(weights, run.code + from * size,  \
                                                    blocks, sum + from, SQUARES));    \
            run.wanted &= ~((uint64_t)0xFF << i);                                     \
        }                                                                             \
        while (later.wanted != 0) {                                                   \
            vs_prefetch_eight(&later, size);                                          \
        }                                                                             \
        of_eights = least_lane(eights);                                               \
        return of_eights < least ? of_eights : least;                                 \
    }                                                                                 \
    TARGET static int32_t NAME(const int8_t *weights, VsCodeRun run, VsCodeRun later, \
                               size_t blocks, int32_t *sum) {                         \
        return blocks == 2 /* one register: no loop */                                \
                   ? NAME##_of(weights, run, later, 2, sum)                           \
                   : NAME##_of(weights, run, later, blocks, sum);                     \
    }

/* For instruction sets that take one code after the other. */
#define VS_CODE_BATCHES()                                                \
    VS_CODE_BATCH(batch_full_l2, full_l2, uint8_t, 2, VS_AS_SUM, )       \
    VS_CODE_BATCH(batch_full_dot, full_dot, int16_t, 2, VS_AS_DOT, )     \
    VS_CODE_BATCH(batch_high_l2, weighed_l2, int8_t, 1, VS_AS_HIGH_L2, ) \
    VS_CODE_BATCH(batch_high_dot, weighed_dot, int8_t, 1, VS_AS_HIGH_DOT, )

/* FOUR and ONE add squares too if their last argument says so. */
#define VS_CODE_HIGH_FOURS(FOUR, ONE, TARGET)                                            \
    TARGET static VS_ALWAYS_INLINE void high_l2_four(                                    \
        const int8_t *w, const unsigned char *const *codes, size_t blocks, int64_t bias, \
        float *out) {                                                                    \
        FOUR(w, codes, blocks, bias, out, 1);                                            \
    }                                                                                    \
    TARGET static VS_ALWAYS_INLINE void high_dot_four(                                   \
        const int8_t *w, const unsigned char *const *codes, size_t blocks, int64_t bias, \
        float *out) {                                                                    \
        FOUR(w, codes, blocks, bias, out, 0);                                            \
    }                                                                                    \
    TARGET static VS_ALWAYS_INLINE int32_t weighed_l2(                                   \
        const int8_t *w, const unsigned char *code, size_t blocks) {                     \
        return ONE(w, code, blocks, 1);                                                  \
    }                                                                                    \
    TARGET static VS_ALWAYS_INLINE int32_t weighed_dot(                                  \
        const int8_t *w, const unsigned char *code, size_t blocks) {                     \
        return ONE(w, code, blocks, 0);                                                  \
    }                                                                                    \
    VS_CODE_FOURS(batch_high_l2, high_l2_four, weighed_l2, int8_t, 1, VS_AS_HIGH_L2,     \
                  TARGET)                                                                \
    VS_CODE_FOURS(batch_high_dot, high_dot_four, weighed_dot, int8_t, 1, VS_AS_HIGH_DOT, \
                  TARGET)

#endif
