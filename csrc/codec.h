/*
 * Codecs: how a vector is coded for navigation and how codes are compared.
 *
 * An index kind (flat, hnsw) says which candidates to look at; a codec says how far they
 * are. The two meet only here. Distances of a codec order candidates; they are not the
 * distances that a query returns (those are computed from the stored vector, metric.h).
 *
 *     metric                 order of codes
 *     l2                     sum (a - b)^2
 *     cosine                 -dot of the normalised vectors
 *     dot                    -dot
 *     l1, hamming, jaccard   the distance
 */
#ifndef VS_CODEC_H
#define VS_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "kernels.h"
#include "metric.h"

typedef enum VsCodecId { VS_CODEC_NONE = 0 } VsCodecId;

typedef struct VsCodecParams {
    uint32_t dims;
    VsMetric metric;
    VsCodecId codec;
    VsElement element;
} VsCodecParams;

typedef struct VsQuery VsQuery;

/* Writes the orders of n codes relative to the query: smaller is nearer. Finite;
 * +-FLT_MAX means that the sum left float32 and says nothing more. Codes that come later
 * are fetched into the cache while the first are compared. */
typedef void (*VsScore)(const VsQuery *query, const unsigned char *const *codes,
                        uint32_t n, float *order);

/* A query or a node in the form that a codec compares with codes. */
struct VsQuery {
    const VsCodecParams *params;
    const VsKernels *kernels;
    const unsigned char *data; /* what the codec needs of the vector */
    VsScore score; /* one body per codec, metric and instruction set: no choice is made
                      per candidate */
};

typedef struct VsCodec {
    const char *name;
    /* Bytes of a code. */
    uint32_t (*code_size)(const VsCodecParams *params);
    /* Bytes of a prepared query. */
    size_t (*query_size)(const VsCodecParams *params);
    /* Writes the code of v (a vector of params->element, as the user gave it). */
    void (*encode)(const VsCodecParams *params, const void *v, unsigned char *code);
    /* Writes the prepared form of v at `data`. */
    void (*prepare)(const VsCodecParams *params, const void *v, unsigned char *data);
    /* Writes the prepared form of a vector that is known only by its code. */
    void (*prepare_code)(const VsCodecParams *params, const unsigned char *code,
                         unsigned char *data);
    /* The comparison for this metric. */
    VsScore (*scorer)(const VsCodecParams *params);
} VsCodec;

const VsCodec *vs_codec(VsCodecId id);
/* 1 if the metric is defined on the element type and dims on it. */
int vs_codec_fits(const VsCodecParams *params);
/* 1 and the distance, to the bit, if the order of a code tells it (codec none, but for
 * sums that leave the exact range, and metrics whose order is rounded). */
int vs_order_tells(const VsCodecParams *params, float order, double *distance);

#endif
