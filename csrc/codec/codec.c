/* The codecs by number; see codec.h. */
#include "csrc/codec/codec.h"

#include <math.h>

#include "csrc/vector/text.h"

extern const VsCodec vs_codec_none; /* none.c */

const VsCodec *vs_codec(VsCodecId id) {
    return id == VS_CODEC_NONE  ? &vs_codec_none
           : id == VS_CODEC_SQ8 ? &vs_codec_sq8
           : id == VS_CODEC_PQ  ? &vs_codec_pq
                                : NULL;
}

static size_t floats_at(const VsCodecParams *params) {
    return (vs_codec(params->codec)->query_size(params) + 63) / 64 * 64;
}

size_t vs_query_bytes(const VsCodecParams *params) {
    int learns = params->codec != VS_CODEC_NONE;
    return floats_at(params) + (learns ? 2 * params->dims * sizeof(float) : 0);
}

float *vs_query_floats(const VsCodecParams *params, unsigned char *data) {
    return (float *)(void *)(data + floats_at(params));
}

void vs_codec_floats(const VsCodecParams *params, const void *v, float *out) {
    vs_element_to_f32(params->element, v, out, params->dims);
    if (params->metric == VS_COSINE) {
        vs_vec_normalize(out, out, params->dims);
    }
}

int vs_codec_sq8_fits(const VsCodecParams *params) {
    return params->element <= VS_F16 && params->metric <= VS_DOT;
}

int vs_codec_sq8_saves(const VsCodecParams *params) {
    return vs_codec_sq8.code_size(params) <
           vs_element_bytes(params->element, params->dims);
}

int vs_codec_fits(const VsCodecParams *params) {
    return params->element <= VS_BIT && params->metric < VS_METRICS &&
           vs_metric_fits(params->metric, params->element) &&
           (params->element != VS_BIT || params->dims % 8 == 0) &&
           (params->codec == VS_CODEC_NONE ||
            (params->codec == VS_CODEC_SQ8 ? vs_codec_sq8_fits(params)
                                           : vs_codec_pq_fits(params)));
}

int vs_order_tells(const VsCodecParams *params, float order, double *distance) {
    int whole = params->element == VS_INT8 || params->element == VS_BIT;
    float size = fabsf(order);
    if (params->codec != VS_CODEC_NONE || params->metric == VS_COSINE ||
        params->metric == VS_JACCARD || size >= (whole ? 0x1p24f : 1e30f) ||
        (params->element == VS_F32 && params->metric == VS_L2 && size <= 1e-30f)) {
        return 0;
    }
    *distance = params->metric == VS_L2 ? sqrt((double)order) : (double)order + 0.0;
    return 1;
}

float vs_likely_share(const VsCodecParams *params) {
    return params->dims > 9 ? 3 / sqrtf((float)params->dims) : 1;
}

/* Relative error of a float32 sum over the dimensions, of either side. */
static float rounding(const VsCodecParams *params) {
    return (16 + (float)params->dims / 16) * 0x1p-23f;
}

static float at_least_zero(float x) {
    return x > 0 ? x : 0;
}

void vs_bounds(const VsQuery *query, float order, float error, float share, float *low,
               float *high) {
    const VsCodecParams *p = query->params;
    float r = rounding(p),
          spread = share * (1 + r) * (query->error + query->weight * error);
    float value = order * query->scale, slack = 0;
    int lengths = p->metric == VS_L2 || (p->metric == VS_COSINE && p->codec != 0);
    if (!(fabsf(order) < 1e30f) || !(fabsf(value) < 1e37f) || !(spread < 1e37f) ||
        (p->codec == VS_CODEC_SQ8 ? !(query->scale >= 1e-30f)
                                  : p->metric == VS_L2 && order <= 1e-30f)) {
        *low = -INFINITY; /* the order says nothing: ask the vector */
        *high = INFINITY;
        return;
    }
    if (lengths) { /* the triangle inequality: errors shift a length, not its square */
        float length = sqrtf(value), to = length * (1 + r) + spread;
        float from = at_least_zero(length * (1 - r) - spread);
        *low = p->metric == VS_L2 ? from : from * from / 2;
        *high = p->metric == VS_L2 ? to : to * to / 2;
    } else {
        value = p->metric == VS_COSINE ? 1 + order : value;
        *low = value - spread;
        *high = value + spread;
    }
    slack = p->metric == VS_COSINE ? 4 * r
            : p->metric == VS_DOT  ? (float)p->dims * 1e-44f /* products below float32 */
                                   : 0;
    *low -= r * fabsf(*low) + slack;
    *high += r * fabsf(*high) + slack;
}

/* The bounds solved for the order, roughly; then it is tried whether that is enough. */
float vs_order_beyond(const VsQuery *query, float limit, float error) {
    const VsCodecParams *p = query->params;
    float r = rounding(p), spread = (1 + r) * (query->error + query->weight * error);
    float least = limit + 16 * r * (1 + fabsf(limit)), order;
    if (p->metric == VS_L2 || (p->metric == VS_COSINE && p->codec != 0)) {
        float length = p->metric == VS_L2 ? least : sqrtf(2 * at_least_zero(least));
        length = (length + spread) * (1 + 4 * r);
        order = length * length / query->scale;
    } else {
        order = (least + spread - (p->metric == VS_COSINE)) / query->scale;
    }
    for (int tries = 0; tries < 3 && order < VS_LONGEST; tries++) {
        float low, high;
        vs_bounds(query, order, error, 1, &low, &high);
        if (low > limit) {
            return order;
        }
        order += fabsf(order) * 0x1p-10f;
    }
    return INFINITY;
}
