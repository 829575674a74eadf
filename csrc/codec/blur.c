/* The measure of blur; see blur.h. */
#include "csrc/codec/blur.h"

#include <math.h>
#include <string.h>

#define QUERIES 64
#define NEAR 16
#define LEAST 64 /* fewer vectors say nothing */

/* What lies in the scratch memory, in this order. */
typedef struct Trial {
    const unsigned char **code; /* of each vector */
    float *order, *lost;        /* of each code to the query; of each code */
    unsigned char *query, *codes;
} Trial;

static Trial trial_at(const VsCodecParams *params, void *scratch) {
    Trial t = {.code = scratch};
    t.order = (float *)(void *)(t.code + VS_BLUR_TRIED);
    t.lost = t.order + VS_BLUR_TRIED;
    t.query = (unsigned char *)(t.lost + VS_BLUR_TRIED);
    t.codes = t.query + (vs_query_bytes(params) + 63) / 64 * 64;
    return t;
}

size_t vs_blur_scratch(const VsCodecParams *params) {
    return VS_BLUR_TRIED * (sizeof(unsigned char *) + 2 * sizeof(float) +
                            vs_codec(params->codec)->code_size(params)) +
           vs_query_bytes(params) + 64;
}

size_t vs_blur_keep(const VsCodecParams *params, const float *sample, size_t n,
                    float *kept) {
    VsCodecParams floats = *params;
    size_t most = n < VS_BLUR_TRIED ? n : VS_BLUR_TRIED, dims = params->dims;
    floats.element = VS_F32;
    for (size_t i = 0; i < most; i++) {
        vs_codec_floats(&floats, sample + i * n / most * dims, kept + i * dims);
    }
    return most;
}

/* Takes the nearest that is left out of the trial; VS_BLUR_TRIED if none is. */
static size_t take_nearest(const Trial *t, size_t n) {
    size_t best = VS_BLUR_TRIED;
    for (size_t i = 0; i < n; i++) {
        if (t->order[i] < INFINITY &&
            (best == VS_BLUR_TRIED || t->order[i] < t->order[best])) {
            best = i;
        }
    }
    return best;
}

float vs_blur(const VsCodecParams *params, const VsModel *model, const float *kept,
              size_t n, void *scratch) {
    const VsCodec *codec = vs_codec(params->codec);
    VsCodecParams floats = *params;
    size_t dims = params->dims, size = codec->code_size(params);
    Trial t = trial_at(params, scratch);
    int dot = params->metric == VS_DOT;
    double spread = 0, lost = 0;
    floats.element = VS_F32;
    for (size_t i = 0; i < n; i++) {
        t.code[i] = t.codes + i * size;
        t.lost[i] =
            codec->encode(&floats, model, kept + i * dims, t.codes + i * size, NULL);
    }
    VsQuery q = {
        .params = &floats, .model = model, .kernels = vs_kernels(), .data = t.query};
    for (size_t i = 0; n >= LEAST && i < n; i += n / QUERIES) {
        const float *v = kept + i * dims;
        double sum = 0, squares = 0, errors = 0;
        codec->prepare_code(&q, t.code[i]);
        q.full(&q, t.code, (uint32_t)n, t.order);
        t.order[i] = INFINITY;
        double weight = dot ? (double)q.kernels->dot_f32(v, v, dims) : 1;
        for (size_t k = 0; k < NEAR; k++) {
            size_t j = take_nearest(&t, n);
            double coded = (double)t.order[j] * (double)q.scale, e;
            t.order[j] = INFINITY;
            e = dot ? -(double)q.kernels->dot_f32(v, kept + j * dims, dims) - coded
                    : sqrt((double)q.kernels->l2sq_f32(v, kept + j * dims, dims)) -
                          sqrt(coded);
            sum += e;
            squares += e * e;
            errors += (double)t.lost[j] * (double)t.lost[j];
        }
        errors = (errors / NEAR + (double)t.lost[i] * (double)t.lost[i]) * weight;
        if (isfinite(squares) && isfinite(errors)) {
            spread += (squares - sum * sum / NEAR) / (NEAR - 1);
            lost += errors;
        }
    }
    return lost > 0 && spread > 0 ? (float)sqrt(2 * spread / lost)
                                  : sqrtf(2 / (float)dims);
}
