/*
 * A kernel over a batch of codes: the loop that every instruction set shares.
 *
 * VS_BATCH defines a function of type VsBatchFn from a kernel of the same file, which the
 * compiler inlines: a walk makes one call per expanded node and none per neighbour. The
 * codes of a batch lie anywhere in memory, so those that come VS_LOOKAHEAD later are
 * prefetched.
 */
#ifndef VS_KERNEL_BATCH_H
#define VS_KERNEL_BATCH_H

#include <stddef.h>
#include <stdint.h>

/* gcc takes a function that does nothing but prefetch for one without an effect and drops
 * its calls, unless it is always inlined. */
#if defined(__GNUC__)
#define VS_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define VS_ALWAYS_INLINE inline
#endif
#if defined(__GNUC__)
#define VS_PREFETCH(p) __builtin_prefetch(p)
#else
#define VS_PREFETCH(p) ((void)(p))
#endif

/* Into the second cache. The first one can wait for some two dozen lines and then holds up
 * everything, loads too; so what is fetched in numbers goes here (a walk takes 18 % less
 * time on SIFT-128, 100,000 rows, 23 % at 1 M, 6 % on MiniLM-384; Zen 4). */
#if defined(VS_PREFETCH_FAR) /* a test's, which takes notes */
#elif defined(__GNUC__)
#define VS_PREFETCH_FAR(p) __builtin_prefetch((p), 0, 2)
#else
#define VS_PREFETCH_FAR(p) ((void)(p))
#endif

#define VS_LOOKAHEAD 4
#define VS_PREFETCHED 512 /* bytes of a code; the rest the hardware sees coming */

static VS_ALWAYS_INLINE void vs_prefetch_code(const unsigned char *code, size_t size) {
    for (size_t i = 0; i < size && i < VS_PREFETCHED; i += 64) {
        VS_PREFETCH(code + i);
    }
}

static VS_ALWAYS_INLINE void vs_prefetch_code_far(const unsigned char *code,
                                                  size_t size) {
    for (size_t i = 0; i < size && i < VS_PREFETCHED; i += 64) {
        VS_PREFETCH_FAR(code + i);
    }
}

/* TARGET: VS_TARGET(...) or empty; ELEMENT: type of what the kernel reads. */
#define VS_BATCH(NAME, KERNEL, ELEMENT, TARGET)                                          \
    TARGET static void NAME(const unsigned char *query,                                  \
                            const unsigned char *const *codes, uint32_t count, size_t n, \
                            float *out) {                                                \
        const ELEMENT *q = (const ELEMENT *)(const void *)query;                         \
        for (uint32_t i = 0; i < count && i < VS_LOOKAHEAD; i++) {                       \
            vs_prefetch_code(codes[i], n * sizeof(ELEMENT));                             \
        }                                                                                \
        for (uint32_t i = 0; i < count; i++) {                                           \
            if (i + VS_LOOKAHEAD < count) {                                              \
                vs_prefetch_code(codes[i + VS_LOOKAHEAD], n * sizeof(ELEMENT));          \
            }                                                                            \
            out[i] = KERNEL(q, (const ELEMENT *)(const void *)codes[i], n);              \
        }                                                                                \
    }

#endif
