/*
 * Additions across the eight lanes of 32 bits of AVX2's registers, which code_avx2.c
 * and code_avx512.c share: several registers are transposed, so that their lanes are
 * added together. For x86-64 only.
 */
#ifndef VS_KERNEL_SUMS_AVX2_H
#define VS_KERNEL_SUMS_AVX2_H

#include <immintrin.h>

#include "csrc/kernel/batch.h"
#include "csrc/base/cpu.h"

#define SUMS_AVX2 VS_TARGET("avx2")

SUMS_AVX2 static VS_ALWAYS_INLINE __m256i add_pairs(__m256i a, __m256i b) {
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

SUMS_AVX2 static VS_ALWAYS_INLINE __m256i add_quads(__m256i a, __m256i b) {
    return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* The sums of four registers. */
SUMS_AVX2 static VS_ALWAYS_INLINE __m128i sums_of_four(__m256i a, __m256i b, __m256i c,
                                                       __m256i d) {
    __m256i lanes = add_quads(add_pairs(a, b), add_pairs(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(lanes),
                         _mm256_extracti128_si256(lanes, 1));
}

/* The same of eight. */
SUMS_AVX2 static VS_ALWAYS_INLINE __m256i sums_of_eight(const __m256i *v) {
    __m256i a = add_quads(add_pairs(v[0], v[1]), add_pairs(v[2], v[3]));
    __m256i b = add_quads(add_pairs(v[4], v[5]), add_pairs(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

/* The least of the lanes of one. */
SUMS_AVX2 static VS_ALWAYS_INLINE int32_t least_lane(__m256i v) {
    __m128i low =
        _mm_min_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    low = _mm_min_epi32(low, _mm_shuffle_epi32(low, 0x4E));
    return _mm_cvtsi128_si32(_mm_min_epi32(low, _mm_shuffle_epi32(low, 0xB1)));
}

#endif
