/*
 * From float32 coordinates to the bytes of sq8 (sq8.c says what they stand for): the loop
 * that each query and each stored vector goes through.
 *
 * float64, in one order for every instruction set: element i of a block is added to sum
 * i % VS_SUMS, and vs_sum_up adds those up. So codes, and the bounds that are stored with
 * them, are the same on every machine (compile with -ffp-contract=off; no FMA).
 */
#ifndef VS_KERNEL_QUANTISE_H
#define VS_KERNEL_QUANTISE_H

#include <stddef.h>

#define VS_SUMS 8 /* one does not wait for the addition before it */

typedef struct VsScale {
    double factor; /* of every coordinate: 1 / |v| for cosine, or 1 */
    double step, inverse, zero;
} VsScale;

/* With v = x[i] * factor - middle[i]: c[i] = round(v * inverse - zero), clipped to 0..255;
 * adds the squares of what is lost, v - (c[i] + zero) * step, to `lost`. x: n finite
 * elements, no alignment needed. */
typedef void (*VsQuantise)(const VsScale *scale, const float *middle, const float *x,
                           size_t n, unsigned char *c, double lost[VS_SUMS]);

void vs_quantise_scalar(const VsScale *scale, const float *middle, const float *x,
                        size_t n, unsigned char *c, double lost[VS_SUMS]);

/* The best for this CPU. */
VsQuantise vs_quantise(void);

static inline double vs_sum_up(const double sums[VS_SUMS]) {
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
           ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

#endif
