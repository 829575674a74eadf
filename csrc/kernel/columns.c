/* See columns.h. */
#include "csrc/kernel/columns.h"

#include "csrc/base/cpu.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

static void scalar_l2sq(const float *x, const float *columns, size_t d, size_t k,
                        float *out) {
    for (size_t c = 0; c < k; c++) {
        float sum = 0;
        for (size_t j = 0; j < d; j++) {
            float t = x[j] - columns[j * k + c];
            sum += t * t;
        }
        out[c] = sum;
    }
}

static void scalar_dot(const float *x, const float *columns, size_t d, size_t k,
                       float *out) {
    for (size_t c = 0; c < k; c++) {
        float sum = 0;
        for (size_t j = 0; j < d; j++) {
            sum += x[j] * columns[j * k + c];
        }
        out[c] = sum;
    }
}

static uint32_t scalar_nearest(const float *x, const float *columns, size_t d, size_t k) {
    uint32_t best = 0;
    float least = 0;
    for (size_t c = 0; c < k; c++) {
        float sum = 0;
        for (size_t j = 0; j < d; j++) {
            float t = x[j] - columns[j * k + c];
            sum += t * t;
        }
        if (c == 0 || sum < least) {
            least = sum;
            best = (uint32_t)c;
        }
    }
    return best;
}

const VsColumns vs_columns_scalar = {"scalar", scalar_l2sq, scalar_dot, scalar_nearest};

#if VS_X86_64

#include <immintrin.h>

#define AVX2 VS_TARGET("avx2")

AVX2 static inline __m256 eight_l2sq(const float *x, const float *columns, size_t d,
                                     size_t k) {
    __m256 sum = _mm256_setzero_ps();
    for (size_t j = 0; j < d; j++) {
        __m256 t = _mm256_sub_ps(_mm256_set1_ps(x[j]), _mm256_loadu_ps(columns + j * k));
        sum = _mm256_add_ps(sum, _mm256_mul_ps(t, t));
    }
    return sum;
}

AVX2 static void avx2_l2sq(const float *x, const float *columns, size_t d, size_t k,
                           float *out) {
    for (size_t c = 0; c < k; c += 8) {
        _mm256_storeu_ps(out + c, eight_l2sq(x, columns + c, d, k));
    }
}

/* Each lane keeps its least value and the place of it; then the lanes are compared. */
AVX2 static uint32_t avx2_nearest(const float *x, const float *columns, size_t d,
                                  size_t k) {
    __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), best_place = place;
    __m256 best = eight_l2sq(x, columns, d, k);
    for (size_t c = 8; c < k; c += 8) {
        __m256 sum = eight_l2sq(x, columns + c, d, k);
        __m256 less = _mm256_cmp_ps(sum, best, _CMP_LT_OQ);
        place = _mm256_add_epi32(place, _mm256_set1_epi32(8));
        best = _mm256_blendv_ps(best, sum, less);
        best_place = _mm256_castps_si256(_mm256_blendv_ps(
            _mm256_castsi256_ps(best_place), _mm256_castsi256_ps(place), less));
    }
    float value[8];
    uint32_t at[8], least = 0;
    _mm256_storeu_ps(value, best);
    _mm256_storeu_si256((__m256i *)(void *)at, best_place);
    for (uint32_t l = 1; l < 8; l++) {
        if (value[l] < value[least] || (value[l] == value[least] && at[l] < at[least])) {
            least = l;
        }
    }
    return at[least];
}

AVX2 static void avx2_dot(const float *x, const float *columns, size_t d, size_t k,
                          float *out) {
    for (size_t c = 0; c < k; c += 8) {
        __m256 sum = _mm256_setzero_ps();
        for (size_t j = 0; j < d; j++) {
            __m256 y = _mm256_loadu_ps(columns + j * k + c);
            sum = _mm256_add_ps(sum, _mm256_mul_ps(_mm256_set1_ps(x[j]), y));
        }
        _mm256_storeu_ps(out + c, sum);
    }
}

static const VsColumns columns_avx2 = {"avx2", avx2_l2sq, avx2_dot, avx2_nearest};

#endif

const VsColumns *vs_columns(void) {
#if VS_X86_64
    if (vs_cpu() & VS_CPU_AVX2) {
        return &columns_avx2;
    }
#endif
    return &vs_columns_scalar;
}
