/* The AVX2 distance kernels: the bits of the scalar reference (lanes_avx2.h). */
#include "csrc/kernel/batch.h"
#include "csrc/base/cpu.h"
#include "csrc/kernel/float.h"

#if VS_X86_64

#include <stdint.h>

#include "csrc/kernel/lanes_avx2.h"

#define AVX2 VS_TARGET("avx2")

extern const VsKernels vs_kernels_avx2; /* choice.c declares it too */

/* Loaded at offset 8 - r: all ones in the first r lanes. */
static const int32_t lane_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                      0,  0,  0,  0,  0,  0,  0,  0};

/* The tail: whole registers, then one masked load, which reads nothing beyond the vector
 * and adds +0 to the lanes that have no element (float_scalar.c says why that changes
 * no bit). */
#define ADD(P, TERM, OFFSET) \
    P = _mm256_add_ps(       \
        P, TERM(_mm256_loadu_ps(a + (OFFSET)), _mm256_loadu_ps(b + (OFFSET))))

#define SUM_OVER_LANES(TERM)                                               \
    do {                                                                   \
        __m256 p0 = _mm256_setzero_ps();                                   \
        __m256 p1 = p0;                                                    \
        __m256 p2 = p0;                                                    \
        __m256 p3 = p0;                                                    \
        for (; n >= 32; n -= 32, a += 32, b += 32) {                       \
            ADD(p0, TERM, 0);                                              \
            ADD(p1, TERM, 8);                                              \
            ADD(p2, TERM, 16);                                             \
            ADD(p3, TERM, 24);                                             \
        }                                                                  \
        if (n > 0) {                                                       \
            size_t whole = n & ~(size_t)7;                                 \
            __m256i mask = _mm256_loadu_si256(                             \
                (const __m256i *)(const void *)(lane_mask + 8 - (n & 7))); \
            __m256 rest = TERM(_mm256_maskload_ps(a + whole, mask),        \
                               _mm256_maskload_ps(b + whole, mask));       \
            if (whole == 0) {                                              \
                p0 = _mm256_add_ps(p0, rest);                              \
            } else if (whole == 8) {                                       \
                ADD(p0, TERM, 0);                                          \
                p1 = _mm256_add_ps(p1, rest);                              \
            } else if (whole == 16) {                                      \
                ADD(p0, TERM, 0);                                          \
                ADD(p1, TERM, 8);                                          \
                p2 = _mm256_add_ps(p2, rest);                              \
            } else {                                                       \
                ADD(p0, TERM, 0);                                          \
                ADD(p1, TERM, 8);                                          \
                ADD(p2, TERM, 16);                                         \
                p3 = _mm256_add_ps(p3, rest);                              \
            }                                                              \
        }                                                                  \
        return reduce(p0, p1, p2, p3);                                     \
    } while (0)

AVX2 static inline float l2sq_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_l2sq);
}

AVX2 static inline float dot_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_dot);
}

AVX2 static float l1_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_l1);
}

VS_BATCH(l2sq_f32_batch, l2sq_f32, float, AVX2)
VS_BATCH(dot_f32_batch, dot_f32, float, AVX2)

const VsKernels vs_kernels_avx2 = {"avx2", l2sq_f32,       dot_f32,
                                   l1_f32, l2sq_f32_batch, dot_f32_batch};

#endif
