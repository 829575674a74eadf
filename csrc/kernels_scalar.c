/*
 * The scalar reference of the distance kernels: the definition that every other table
 * must equal bit for bit. Written over 32 partial sums, so that a compiler may vectorise
 * it as it stands.
 */
#include "batch.h"
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__FAST_MATH__) || FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "the kernels need strict float arithmetic: no -ffast-math, no x87"
#endif

/* Belt and braces: the build passes -ffp-contract=off, which gcc knows only as a flag. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#define LANES 32

/* Vectors may sit anywhere inside a page or a blob; memcpy compiles to an unaligned load.
 */
static inline float load(const float *v, size_t i) {
    float x;
    memcpy(&x, (const unsigned char *)v + i * sizeof x, sizeof x);
    return x;
}

/* The fixed reduction of kernels.h. */
static inline float reduce(const float *p) {
    float s[8];
    float t[4];
    for (int j = 0; j < 8; j++) {
        s[j] = (p[j] + p[j + 8]) + (p[j + 16] + p[j + 24]);
    }
    for (int j = 0; j < 4; j++) {
        t[j] = s[j] + s[j + 4];
    }
    return (t[0] + t[2]) + (t[1] + t[3]);
}

/*
 * The tail adds its elements only, where SIMD code adds zeros to the other partial sums.
 * That is the same: a partial sum starts at +0 and no addition makes it -0 (round to
 * nearest gives +0 for x - x and for +0 + -0), so p + 0 has the bits of p.
 */
#define SUM_OVER_LANES(TERM)                                  \
    do {                                                      \
        float p[LANES] = {0};                                 \
        size_t i = 0;                                         \
        for (; i + LANES <= n; i += LANES) {                  \
            for (size_t j = 0; j < LANES; j++) {              \
                p[j] += TERM(load(a, i + j), load(b, i + j)); \
            }                                                 \
        }                                                     \
        for (size_t j = 0; i + j < n; j++) {                  \
            p[j] += TERM(load(a, i + j), load(b, i + j));     \
        }                                                     \
        return reduce(p);                                     \
    } while (0)

static inline float term_l2sq(float x, float y) {
    float d = x - y;
    return d * d;
}

static inline float term_dot(float x, float y) {
    return x * y;
}

static inline float term_l1(float x, float y) {
    return fabsf(x - y);
}

static inline float l2sq_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_l2sq);
}

static inline float dot_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_dot);
}

static float l1_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_l1);
}

VS_BATCH(l2sq_f32_batch, l2sq_f32, float, )
VS_BATCH(dot_f32_batch, dot_f32, float, )

const VsKernels vs_kernels_scalar = {"scalar", l2sq_f32,       dot_f32,
                                     l1_f32,   l2sq_f32_batch, dot_f32_batch};
