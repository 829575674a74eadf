/* The kernels on codes with AVX-512 and its dot products of bytes (VNNI); see
 * code.h. One register holds two blocks of a plane; a last single block and the
 * inner products take AVX2's way. */
#include "csrc/kernel/code_batch.h"
#include "csrc/base/cpu.h"

#if VS_X86_64_VNNI

#include <immintrin.h>
#include <string.h>

#include "csrc/kernel/sums_avx2.h"

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

/* Blocks b and b + 1 of a query, or the last one. */
AVX512 static VS_ALWAYS_INLINE void query_at(const uint8_t *q, size_t b, size_t blocks,
                                             __m512i *first, __m512i *second) {
    if (b + 1 < blocks) {
        query_halves(q + b * VS_BLOCK, first, second);
    } else {
        last_halves(q + b * VS_BLOCK, first, second);
    }
}

AVX512 static VS_ALWAYS_INLINE __m512i plane_at(const unsigned char *plane, size_t b,
                                                size_t blocks) {
    const unsigned char *at = plane + b * VS_BLOCK_BYTES;
    return b + 1 < blocks ? _mm512_loadu_si512(at) : last_block(at);
}

AVX512 static VS_ALWAYS_INLINE __m512i add_full(__m512i sum, const unsigned char *code,
                                                size_t b, size_t blocks, __m512i first,
                                                __m512i second) {
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i h = plane_at(code, b, blocks);
    __m512i l = plane_at(code + blocks * VS_BLOCK_BYTES, b, blocks);
    sum = add_squares(sum, choose(nibble, l, _mm512_slli_epi16(h, 4)), first);
    return add_squares(sum, choose(nibble, _mm512_srli_epi16(l, 4), h), second);
}

AVX512 static inline uint32_t full_l2(const uint8_t *q, const unsigned char *code,
                                      size_t blocks) {
    __m512i sum = _mm512_setzero_si512(), first, second;
    for (size_t b = 0; b < blocks; b += 2) {
        query_at(q, b, blocks, &first, &second);
        sum = add_full(sum, code, b, blocks, first, second);
    }
    return (uint32_t)_mm512_reduce_add_epi32(sum);
}

AVX512 static VS_ALWAYS_INLINE __m256i checkpoint(__m512i v) {
    return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}

AVX512 static VS_ALWAYS_INLINE __m128i four_sums(__m512i a, __m512i b, __m512i c,
                                                 __m512i d) {
    return sums_of_four(checkpoint(a), checkpoint(b), checkpoint(c), checkpoint(d));
}

AVX512 static VS_ALWAYS_INLINE void full_l2_four(const uint8_t *q,
                                                 const unsigned char *const *code,
                                                 size_t blocks, int64_t bias,
                                                 float *out) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a, first, second;
    (void)bias;
    for (size_t i = 0; i < blocks; i += 2) {
        query_at(q, i, blocks, &first, &second);
        a = add_full(a, code[0], i, blocks, first, second);
        b = add_full(b, code[1], i, blocks, first, second);
        c = add_full(c, code[2], i, blocks, first, second);
        d = add_full(d, code[3], i, blocks, first, second);
    }
    _mm_storeu_ps(out, _mm_cvtepu32_ps(four_sums(a, b, c, d)));
}

/* The weights as query_halves puts a query: each 32 next to those 64 further on. */
static void arrange(int8_t *weights, size_t blocks) {
    int8_t middle[VS_BLOCK_BYTES];
    for (size_t b = 0; b < blocks; b += 2) {
        int8_t *second = weights + b * VS_BLOCK + VS_BLOCK_BYTES;
        memcpy(middle, second, sizeof middle);
        memcpy(second, second + VS_BLOCK_BYTES, sizeof middle);
        memcpy(second + VS_BLOCK_BYTES, middle, sizeof middle);
    }
}

/* Of h * w and of h * h, in 16 lanes each; the squares count four times. */
typedef struct Sums {
    __m512i sum, square;
} Sums;

AVX512 static VS_ALWAYS_INLINE Sums no_sums(void) {
    return (Sums){_mm512_setzero_si512(), _mm512_setzero_si512()};
}

/* Adds blocks b and b + 1, if there are two. */
AVX512 static VS_ALWAYS_INLINE void weigh(Sums *s, const int8_t *w,
                                          const unsigned char *code, size_t b,
                                          size_t blocks, int squares) {
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i h = plane_at(code, b, blocks);
    __m512i first = _mm512_and_si512(h, nibble);
    __m512i second = _mm512_and_si512(_mm512_srli_epi16(h, 4), nibble);
    s->sum = _mm512_dpbusd_epi32(s->sum, first, _mm512_loadu_si512(w + b * VS_BLOCK));
    s->sum =
        _mm512_dpbusd_epi32(s->sum, second, _mm512_loadu_si512(w + (b + 1) * VS_BLOCK));
    if (squares) {
        s->square = _mm512_dpbusd_epi32(s->square, first, first);
        s->square = _mm512_dpbusd_epi32(s->square, second, second);
    }
}

AVX512 static VS_ALWAYS_INLINE __m512i total(Sums s, int squares) {
    return squares ? _mm512_add_epi32(s.sum, _mm512_slli_epi32(s.square, 2)) : s.sum;
}

AVX512 static VS_ALWAYS_INLINE __m256i weighed(const int8_t *w, const unsigned char *code,
                                               size_t blocks, int squares) {
    Sums s = no_sums();
    for (size_t b = 0; b < blocks; b += 2) {
        weigh(&s, w, code, b, blocks, squares);
    }
    return checkpoint(total(s, squares));
}

AVX512 static VS_ALWAYS_INLINE __m128i weighed_four(const int8_t *w,
                                                    const unsigned char *const *code,
                                                    size_t blocks, int squares) {
    Sums a = no_sums(), b = a, c = a, d = a;
    for (size_t i = 0; i < blocks; i += 2) {
        weigh(&a, w, code[0], i, blocks, squares);
        weigh(&b, w, code[1], i, blocks, squares);
        weigh(&c, w, code[2], i, blocks, squares);
        weigh(&d, w, code[3], i, blocks, squares);
    }
    return four_sums(total(a, squares), total(b, squares), total(c, squares),
                     total(d, squares));
}

AVX512 static VS_ALWAYS_INLINE void high_four(const int8_t *w,
                                              const unsigned char *const *code,
                                              size_t blocks, int64_t bias, float *out,
                                              int squares) {
    __m128i sums = weighed_four(w, code, blocks, squares);
    sums = _mm_add_epi32(_mm_slli_epi32(sums, squares ? 4 : 0),
                         _mm_set1_epi32((int32_t)bias));
    _mm_storeu_ps(out, _mm_cvtepi32_ps(sums));
}

AVX512 static VS_ALWAYS_INLINE __m256i sums_eight(const int8_t *w,
                                                  const unsigned char *code,
                                                  size_t blocks, int32_t *sum,
                                                  int squares) {
    __m256i v[8] = VS_OF_EIGHT(weighed, w, code, blocks, squares);
    __m256i sums = sums_of_eight(v);
    _mm256_storeu_si256((__m256i *)(void *)sum, sums);
    return sums;
}

AVX512 static uint64_t at_most(const int32_t *sum, int32_t most) {
    const __m512i limit = _mm512_set1_epi32(most);
    uint64_t bits = 0;
    for (uint32_t i = 0; i < VS_RUN; i += 16) {
        __mmask16 few = _mm512_cmple_epi32_mask(_mm512_loadu_si512(sum + i), limit);
        bits |= (uint64_t)few << i;
    }
    return bits;
}

AVX512 static VS_ALWAYS_INLINE int32_t high_one(const int8_t *w,
                                                const unsigned char *code, size_t blocks,
                                                int squares) {
    __m256i v = weighed(w, code, blocks, squares);
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 1)));
}

VS_CODE_SUMS_EIGHT(sums_l2, sums_eight, high_one, 1, AVX512)
VS_CODE_SUMS_EIGHT(sums_dot, sums_eight, high_one, 0, AVX512)
VS_CODE_FOURS(batch_full_l2, full_l2_four, full_l2, uint8_t, 2, VS_AS_SUM, AVX512)
VS_CODE_HIGH_FOURS(high_four, high_one, AVX512)

static void batch_full_dot(const void *query, const unsigned char *const *codes,
                           uint32_t n, size_t blocks, int64_t bias, float *out) {
    vs_code_kernels_avx2.full_dot(query, codes, n, blocks, bias, out);
}

const VsCodeKernels vs_code_kernels_avx512 = {
    "avx512", batch_full_l2, batch_full_dot, batch_high_l2, batch_high_dot,
    arrange,  sums_l2,       sums_dot,       at_most};

#endif
