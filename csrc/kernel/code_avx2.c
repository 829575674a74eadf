/* The kernels on codes with AVX2; see code.h. One register holds 32 bytes of a
 * plane, that is one block's nibbles. */
#include "csrc/kernel/code_batch.h"
#include "csrc/base/cpu.h"

#if VS_X86_64

#include <immintrin.h>

#include "csrc/kernel/sums_avx2.h"

#define AVX2 VS_TARGET("avx2")

extern const VsCodeKernels vs_code_kernels_avx2;

AVX2 static inline __m256i load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

AVX2 static inline uint32_t sum_lanes(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(s);
}

/* Dimensions 0..31 and 32..63 of a block, eight bits each. */
AVX2 static inline __m256i full_first(__m256i high, __m256i low) {
    const __m256i nibble = _mm256_set1_epi8(15);
    return _mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(high, nibble), 4),
                           _mm256_and_si256(low, nibble));
}

AVX2 static inline __m256i full_second(__m256i high, __m256i low) {
    const __m256i nibble = _mm256_set1_epi8(15);
    return _mm256_or_si256(_mm256_andnot_si256(nibble, high),
                           _mm256_and_si256(_mm256_srli_epi16(low, 4), nibble));
}

/* Sums of squares of the 32 differences of unsigned bytes, in 8 lanes. */
AVX2 static inline __m256i squares(__m256i a, __m256i b) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i d = _mm256_or_si256(_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));
    __m256i even = _mm256_unpacklo_epi8(d, zero), odd = _mm256_unpackhi_epi8(d, zero);
    return _mm256_add_epi32(_mm256_madd_epi16(even, even), _mm256_madd_epi16(odd, odd));
}

AVX2 static VS_ALWAYS_INLINE __m256i add_full(__m256i sum, const uint8_t *q,
                                              const unsigned char *high,
                                              const unsigned char *low) {
    __m256i h = load(high), l = load(low);
    sum = _mm256_add_epi32(sum, squares(full_first(h, l), load(q)));
    return _mm256_add_epi32(sum, squares(full_second(h, l), load(q + VS_BLOCK_BYTES)));
}

AVX2 static inline uint32_t full_l2(const uint8_t *q, const unsigned char *code,
                                    size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    __m256i sum = _mm256_setzero_si256();
    for (size_t b = 0; b < blocks; b++) {
        sum = add_full(sum, q + b * VS_BLOCK, code + b * VS_BLOCK_BYTES,
                       low + b * VS_BLOCK_BYTES);
    }
    return sum_lanes(sum);
}

AVX2 static VS_ALWAYS_INLINE void full_l2_four(const uint8_t *q,
                                               const unsigned char *const *code,
                                               size_t blocks, int64_t bias, float *out) {
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    size_t low = blocks * VS_BLOCK_BYTES;
    uint32_t sums[4];
    (void)bias;
    for (size_t at = 0; at < low; at += VS_BLOCK_BYTES, q += VS_BLOCK) {
        a = add_full(a, q, code[0] + at, code[0] + low + at);
        b = add_full(b, q, code[1] + at, code[1] + low + at);
        c = add_full(c, q, code[2] + at, code[2] + low + at);
        d = add_full(d, q, code[3] + at, code[3] + low + at);
    }
    _mm_storeu_si128((__m128i *)(void *)sums, sums_of_four(a, b, c, d));
    for (int i = 0; i < 4; i++) {
        out[i] = (float)sums[i]; /* unsigned: AVX2 cannot */
    }
}

/* Products of 32 unsigned bytes with 32 signed 16-bit numbers, in 8 lanes. */
AVX2 static inline __m256i products(__m256i c, const int16_t *q) {
    __m256i first = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(c));
    __m256i second = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(c, 1));
    return _mm256_add_epi32(_mm256_madd_epi16(first, load(q)),
                            _mm256_madd_epi16(second, load(q + 16)));
}

AVX2 static inline int64_t sum_lanes_wide(__m256i v) {
    __m256i low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(v));
    __m256i high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(v, 1));
    int64_t lane[4];
    _mm256_storeu_si256((__m256i *)(void *)lane, _mm256_add_epi64(low, high));
    return lane[0] + lane[1] + lane[2] + lane[3];
}

AVX2 static inline int64_t full_dot(const int16_t *q, const unsigned char *code,
                                    size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    int64_t total = 0;
    for (size_t b = 0; b < blocks;) {
        size_t end = b + VS_DOT_BLOCKS < blocks ? b + VS_DOT_BLOCKS : blocks;
        __m256i sum = _mm256_setzero_si256();
        for (; b < end; b++) {
            __m256i h = load(code + b * VS_BLOCK_BYTES);
            __m256i l = load(low + b * VS_BLOCK_BYTES);
            const int16_t *at = q + b * VS_BLOCK;
            sum = _mm256_add_epi32(sum, products(full_first(h, l), at));
            sum = _mm256_add_epi32(sum, products(full_second(h, l), at + 32));
        }
        total += sum_lanes_wide(sum);
    }
    return total;
}

/* The weighed sums of a block's nibbles are added to eight lanes. Each product of a pair
 * fits 16 bits, and so does what they add to here: 4 (4 * 225) + 2 * 2 * 15 * 127. */
AVX2 static VS_ALWAYS_INLINE __m256i weigh(__m256i sum, __m256i h, const int8_t *w,
                                           int squares) {
    const __m256i nibble = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    __m256i first = _mm256_and_si256(h, nibble);
    __m256i second = _mm256_and_si256(_mm256_srli_epi16(h, 4), nibble);
    __m256i s = _mm256_add_epi16(_mm256_maddubs_epi16(first, load(w)),
                                 _mm256_maddubs_epi16(second, load(w + VS_BLOCK_BYTES)));
    if (squares) {
        __m256i t = _mm256_add_epi16(_mm256_maddubs_epi16(first, first),
                                     _mm256_maddubs_epi16(second, second));
        s = _mm256_add_epi16(s, _mm256_slli_epi16(t, 2));
    }
    return _mm256_add_epi32(sum, _mm256_madd_epi16(s, one));
}

AVX2 static VS_ALWAYS_INLINE __m256i weighed(const int8_t *w, const unsigned char *code,
                                             size_t blocks, int squares) {
    __m256i sum = _mm256_setzero_si256();
    for (size_t b = 0; b < blocks; b++) {
        sum = weigh(sum, load(code + b * VS_BLOCK_BYTES), w + b * VS_BLOCK, squares);
    }
    return sum;
}

AVX2 static VS_ALWAYS_INLINE __m128i weighed_four(const int8_t *w,
                                                  const unsigned char *const *code,
                                                  size_t blocks, int squares) {
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < blocks; i++, w += VS_BLOCK) {
        size_t at = i * VS_BLOCK_BYTES;
        a = weigh(a, load(code[0] + at), w, squares);
        b = weigh(b, load(code[1] + at), w, squares);
        c = weigh(c, load(code[2] + at), w, squares);
        d = weigh(d, load(code[3] + at), w, squares);
    }
    return sums_of_four(a, b, c, d);
}

AVX2 static VS_ALWAYS_INLINE void high_four(const int8_t *w,
                                            const unsigned char *const *code,
                                            size_t blocks, int64_t bias, float *out,
                                            int squares) {
    __m128i sums = weighed_four(w, code, blocks, squares);
    sums = _mm_add_epi32(_mm_slli_epi32(sums, squares ? 4 : 0),
                         _mm_set1_epi32((int32_t)bias));
    _mm_storeu_ps(out, _mm_cvtepi32_ps(sums));
}

AVX2 static VS_ALWAYS_INLINE __m256i sums_eight(const int8_t *w,
                                                const unsigned char *code, size_t blocks,
                                                int32_t *sum, int squares) {
    __m256i v[8] = VS_OF_EIGHT(weighed, w, code, blocks, squares);
    __m256i sums = sums_of_eight(v);
    _mm256_storeu_si256((__m256i *)(void *)sum, sums);
    return sums;
}

AVX2 static uint64_t at_most(const int32_t *sum, int32_t most) {
    uint64_t beyond = 0;
    for (uint32_t i = 0; i < VS_RUN; i += 8) {
        __m256i more = _mm256_cmpgt_epi32(load(sum + i), _mm256_set1_epi32(most));
        beyond |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(more)) << i;
    }
    return ~beyond;
}

AVX2 static VS_ALWAYS_INLINE int32_t high_one(const int8_t *w, const unsigned char *code,
                                              size_t blocks, int squares) {
    return (int32_t)sum_lanes(weighed(w, code, blocks, squares));
}

static void keep_order(int8_t *weights, size_t blocks) {
    (void)weights;
    (void)blocks;
}

VS_CODE_FOURS(batch_full_l2, full_l2_four, full_l2, uint8_t, 2, VS_AS_SUM, AVX2)
VS_CODE_BATCH(batch_full_dot, full_dot, int16_t, 2, VS_AS_DOT, AVX2)
VS_CODE_HIGH_FOURS(high_four, high_one, AVX2)
VS_CODE_SUMS_EIGHT(sums_l2, sums_eight, high_one, 1, AVX2)
VS_CODE_SUMS_EIGHT(sums_dot, sums_eight, high_one, 0, AVX2)

const VsCodeKernels vs_code_kernels_avx2 = {"avx2",        batch_full_l2,  batch_full_dot,
                                            batch_high_l2, batch_high_dot, keep_order,
                                            sums_l2,       sums_dot,       at_most};

#endif
