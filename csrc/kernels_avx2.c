/*
 * The AVX2 distance kernels: four registers of eight lanes hold the 32 partial sums of
 * kernels.h, so the order of every addition is the scalar reference's. Multiply and add,
 * never FMA: a fused product is rounded once instead of twice and would give other bits.
 */
#include "batch.h"
#include "cpu.h"
#include "kernels.h"

#if VS_X86_64

#include <immintrin.h>
#include <stdint.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#define AVX2 VS_TARGET("avx2")

extern const VsKernels vs_kernels_avx2; /* kernels.c declares it too: nobody else may */

/* Loaded at offset 8 - r: all ones in the first r lanes. */
static const int32_t lane_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                      0,  0,  0,  0,  0,  0,  0,  0};

AVX2 static inline __m256 term_l2sq(__m256 x, __m256 y) {
    __m256 d = _mm256_sub_ps(x, y);
    return _mm256_mul_ps(d, d);
}

AVX2 static inline __m256 term_dot(__m256 x, __m256 y) {
    return _mm256_mul_ps(x, y);
}

AVX2 static inline __m256 term_l1(__m256 x, __m256 y) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(x, y));
}

AVX2 static inline float reduce(__m256 p0, __m256 p1, __m256 p2, __m256 p3) {
    __m256 s = _mm256_add_ps(_mm256_add_ps(p0, p1), _mm256_add_ps(p2, p3));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    __m128 u = _mm_add_ps(t, _mm_movehl_ps(t, t)); /* t0 + t2, t1 + t3 */
    return _mm_cvtss_f32(_mm_add_ss(u, _mm_shuffle_ps(u, u, 1)));
}

/* The tail: whole registers, then one masked load, which reads nothing beyond the vector
 * and adds +0 to the lanes that have no element (kernels_scalar.c says why that changes
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
