/*
 * Codec `none`: the code of a vector is the vector itself.
 *
 *     element           metric    code
 *     float32           cosine    the vector normalised to length 1
 *     float16, int8     cosine    the vector, then 1 / |v| as float32 (0 for a zero vector)
 *     any               others    the vector
 *
 * A prepared query is a code.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "csrc/kernel/batch.h"
#include "csrc/codec/codec.h"
#include "csrc/kernel/narrow.h"
#include "csrc/vector/text.h"

static int keeps_norm(const VsCodecParams *params) {
    return params->metric == VS_COSINE && params->element != VS_F32;
}

static uint32_t code_size(const VsCodecParams *params) {
    return (uint32_t)(vs_element_bytes(params->element, params->dims) +
                      (keeps_norm(params) ? sizeof(float) : 0));
}

static size_t query_size(const VsCodecParams *params) {
    return code_size(params);
}

/* 1 / |v| */
static float inverse_norm(const VsCodecParams *params, const void *v) {
    float sum = params->element == VS_F16
                    ? vs_narrow()->dot_f16(v, v, params->dims)
                    : (float)vs_narrow()->dot_int8(v, v, params->dims);
    return sum > 0 ? 1.0f / sqrtf(sum) : 0.0f;
}

static void write_code(const VsCodecParams *params, const void *v, unsigned char *code) {
    if (params->metric == VS_COSINE && params->element == VS_F32) {
        vs_vec_normalize(v, (float *)(void *)code, params->dims);
        return;
    }
    size_t bytes = vs_element_bytes(params->element, params->dims);
    memcpy(code, v, bytes);
    if (keeps_norm(params)) {
        float inverse = inverse_norm(params, v);
        memcpy(code + bytes, &inverse, sizeof inverse);
    }
}

static float encode(const VsCodecParams *params, const VsModel *model, const void *v,
                    unsigned char *code, int *clipped) {
    (void)model;
    write_code(params, v, code);
    if (clipped != NULL) {
        *clipped = 0;
    }
    return 0;
}

static void decode(const VsCodecParams *params, const VsModel *model,
                   const unsigned char *code, float *v) {
    (void)model;
    vs_element_to_f32(params->element, code, v, params->dims);
}

/* ---- float32 -------------------------------------------------------------------- */

/* Sums that leave float32 stay comparable: at the end of the scale, never NaN. */
static float finite_order(float order) {
    return order > -FLT_MAX && order < FLT_MAX ? order : order < 0 ? -FLT_MAX : FLT_MAX;
}

static void l2_f32(const VsQuery *query, const unsigned char *const *codes, uint32_t n,
                   float *order) {
    query->kernels->l2sq_f32_batch(query->data, codes, n, query->params->dims, order);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = finite_order(order[i]);
    }
}

static void dot_f32(const VsQuery *query, const unsigned char *const *codes, uint32_t n,
                    float *order) {
    query->kernels->dot_f32_batch(query->data, codes, n, query->params->dims, order);
    for (uint32_t i = 0; i < n; i++) {
        order[i] = finite_order(-order[i]);
    }
}

/* ---- the others ----------------------------------------------------------------- */

static float norm_behind(const unsigned char *code, size_t bytes) {
    float inverse;
    memcpy(&inverse, code + bytes, sizeof inverse);
    return inverse;
}

static float jaccard(const VsNarrowKernels *narrow, const void *a, const void *b,
                     size_t bytes) {
    float differ = (float)narrow->differing_bits(a, b, bytes);
    return differ == 0 ? 0 : differ / (differ + (float)narrow->common_bits(a, b, bytes));
}

/* A scorer from the expression for one pair: q and c are codes of `size` bytes (the norm
 * not counted) and `dims` dimensions. */
#define SCORER(NAME, EXPRESSION)                                              \
    static void NAME(const VsQuery *query, const unsigned char *const *codes, \
                     uint32_t n, float *order) {                              \
        const VsNarrowKernels *narrow = vs_narrow();                          \
        const unsigned char *q = query->data;                                 \
        const size_t dims = query->params->dims,                              \
                     size = vs_element_bytes(query->params->element, dims);   \
        (void)narrow;                                                         \
        (void)size;                                                           \
        for (uint32_t i = 0; i < n && i < VS_LOOKAHEAD; i++) {                \
            vs_prefetch_code(codes[i], size);                                 \
        }                                                                     \
        for (uint32_t i = 0; i < n; i++) {                                    \
            const unsigned char *c = codes[i];                                \
            if (i + VS_LOOKAHEAD < n) {                                       \
                vs_prefetch_code(codes[i + VS_LOOKAHEAD], size);              \
            }                                                                 \
            order[i] = EXPRESSION;                                            \
        }                                                                     \
    }

/* The norms are multiplied first: the same whichever of the two is the query. */
#define COSINE(DOT) (-(DOT) * (norm_behind(q, size) * norm_behind(c, size)))
#define FLOATS(v) ((const float *)(const void *)(v))

SCORER(l1_f32, finite_order(query->kernels->l1_f32(FLOATS(q), FLOATS(c), dims)))
SCORER(l2_f16, narrow->l2sq_f16(q, c, dims))
SCORER(dot_f16, -narrow->dot_f16(q, c, dims))
SCORER(l1_f16, narrow->l1_f16(q, c, dims))
SCORER(cosine_f16, COSINE(narrow->dot_f16(q, c, dims)))
SCORER(l2_int8, (float)narrow->l2sq_int8(q, c, dims))
SCORER(dot_int8, -(float)narrow->dot_int8(q, c, dims))
SCORER(l1_int8, (float)narrow->l1_int8(q, c, dims))
SCORER(cosine_int8, COSINE((float)narrow->dot_int8(q, c, dims)))
SCORER(hamming_bit, (float)narrow->differing_bits(q, c, size))
SCORER(jaccard_bit, jaccard(narrow, q, c, size))

static VsScore scorer(const VsCodecParams *params) {
    static const VsScore scorers[][VS_METRICS] = {
        [VS_F32] = {l2_f32, dot_f32, dot_f32, l1_f32, NULL, NULL},
        [VS_F16] = {l2_f16, cosine_f16, dot_f16, l1_f16, NULL, NULL},
        [VS_INT8] = {l2_int8, cosine_int8, dot_int8, l1_int8, NULL, NULL},
        [VS_BIT] = {NULL, NULL, NULL, NULL, hamming_bit, jaccard_bit},
    };
    return scorers[params->element][params->metric];
}

static void ready(VsQuery *query) {
    query->score = query->full = scorer(query->params);
    query->score_bytes = code_size(query->params);
    query->scale = 1;
    query->error = 0;
    query->weight = 1;
}

static void prepare(VsQuery *query, const void *v) {
    write_code(query->params, v, query->data);
    ready(query);
}

static void prepare_code(VsQuery *query, const unsigned char *code) {
    memcpy(query->data, code, code_size(query->params));
    ready(query);
}

static size_t none_candidates(size_t k, size_t ef) {
    (void)ef;
    return k;
}

const VsCodec vs_codec_none = {
    .name = "none",
    .code_size = code_size,
    .query_size = query_size,
    .encode = encode,
    .decode = decode,
    .prepare = prepare,
    .prepare_code = prepare_code,
    .candidates = none_candidates,
};
