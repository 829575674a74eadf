/* Coordinates to bytes in plain C and with AVX2, and the choice; see quantise.h. */
#include "csrc/kernel/quantise.h"

#include "csrc/base/cpu.h"
#include "csrc/kernel/lanes.h"

void vs_quantise_scalar(const VsScale *scale, const float *middle, const float *x,
                        size_t n, unsigned char *c, double lost[VS_SUMS]) {
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i] * scale->factor - (double)middle[i];
        double t = v * scale->inverse - scale->zero;
        t = t > 0 ? t : 0;
        t = t < 255 ? t : 255;
        int code = (int)(t + 0.5);
        double e = v - (code + scale->zero) * scale->step;
        lost[i % VS_SUMS] += e * e;
        c[i] = (unsigned char)code;
    }
}

#if VS_X86_64

#include <immintrin.h>

#define AVX2 VS_TARGET("avx2")

/* The constants of a scale, one in each lane. */
typedef struct Lanes {
    __m256d factor, step, inverse, zero;
} Lanes;

/* Four elements: returns their codes. */
AVX2 static inline __m128i quantise_four(const Lanes *scale, const float *middle,
                                         const float *x, __m256d *lost) {
    __m256d v = _mm256_mul_pd(_mm256_cvtps_pd(_mm_loadu_ps(x)), scale->factor);
    v = _mm256_sub_pd(v, _mm256_cvtps_pd(_mm_loadu_ps(middle)));
    __m256d t = _mm256_sub_pd(_mm256_mul_pd(v, scale->inverse), scale->zero);
    t = _mm256_max_pd(t, _mm256_setzero_pd());
    t = _mm256_min_pd(t, _mm256_set1_pd(255));
    __m128i code = _mm256_cvttpd_epi32(_mm256_add_pd(t, _mm256_set1_pd(0.5)));
    __m256d back =
        _mm256_mul_pd(_mm256_add_pd(_mm256_cvtepi32_pd(code), scale->zero), scale->step);
    __m256d e = _mm256_sub_pd(v, back);
    *lost = _mm256_add_pd(*lost, _mm256_mul_pd(e, e));
    return code;
}

AVX2 static void quantise_avx2(const VsScale *scale, const float *middle, const float *x,
                               size_t n, unsigned char *c, double lost[VS_SUMS]) {
    const Lanes lanes = {_mm256_set1_pd(scale->factor), _mm256_set1_pd(scale->step),
                         _mm256_set1_pd(scale->inverse), _mm256_set1_pd(scale->zero)};
    __m256d first = _mm256_loadu_pd(lost), second = _mm256_loadu_pd(lost + 4);
    size_t whole = n / VS_SUMS * VS_SUMS;
    for (size_t i = 0; i < whole; i += VS_SUMS) {
        __m128i low = quantise_four(&lanes, middle + i, x + i, &first);
        __m128i high = quantise_four(&lanes, middle + i + 4, x + i + 4, &second);
        __m128i code = _mm_packs_epi32(low, high);
        _mm_storel_epi64((__m128i *)(void *)(c + i), _mm_packus_epi16(code, code));
    }
    _mm256_storeu_pd(lost, first);
    _mm256_storeu_pd(lost + 4, second);
    vs_quantise_scalar(scale, middle + whole, x + whole, n - whole, c + whole, lost);
}

#endif

VsQuantise vs_quantise(void) {
#if VS_X86_64
    if (vs_cpu() & VS_CPU_AVX2) {
        return quantise_avx2;
    }
#endif
    return vs_quantise_scalar;
}
