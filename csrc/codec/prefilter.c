/* Weights and limits of a prefilter; the bounds are in prefilter.h. */
#include "csrc/codec/prefilter.h"

#include <math.h>
#include <string.h>

#include "csrc/codec/sq8.h"

/* Of all that is computed here in float64. */
#define ROUNDING 1e-12

/* The elements of a query and what its weights stand for, in halves: they differ by one,
 * for the largest element by three (sq8.c: 4 - w for half of it, at most 127). */
static void set_l2(VsPrefilter *prefilter, const VsQuery *query) {
    const unsigned char *full = vs_sq8_full(query);
    int64_t gap = 0;
    for (size_t i = 0; i < query->params->dims; i++) {
        gap += full[i] < 255 ? 1 : 9;
    }
    prefilter->base = (double)vs_sq8_bias(query);
    prefilter->gap = sqrt((double)gap) / 2;
}

static void set_dot(VsPrefilter *prefilter, const VsQuery *query) {
    const int16_t *full = (const int16_t *)(const void *)vs_sq8_full(query);
    size_t dims = query->params->dims;
    double t = vs_sq8_weight_step(full, dims), off = 0, left = 0, sum = 0, square = 0;
    for (size_t i = 0; i < dims; i++) {
        double q = full[i], e = q + t * vs_sq8_weight(full[i], t);
        left += e;
        off += e * e;
        sum += q;
        square += q * q;
    }
    prefilter->base = 120 * left + 7.5 * sum + (double)vs_sq8_bias(query);
    prefilter->gap = 120 * sqrt((double)dims * off);
    prefilter->unit = 16 * t;
    prefilter->length = sqrt(square);
}

void vs_prefilter_set(VsPrefilter *prefilter, const VsQuery *query) {
    const VsCodeKernels *kernels = vs_code_kernels();
    *prefilter = (VsPrefilter){0};
    if (query->params->codec != VS_CODEC_SQ8 || query->as_floats) {
        return;
    }
    prefilter->blocks = vs_sq8_blocks(query->params);
    prefilter->dot = query->params->metric == VS_DOT;
    if (prefilter->dot) {
        set_dot(prefilter, query);
    } else {
        set_l2(prefilter, query);
    }
    prefilter->weights = vs_sq8_weights(query);
    prefilter->kernels = kernels;
    prefilter->sums = prefilter->dot ? kernels->sums_dot : kernels->sums_l2;
}

/* Square of the distance of a nibble from 7.5, in halves. */
static const uint16_t apart[16] = {225, 169, 121, 81, 49, 25,  9,   1,
                                   1,   9,   25,  49, 81, 121, 169, 225};

/* The largest sum of a code, in quarters. Padding counts: it is the same for all. */
uint32_t vs_prefilter_rest(const VsCodecParams *params, const unsigned char *codes,
                           size_t n) {
    size_t plane = vs_sq8_blocks(params) * VS_BLOCK_BYTES;
    uint32_t most = 0, padding = (uint32_t)(2 * plane - params->dims) * 225;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *low = codes + (2 * i + 1) * plane;
        uint32_t sum = 0;
        for (size_t j = 0; j < plane; j++) {
            sum += (uint32_t)apart[low[j] & 15] + apart[low[j] >> 4];
        }
        most = sum > most ? sum : most;
    }
    return most > padding ? most - padding : 0;
}

/* Rounded up, and one more. */
static int32_t limit_of(double sum) {
    double most = floor(sum) + 1;
    return most >= INT32_MAX ? INT32_MAX : most <= INT32_MIN ? INT32_MIN : (int32_t)most;
}

int32_t vs_prefilter_most(const VsPrefilter *prefilter, float order, uint32_t rest) {
    double low = sqrt((double)rest) / 2;
    if (!(order < VS_LONGEST)) {
        return INT32_MAX;
    }
    if (prefilter->dot) {
        double sum =
            (double)order + prefilter->base + prefilter->gap + low * prefilter->length;
        double size = fabs((double)order) + fabs(prefilter->base) + prefilter->gap +
                      low * prefilter->length;
        return limit_of((sum + ROUNDING * size) / prefilter->unit);
    }
    double half =
        (sqrt((double)order > 0 ? (double)order : 0) + low + prefilter->gap) / 2;
    return limit_of((half * half * (1 + ROUNDING) - prefilter->base) / 16);
}
