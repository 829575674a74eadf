/*
 * How sq8 lays out a prepared query, for those who compare by it: sq8.c and sieve.c.
 *
 *     head: bias i64 (dot) | full elements (u8, or i16 for dot: 2 bytes each in any case) |
 *     elements for four bits (u8 or i8) | weights of a sieve (i8)
 */
#ifndef VS_SQ8_H
#define VS_SQ8_H

#include <string.h>

#include "codec.h"
#include "kernels_code.h"

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
    return (int8_t *)vs_sq8_full(query) + 3 * VS_BLOCK * vs_sq8_blocks(query->params);
}

#endif
