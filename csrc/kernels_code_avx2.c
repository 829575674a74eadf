/* The kernels on codes with AVX2; see kernels_code.h. One register holds 32 bytes of a
 * plane, that is one block's nibbles. */
#include "code_batch.h"
#include "cpu.h"

#if VS_X86_64

#include <immintrin.h>

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

AVX2 static inline uint32_t full_l2(const uint8_t *q, const unsigned char *code,
                                    size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
    for (size_t b = 0; b < blocks; b++) {
        __m256i h = load(code + b * VS_BLOCK_BYTES), l = load(low + b * VS_BLOCK_BYTES);
        const uint8_t *at = q + b * VS_BLOCK;
        sum0 = _mm256_add_epi32(sum0, squares(full_first(h, l), load(at)));
        sum1 = _mm256_add_epi32(sum1, squares(full_second(h, l), load(at + 32)));
    }
    return sum_lanes(_mm256_add_epi32(sum0, sum1));
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

/* |d| <= 127, so d * d summed in pairs fits a signed 16-bit number. */
AVX2 static inline __m256i small_squares(__m256i a, __m256i b) {
    __m256i d = _mm256_abs_epi8(_mm256_sub_epi8(a, b));
    return _mm256_madd_epi16(_mm256_maddubs_epi16(d, d), _mm256_set1_epi16(1));
}

AVX2 static inline uint32_t high_l2(const uint8_t *q, const unsigned char *code,
                                    size_t blocks) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i middle = _mm256_setr_epi8(4, 12, 20, 28, 36, 44, 52, 60, 68, 76, 84, 92,
                                            100, 108, 116, 124, 4, 12, 20, 28, 36, 44, 52,
                                            60, 68, 76, 84, 92, 100, 108, 116, 124);
    __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
    for (size_t b = 0; b < blocks; b++) {
        __m256i h = load(code + b * VS_BLOCK_BYTES);
        const uint8_t *at = q + b * VS_BLOCK;
        __m256i first = _mm256_shuffle_epi8(middle, _mm256_and_si256(h, nibble));
        __m256i second = _mm256_shuffle_epi8(
            middle, _mm256_and_si256(_mm256_srli_epi16(h, 4), nibble));
        sum0 = _mm256_add_epi32(sum0, small_squares(first, load(at)));
        sum1 = _mm256_add_epi32(sum1, small_squares(second, load(at + 32)));
    }
    return sum_lanes(_mm256_add_epi32(sum0, sum1));
}

AVX2 static inline int64_t high_dot(const int8_t *q, const unsigned char *code,
                                    size_t blocks) {
    const __m256i nibble = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (size_t b = 0; b < blocks; b++) {
        __m256i h = load(code + b * VS_BLOCK_BYTES);
        const int8_t *at = q + b * VS_BLOCK;
        __m256i first = _mm256_maddubs_epi16(_mm256_and_si256(h, nibble), load(at));
        __m256i second = _mm256_maddubs_epi16(
            _mm256_and_si256(_mm256_srli_epi16(h, 4), nibble), load(at + 32));
        sum = _mm256_add_epi32(sum,
                               _mm256_madd_epi16(_mm256_add_epi16(first, second), one));
    }
    return sum_lanes_wide(sum);
}

/* Each product of a pair fits 16 bits, and so does what they add to here: 4 (4 * 225) +
 * 2 * 2 * 15 * 127. */
AVX2 static VS_ALWAYS_INLINE __m256i weighed(const int8_t *w, const unsigned char *code,
                                             size_t blocks, int squares) {
    const __m256i nibble = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (size_t b = 0; b < blocks; b++) {
        __m256i h = load(code + b * VS_BLOCK_BYTES);
        __m256i first = _mm256_and_si256(h, nibble);
        __m256i second = _mm256_and_si256(_mm256_srli_epi16(h, 4), nibble);
        __m256i s = _mm256_add_epi16(
            _mm256_maddubs_epi16(first, load(w + b * VS_BLOCK)),
            _mm256_maddubs_epi16(second, load(w + b * VS_BLOCK + VS_BLOCK_BYTES)));
        if (squares) {
            __m256i t = _mm256_add_epi16(_mm256_maddubs_epi16(first, first),
                                         _mm256_maddubs_epi16(second, second));
            s = _mm256_add_epi16(s, _mm256_slli_epi16(t, 2));
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(s, one));
    }
    return sum;
}

AVX2 static inline __m256i add_pairs(__m256i a, __m256i b) {
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

AVX2 static inline __m256i add_quads(__m256i a, __m256i b) {
    return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* The sums of eight registers, transposed, so that they share their additions. */
AVX2 static inline __m256i add_lanes(const __m256i *v) {
    __m256i a = add_quads(add_pairs(v[0], v[1]), add_pairs(v[2], v[3]));
    __m256i b = add_quads(add_pairs(v[4], v[5]), add_pairs(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

AVX2 static VS_ALWAYS_INLINE uint32_t sieve_eight(const int8_t *w,
                                                  const unsigned char *code,
                                                  size_t blocks, int32_t most,
                                                  int squares) {
    __m256i v[8] = VS_OF_EIGHT(weighed, w, code, blocks, squares);
    __m256i beyond = _mm256_cmpgt_epi32(add_lanes(v), _mm256_set1_epi32(most));
    return ~(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(beyond)) & 0xFF;
}

AVX2 static VS_ALWAYS_INLINE int32_t sieve_one(const int8_t *w, const unsigned char *code,
                                               size_t blocks, int squares) {
    return (int32_t)sum_lanes(weighed(w, code, blocks, squares));
}

static void keep_order(int8_t *weights, size_t blocks) {
    (void)weights;
    (void)blocks;
}

VS_CODE_BATCHES(AVX2)
VS_CODE_SIEVE_EIGHT(sieve_l2, sieve_eight, sieve_one, 1, AVX2)
VS_CODE_SIEVE_EIGHT(sieve_dot, sieve_eight, sieve_one, 0, AVX2)

const VsCodeKernels vs_code_kernels_avx2 = {"avx2",        batch_full_l2,  batch_full_dot,
                                            batch_high_l2, batch_high_dot, keep_order,
                                            sieve_l2,      sieve_dot};

#endif
