/*
 * The prefilter of a scan: which codes of sq8 cannot be near enough, by their high nibbles.
 *
 * It reads half of a code and computes integers only, for eight codes at once. What it
 * leaves out is proven to be beyond: the low nibbles of a code are nowhere farther from
 * their middle than `rest` says, which a page keeps of all its codes.
 *
 * l2, cosine. With c = 16 h + l the code and q the query, u = (q + 1) / 2 cut to 127:
 *     c - q = (16 h + 8 - 2 u) + (l - 7.5) + (2 u - q - 0.5)
 *     |c - q| >= 2 sqrt(sum (8 h + 4 - u)^2) - |l - 7.5| - |2 u - q - 0.5|
 * and the sum is 16 sum h (4 h + w) + sum w^2 with w = 4 - u.
 *
 * dot. With the elements of the query q = t p + e, |p| <= 127:
 *     sum c q = 16 t sum h p + 120 sum e + 7.5 sum q
 *               + 16 sum (h - 7.5) e + sum (l - 7.5) q
 * of which the last two are at most 120 sqrt(dims) |e| and |l - 7.5| |q|.
 */
#ifndef VS_CODEC_PREFILTER_H
#define VS_CODEC_PREFILTER_H

#include "csrc/codec/codec.h"
#include "csrc/kernel/code.h"

typedef struct VsPrefilter {
    const VsCodeKernels *kernels; /* NULL: this codec has no prefilter */
    VsCodeSums sums;
    const int8_t *weights;
    size_t blocks;
    int dot;
    double base;   /* l2: sum w^2; dot: what all sums leave out */
    double gap;    /* l2: |2 u - q - 0.5|; dot: 120 sqrt(dims) |e| */
    double unit;   /* dot: 16 t */
    double length; /* dot: |q| */
} VsPrefilter;

/* The prefilter of a query that was prepared from a vector; its weights lie in the query's
 * data. */
void vs_prefilter_set(VsPrefilter *prefilter, const VsQuery *query);

/* A bound of what the high planes do not tell of n codes, in one number of which larger
 * is more. */
uint32_t vs_prefilter_rest(const VsCodecParams *params, const unsigned char *codes,
                           size_t n);

/* What sum a code must exceed so that its order is at least `order`, whatever its low
 * plane is within `rest`. INT32_MAX: none does. */
int32_t vs_prefilter_most(const VsPrefilter *prefilter, float order, uint32_t rest);

#endif
