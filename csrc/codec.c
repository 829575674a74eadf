/* Codecs and metrics; see codec.h. `none` keeps the vector itself as its code. */
#include "codec.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "vec.h"

static uint32_t none_code_size(const VsCodecParams *params) {
    return params->dims * (uint32_t)sizeof(float);
}

static size_t none_query_size(const VsCodecParams *params) {
    return none_code_size(params);
}

static void none_encode(const VsCodecParams *params, const float *v,
                        unsigned char *code) {
    if (params->metric == VS_COSINE) {
        vs_vec_normalize(v, (float *)(void *)code, params->dims);
    } else {
        memcpy(code, v, none_code_size(params));
    }
}

static void none_prepare_code(const VsCodecParams *params, const unsigned char *code,
                              unsigned char *data) {
    memcpy(data, code, none_code_size(params));
}

/* Sums that leave float32 stay comparable: at the end of the scale, never NaN. */
static float finite_order(float order) {
    return order > -FLT_MAX && order < FLT_MAX ? order : order < 0 ? -FLT_MAX : FLT_MAX;
}

static void none_score_l2(const VsQuery *query, const unsigned char *const *codes,
                          uint32_t n, float *order) {
    query->kernels->l2sq_f32_batch(query->data, codes, n, query->params->dims, order);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = finite_order(order[i]);
    }
}

static void none_score_dot(const VsQuery *query, const unsigned char *const *codes,
                           uint32_t n, float *order) {
    query->kernels->dot_f32_batch(query->data, codes, n, query->params->dims, order);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = finite_order(-order[i]);
    }
}

static VsScore none_scorer(const VsCodecParams *params) {
    return params->metric == VS_L2 ? none_score_l2 : none_score_dot;
}

static const VsCodec codec_none = {
    .name = "none",
    .code_size = none_code_size,
    .query_size = none_query_size,
    .encode = none_encode,
    .prepare = none_encode,
    .prepare_code = none_prepare_code,
    .scorer = none_scorer,
};

const VsCodec *vs_codec(VsCodecId id) {
    return id == VS_CODEC_NONE ? &codec_none : NULL;
}

static double cosine_distance(double dot, double aa, double bb) {
    return aa > 0 && bb > 0 ? 1.0 - dot / (sqrt(aa) * sqrt(bb)) : 1.0;
}

/* The same in double precision, for vectors whose squares leave the range of float32. */
static double wide_distance(VsMetric metric, const float *a, const float *b,
                            size_t dims) {
    double l2sq = 0, dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dims; i++) {
        double x = (double)a[i], y = (double)b[i];
        l2sq += (x - y) * (x - y);
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    return metric == VS_L2    ? sqrt(l2sq)
           : metric == VS_DOT ? -dot
                              : cosine_distance(dot, aa, bb);
}

/* Sums that lie in here are neither overflown nor built from denormal squares. */
static int sane(float sum) {
    return sum > 1e-30f && sum < 1e30f;
}

double vs_metric_distance(VsMetric metric, const float *a, const float *b, size_t dims) {
    const VsKernels *kernels = vs_kernels();
    if (metric == VS_L2) {
        float sum = kernels->l2sq_f32(a, b, dims);
        return sane(sum) ? sqrt((double)sum) : wide_distance(metric, a, b, dims);
    }
    float dot = kernels->dot_f32(a, b, dims);
    if (metric == VS_DOT) {
        return isfinite(dot) ? -(double)dot : wide_distance(metric, a, b, dims);
    }
    float aa = kernels->dot_f32(a, a, dims), bb = kernels->dot_f32(b, b, dims);
    return sane(aa) && sane(bb) ? cosine_distance((double)dot, (double)aa, (double)bb)
                                : wide_distance(metric, a, b, dims);
}
