/* The codecs by number; see codec.h. */
#include "codec.h"

extern const VsCodec vs_codec_none; /* codec_none.c */

const VsCodec *vs_codec(VsCodecId id) {
    return id == VS_CODEC_NONE ? &vs_codec_none : NULL;
}

int vs_codec_fits(const VsCodecParams *params) {
    return params->element <= VS_BIT && params->metric < VS_METRICS &&
           vs_metric_fits(params->metric, params->element) &&
           (params->element != VS_BIT || params->dims % 8 == 0);
}
