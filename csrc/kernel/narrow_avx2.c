/*
 * The AVX2 kernels on narrow elements. float16 is widened by F16C and added in the order
 * of float.h, the tail as one more block that is filled with zeros (+0 changes no
 * partial sum: float_scalar.c says why). Bits are counted by a table of nibbles in one
 * register (Mula, Kurz and Lemire, "Faster population counts using AVX2 instructions",
 * 2018).
 */
#include "csrc/base/cpu.h"
#include "csrc/kernel/narrow.h"

#if VS_X86_64

#include <string.h>

#include "csrc/kernel/lanes_avx2.h"

#define AVX2 VS_TARGET("avx2,f16c")

extern const VsNarrowKernels
    vs_narrow_avx2; /* choice.c declares it too: nobody else may */

/* ---- float16 -------------------------------------------------------------------- */

AVX2 static inline __m256 widen(const unsigned char *v, int lanes) {
    return _mm256_cvtph_ps(
        _mm_loadu_si128((const __m128i *)(const void *)(v + 16 * lanes)));
}

#define F16_KERNEL(NAME, TERM)                                                        \
    AVX2 static float NAME(const void *a, const void *b, size_t n) {                  \
        const unsigned char *x = a, *y = b;                                           \
        unsigned char rest[2][64] = {{0}};                                            \
        __m256 p[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), \
                       _mm256_setzero_ps()};                                          \
        for (size_t left = n; left > 0; x += 64, y += 64) {                           \
            if (left < 32) {                                                          \
                memcpy(rest[0], x, 2 * left);                                         \
                memcpy(rest[1], y, 2 * left);                                         \
                x = rest[0];                                                          \
                y = rest[1];                                                          \
            }                                                                         \
            for (int j = 0; j < 4; j++) {                                             \
                p[j] = _mm256_add_ps(p[j], TERM(widen(x, j), widen(y, j)));           \
            }                                                                         \
            left -= left < 32 ? left : 32;                                            \
        }                                                                             \
        return reduce(p[0], p[1], p[2], p[3]);                                        \
    }

F16_KERNEL(l2sq_f16, term_l2sq)
F16_KERNEL(dot_f16, term_dot)
F16_KERNEL(l1_f16, term_l1)

/* ---- int8 ----------------------------------------------------------------------- */

AVX2 static inline uint32_t sum_u32(__m256i v) {
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(t);
}

AVX2 static inline __m256i widen_int8(const int8_t *v) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)v));
}

AVX2 static uint32_t l2sq_int8(const void *a, const void *b, size_t n) {
    const int8_t *x = a, *y = b;
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i d = _mm256_sub_epi16(widen_int8(x + i), widen_int8(y + i));
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(d, d));
    }
    return sum_u32(sums) + vs_narrow_scalar.l2sq_int8(x + i, y + i, n - i);
}

AVX2 static int32_t dot_int8(const void *a, const void *b, size_t n) {
    const int8_t *x = a, *y = b;
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        sums = _mm256_add_epi32(sums,
                                _mm256_madd_epi16(widen_int8(x + i), widen_int8(y + i)));
    }
    return (int32_t)sum_u32(sums) + vs_narrow_scalar.dot_int8(x + i, y + i, n - i);
}

/* ---- bytes: absolute differences and set bits, eight at a time by SAD ------------ */

AVX2 static inline __m256i load32(const unsigned char *v) {
    return _mm256_loadu_si256((const __m256i *)(const void *)v);
}

AVX2 static inline uint32_t sum_u64(__m256i v) {
    return sum_u32(v); /* the upper halves are 0: no count reaches 2^32 */
}

AVX2 static uint32_t l1_int8(const void *a, const void *b, size_t n) {
    const unsigned char *x = a, *y = b;
    __m256i sums = _mm256_setzero_si256(), flip = _mm256_set1_epi8((char)0x80);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i u = _mm256_xor_si256(load32(x + i), flip),
                v = _mm256_xor_si256(load32(y + i), flip);
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(u, v));
    }
    return sum_u64(sums) + vs_narrow_scalar.l1_int8(x + i, y + i, n - i);
}

AVX2 static inline __m256i count_bits(__m256i v) {
    const __m256i table =
        _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2,
                         2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, nibble));
    __m256i high =
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

AVX2 static uint32_t differing_bits(const void *a, const void *b, size_t n) {
    const unsigned char *x = a, *y = b;
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        sums = _mm256_add_epi64(
            sums, count_bits(_mm256_xor_si256(load32(x + i), load32(y + i))));
    }
    return sum_u64(sums) + vs_narrow_scalar.differing_bits(x + i, y + i, n - i);
}

AVX2 static uint32_t common_bits(const void *a, const void *b, size_t n) {
    const unsigned char *x = a, *y = b;
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        sums = _mm256_add_epi64(
            sums, count_bits(_mm256_and_si256(load32(x + i), load32(y + i))));
    }
    return sum_u64(sums) + vs_narrow_scalar.common_bits(x + i, y + i, n - i);
}

const VsNarrowKernels vs_narrow_avx2 = {
    .name = "avx2",
    .l2sq_f16 = l2sq_f16,
    .dot_f16 = dot_f16,
    .l1_f16 = l1_f16,
    .l2sq_int8 = l2sq_int8,
    .l1_int8 = l1_int8,
    .dot_int8 = dot_int8,
    .differing_bits = differing_bits,
    .common_bits = common_bits,
};

#endif
