/*
 * The arithmetic that every float kernel shares, so that all give the same bits: the terms
 * of the sums, and the reduction of 32 partial sums that float.h fixes. The scalar form;
 * lanes_avx2.h has the other.
 */
#ifndef VS_KERNEL_LANES_H
#define VS_KERNEL_LANES_H

#include <float.h>
#include <math.h>

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

#endif
