/* The kernels on codes with AVX-512 and its dot products of bytes (VNNI); see
 * kernels_code.h. One register holds two blocks of a plane; a last single block and the
 * inner products take AVX2's way. */
#include "code_batch.h"
#include "cpu.h"

#if VS_X86_64_VNNI

#include <immintrin.h>

#define AVX512 VS_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")

extern const VsCodeKernels vs_code_kernels_avx2;
extern const VsCodeKernels vs_code_kernels_avx512;

/* Two blocks of a query are dimensions 0..63 and 64..127; a plane has 0..31 with 64..95
 * in the low halves of its bytes and the others in the high halves. */
AVX512 static inline void query_halves(const uint8_t *q, __m512i *first,
                                       __m512i *second) {
    __m512i a = _mm512_loadu_si512(q), b = _mm512_loadu_si512(q + VS_BLOCK);
    *first = _mm512_shuffle_i64x2(a, b, 0x44);
    *second = _mm512_shuffle_i64x2(a, b, 0xEE);
}

/* Half a register of a plane, and 64 dimensions of a query in the same order. */
AVX512 static inline __m512i last_block(const unsigned char *plane) {
    return _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i *)plane));
}

AVX512 static inline void last_halves(const uint8_t *q, __m512i *first, __m512i *second) {
    *first = last_block(q);
    *second = last_block(q + VS_BLOCK_BYTES);
}

AVX512 static inline __m512i add_squares(__m512i sum, __m512i a, __m512i b) {
    const __m512i zero = _mm512_setzero_si512();
    __m512i d = _mm512_sub_epi8(_mm512_max_epu8(a, b), _mm512_min_epu8(a, b));
    __m512i even = _mm512_unpacklo_epi8(d, zero), odd = _mm512_unpackhi_epi8(d, zero);
    return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
}

/* Bits of `a` where the mask has them, of `b` elsewhere. */
AVX512 static inline __m512i choose(__m512i mask, __m512i a, __m512i b) {
    return _mm512_ternarylogic_epi32(mask, a, b, 0xCA);
}

AVX512 static inline uint32_t full_l2(const uint8_t *q, const unsigned char *code,
                                      size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, first, second;
    for (size_t b = 0; b < blocks; b += 2) {
        __m512i h, l;
        if (b + 1 < blocks) {
            h = _mm512_loadu_si512(code + b * VS_BLOCK_BYTES);
            l = _mm512_loadu_si512(low + b * VS_BLOCK_BYTES);
            query_halves(q + b * VS_BLOCK, &first, &second);
        } else {
            h = last_block(code + b * VS_BLOCK_BYTES);
            l = last_block(low + b * VS_BLOCK_BYTES);
            last_halves(q + b * VS_BLOCK, &first, &second);
        }
        sum0 = add_squares(sum0, choose(nibble, l, _mm512_slli_epi16(h, 4)), first);
        sum1 = add_squares(sum1, choose(nibble, _mm512_srli_epi16(l, 4), h), second);
    }
    return (uint32_t)_mm512_reduce_add_epi32(_mm512_add_epi32(sum0, sum1));
}

/* |d| <= 127: as an unsigned and as a signed byte the same. */
AVX512 static inline __m512i add_small_squares(__m512i sum, __m512i a, __m512i b) {
    __m512i d = _mm512_abs_epi8(_mm512_sub_epi8(a, b));
    return _mm512_dpbusd_epi32(sum, d, d);
}

/* Where there is no second block both sides are zero. */
AVX512 static inline uint32_t high_l2(const uint8_t *q, const unsigned char *code,
                                      size_t blocks) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i middle = _mm512_broadcast_i32x4(
        _mm_setr_epi8(4, 12, 20, 28, 36, 44, 52, 60, 68, 76, 84, 92, 100, 108, 116, 124));
    const __mmask64 low_half = 0xFFFFFFFF;
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0, first, second;
    for (size_t b = 0; b < blocks; b += 2) {
        __mmask64 used = b + 1 < blocks ? ~(__mmask64)0 : low_half;
        __m512i h;
        if (b + 1 < blocks) {
            h = _mm512_loadu_si512(code + b * VS_BLOCK_BYTES);
            query_halves(q + b * VS_BLOCK, &first, &second);
        } else {
            h = last_block(code + b * VS_BLOCK_BYTES);
            last_halves(q + b * VS_BLOCK, &first, &second);
        }
        __m512i lows = _mm512_and_si512(h, nibble);
        __m512i highs = _mm512_and_si512(_mm512_srli_epi16(h, 4), nibble);
        sum0 =
            add_small_squares(sum0, _mm512_maskz_shuffle_epi8(used, middle, lows), first);
        sum1 = add_small_squares(sum1, _mm512_maskz_shuffle_epi8(used, middle, highs),
                                 second);
    }
    return (uint32_t)_mm512_reduce_add_epi32(_mm512_add_epi32(sum0, sum1));
}

VS_CODE_BATCH(batch_full_l2, full_l2, uint8_t, 2, VS_AS_SUM, AVX512)
VS_CODE_BATCH(batch_high_l2, high_l2, uint8_t, 1, VS_AS_SUM, AVX512)

static void batch_full_dot(const void *query, const unsigned char *const *codes,
                           uint32_t n, size_t blocks, int64_t bias, float *out) {
    vs_code_kernels_avx2.full_dot(query, codes, n, blocks, bias, out);
}

static void batch_high_dot(const void *query, const unsigned char *const *codes,
                           uint32_t n, size_t blocks, int64_t bias, float *out) {
    vs_code_kernels_avx2.high_dot(query, codes, n, blocks, bias, out);
}

const VsCodeKernels vs_code_kernels_avx512 = {"avx512", batch_full_l2, batch_full_dot,
                                              batch_high_l2, batch_high_dot};

#endif
