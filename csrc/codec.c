/* The codecs by number; see codec.h. */
#include "codec.h"

#include <math.h>

extern const VsCodec vs_codec_none; /* codec_none.c */

const VsCodec *vs_codec(VsCodecId id) {
    return id == VS_CODEC_NONE  ? &vs_codec_none
           : id == VS_CODEC_SQ8 ? &vs_codec_sq8
           : id == VS_CODEC_PQ  ? &vs_codec_pq
                                : NULL;
}

int vs_codec_sq8_fits(const VsCodecParams *params) {
    return params->element <= VS_F16 && params->metric <= VS_DOT;
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
