/* Metrics; see metric.h. */
#include "csrc/vector/metric.h"

#include <math.h>
#include <string.h>

#include "csrc/kernel/float.h"
#include "csrc/kernel/narrow.h"

int vs_metric_fits(VsMetric metric, VsElement element) {
    return (metric == VS_HAMMING || metric == VS_JACCARD) == (element == VS_BIT);
}

static double cosine_distance(double dot, double aa, double bb) {
    if (!(aa > 0 && bb > 0)) {
        return 1.0;
    }
    double distance = 1.0 - dot / (sqrt(aa) * sqrt(bb));
    return distance > 0 ? distance : 0.0; /* rounding must not bring it below */
}

/* ---- float32 -------------------------------------------------------------------- */

static double at(const void *v, size_t i) {
    float x;
    memcpy(&x, (const unsigned char *)v + i * sizeof x, sizeof x);
    return (double)x;
}

/* In double precision, for vectors whose sums leave the range of float32. */
static double wide_distance(VsMetric metric, const void *a, const void *b, size_t dims) {
    double l2sq = 0, l1 = 0, dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dims; i++) {
        double x = at(a, i), y = at(b, i);
        l2sq += (x - y) * (x - y);
        l1 += fabs(x - y);
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    return metric == VS_L2    ? sqrt(l2sq)
           : metric == VS_L1  ? l1
           : metric == VS_DOT ? 0.0 - dot
                              : cosine_distance(dot, aa, bb);
}

/* Sums that lie in here are neither overflown nor built from denormal squares. */
static int sane(float sum) {
    return sum > 1e-30f && sum < 1e30f;
}

static double f32_distance(VsMetric metric, const void *a, const void *b, size_t dims) {
    const VsKernels *kernels = vs_kernels();
    if (metric == VS_L2) {
        float sum = kernels->l2sq_f32(a, b, dims);
        return sane(sum) ? sqrt((double)sum) : wide_distance(metric, a, b, dims);
    }
    if (metric == VS_L1) {
        float sum = kernels->l1_f32(a, b, dims);
        return isfinite(sum) ? (double)sum : wide_distance(metric, a, b, dims);
    }
    float dot = kernels->dot_f32(a, b, dims);
    if (metric == VS_DOT) {
        return isfinite(dot) ? 0.0 - (double)dot : wide_distance(metric, a, b, dims);
    }
    float aa = kernels->dot_f32(a, a, dims), bb = kernels->dot_f32(b, b, dims);
    return sane(aa) && sane(bb) && isfinite(dot)
               ? cosine_distance((double)dot, (double)aa, (double)bb)
               : wide_distance(metric, a, b, dims);
}

/* ---- the others: their sums stay far inside the range of float32 ----------------- */

static double f16_distance(VsMetric metric, const void *a, const void *b, size_t dims) {
    const VsNarrowKernels *narrow = vs_narrow();
    switch (metric) {
    case VS_L2:
        return sqrt((double)narrow->l2sq_f16(a, b, dims));
    case VS_L1:
        return (double)narrow->l1_f16(a, b, dims);
    case VS_DOT:
        return 0.0 - (double)narrow->dot_f16(a, b, dims); /* never -0 */
    default:
        return cosine_distance((double)narrow->dot_f16(a, b, dims),
                               (double)narrow->dot_f16(a, a, dims),
                               (double)narrow->dot_f16(b, b, dims));
    }
}

static double int8_distance(VsMetric metric, const void *a, const void *b, size_t dims) {
    const VsNarrowKernels *narrow = vs_narrow();
    switch (metric) {
    case VS_L2:
        return sqrt(narrow->l2sq_int8(a, b, dims));
    case VS_L1:
        return narrow->l1_int8(a, b, dims);
    case VS_DOT:
        return 0.0 - narrow->dot_int8(a, b, dims);
    default:
        return cosine_distance(narrow->dot_int8(a, b, dims), narrow->dot_int8(a, a, dims),
                               narrow->dot_int8(b, b, dims));
    }
}

static double bit_distance(VsMetric metric, const void *a, const void *b, size_t bytes) {
    double differ = vs_narrow()->differing_bits(a, b, bytes);
    if (metric == VS_HAMMING || differ == 0) {
        return differ;
    }
    return differ / (differ + vs_narrow()->common_bits(a, b, bytes));
}

double vs_metric_distance(VsMetric metric, VsElement element, const void *a,
                          const void *b, size_t dims) {
    switch (element) {
    case VS_F16:
        return f16_distance(metric, a, b, dims);
    case VS_INT8:
        return int8_distance(metric, a, b, dims);
    case VS_BIT:
        return bit_distance(metric, a, b, dims / 8);
    default:
        return f32_distance(metric, a, b, dims);
    }
}
