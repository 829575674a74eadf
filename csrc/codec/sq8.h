/*
 * How sq8 lays out a prepared query, for those who compare by it: sq8.c and prefilter.c.
 *
 *     head: bias i64 | full elements (u8, or i16 for dot: 2 bytes each in any case) |
 *     weights for the high plane (i8), as code.h arranges them
 *
 * The bias belongs to high_l2, or to full_dot. A query that was made of a code has no
 * weights: it compares all bits.
 */
#ifndef VS_CODEC_SQ8_H
#define VS_CODEC_SQ8_H

#include <math.h>
#include <string.h>

#include "csrc/codec/codec.h"
#include "csrc/kernel/code.h"

#define VS_SQ8_HEAD 64

static inline size_t vs_sq8_blocks(const VsCodecParams *params) {
    return (params->dims + VS_BLOCK - 1) / VS_BLOCK;
}

static inline unsigned char *vs_sq8_full(const VsQuery *query) {
    return query->data + VS_SQ8_HEAD;
}

static inline int64_t vs_sq8_bias(const VsQuery *query) {
    int64_t bias;
    memcpy(&bias, query->data, sizeof bias);
    return bias;
}

static inline int8_t *vs_sq8_weights(const VsQuery *query) {
    return (int8_t *)vs_sq8_full(query) + 2 * VS_BLOCK * vs_sq8_blocks(query->params);
}

/* Weights for inner products stand for -step * w, about the full elements. */
static inline double vs_sq8_weight_step(const int16_t *full, size_t dims) {
    int peak = 1;
    for (size_t i = 0; i < dims; i++) {
        int size = full[i] < 0 ? -full[i] : full[i];
        peak = size > peak ? size : peak;
    }
    return peak / 127.0;
}

static inline int8_t vs_sq8_weight(int16_t full, double step) {
    return (int8_t)-floor(full / step + 0.5);
}

#endif
