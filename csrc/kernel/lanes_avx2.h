/*
 * lanes.h in AVX2: four registers of eight lanes hold the 32 partial sums, so the order of
 * every addition is the scalar form's. Multiply and add, never FMA: a fused product is
 * rounded once instead of twice and would give other bits. For x86-64 only.
 */
#ifndef VS_KERNEL_LANES_AVX2_H
#define VS_KERNEL_LANES_AVX2_H

#include <immintrin.h>

#include "csrc/base/cpu.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#define LANES_AVX2 VS_TARGET("avx2")

LANES_AVX2 static inline __m256 term_l2sq(__m256 x, __m256 y) {
    __m256 d = _mm256_sub_ps(x, y);
    return _mm256_mul_ps(d, d);
}

LANES_AVX2 static inline __m256 term_dot(__m256 x, __m256 y) {
    return _mm256_mul_ps(x, y);
}

LANES_AVX2 static inline __m256 term_l1(__m256 x, __m256 y) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(x, y));
}

LANES_AVX2 static inline float reduce(__m256 p0, __m256 p1, __m256 p2, __m256 p3) {
    __m256 s = _mm256_add_ps(_mm256_add_ps(p0, p1), _mm256_add_ps(p2, p3));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    __m128 u = _mm_add_ps(t, _mm_movehl_ps(t, t)); /* t0 + t2, t1 + t3 */
    return _mm_cvtss_f32(_mm_add_ss(u, _mm_shuffle_ps(u, u, 1)));
}

#endif
