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
#ifndef VS_CODEC_CODEC_H
#define VS_CODEC_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "csrc/base/alloc.h"
#include "csrc/kernel/float.h"
#include "csrc/vector/metric.h"

typedef enum VsCodecId { VS_CODEC_NONE = 0, VS_CODEC_SQ8 = 1, VS_CODEC_PQ = 2 } VsCodecId;

/* With sq8: how many bits of a code a walk compares. */
typedef enum VsNavBits { VS_NAV_AUTO = 0, VS_NAV_4 = 4, VS_NAV_8 = 8 } VsNavBits;

typedef struct VsCodecParams {
    uint32_t dims;
    VsMetric metric;
    VsCodecId codec;
    VsElement element;
    VsNavBits nav_bits;
    uint32_t pq_m; /* of pq: parts of a vector, bytes of a code; 0: dims / 4 */
} VsCodecParams;

/* What a codec learnt from data. Never changed once made; two models with the same hash
 * are the same. */
typedef struct VsModel {
    uint64_t hash;             /* of the stored form */
    const unsigned char *blob; /* the stored form (%_model) */
    uint32_t len;
    uint32_t nav_bits; /* 4 or 8 */
    float step;        /* of sq8: code c stands for (c + zero) * step, */
    int32_t zero;
    const float *middle; /* plus that of its dimension; NULL: 0 of all */
    float typical; /* mean square of what coding loses of a vector, over the sample */
    void *derived; /* of pq: the codebooks by columns */
    float reach;   /* of pq: no vector that a code stands for is longer */
} VsModel;

typedef struct VsQuery VsQuery;

/* Writes the orders of n codes relative to the query: smaller is nearer. Finite;
 * +-FLT_MAX means that the sum left float32 and says nothing more. Codes that come later
 * are fetched into the cache while the first are compared. */
typedef void (*VsScore)(const VsQuery *query, const unsigned char *const *codes,
                        uint32_t n, float *order);

/* A query or a node in the form that a codec compares with codes. `score` and `full` are
 * one body per codec, metric and instruction set: no choice is made per candidate. */
struct VsQuery {
    const VsCodecParams *params;
    const VsModel *model;
    const VsKernels *kernels;
    unsigned char *data; /* what the codec needs of the vector: query_size bytes */
    VsScore score;       /* for walking: reads the first score_bytes of a code */
    VsScore full;  /* by all that a code knows; the same as `score` where that is all */
    float *floats; /* the vector itself, and room for another: set if it is compared */
    int as_floats; /* with what codes stand for, */
    int meets_raw; /* or with raw rows (raw.h) */
    uint32_t score_bytes;
    float scale;  /* l2, cosine: full order * scale is the squared distance of what the
                     codes stand for; dot: the distance */
    float error;  /* bound of the distance from the vector to what `data` stands for; dot:
                     bound of what that changes the distance by */
    float weight; /* how much the error of a node counts: 1; dot: length of the query */
};

/* What a codec has to fit with. */
typedef struct VsFitting {
    void *scratch;    /* fit_scratch bytes */
    unsigned threads; /* changes nothing but time */
} VsFitting;

typedef struct VsCodec {
    const char *name;
    /* Bytes of a code. */
    uint32_t (*code_size)(const VsCodecParams *params);
    /* Bytes of a prepared query. */
    size_t (*query_size)(const VsCodecParams *params);
    /* Learns from n sample vectors (n * dims floats, which it may change; n > 0): writes
     * the stored form of a model, of model_size bytes at the most, and returns its length.
     * NULL: this codec learns nothing. */
    size_t (*fit)(const VsCodecParams *params, VsNavBits nav_bits, float *sample,
                  size_t n, const VsFitting *with, unsigned char *blob);
    /* Bytes that it works in. */
    size_t (*fit_scratch)(const VsCodecParams *params, size_t n, unsigned threads);
    size_t (*model_size)(const VsCodecParams *params);
    /* Bytes at VsModel.derived, which read_model fills. */
    size_t (*derived_size)(const VsCodecParams *params);
    /* How many vectors a sample should have. */
    size_t (*sample_size)(const VsCodecParams *params);
    /* 1 if the one is as good as the other: not worth coding everything anew. */
    int (*alike)(const VsCodecParams *params, const VsModel *a, const VsModel *b);
    /* Reads the stored form. VS_CORRUPT if it is none. */
    VsStatus (*read_model)(const VsCodecParams *params, const unsigned char *blob,
                           size_t len, VsModel *out);
    /* Writes the code of v (a vector of params->element, as the user gave it). Returns a bound of the
     * distance between v (cosine: v / |v|) and what the code stands for; *clipped
     * (may be NULL) is set if that is much more than the model expects. */
    float (*encode)(const VsCodecParams *params, const VsModel *model, const void *v,
                    unsigned char *code, int *clipped);
    /* The vector that a code stands for. */
    void (*decode)(const VsCodecParams *params, const VsModel *model,
                   const unsigned char *code, float *v);
    /* Prepare a query, whose params, model, kernels and data are set: from a vector, */
    void (*prepare)(VsQuery *query, const void *v);
    /* from a code. It is compared by all that a code knows. */
    void (*prepare_code)(VsQuery *query, const unsigned char *code);
    /* How many rows, best codes first, hold the k nearest vectors: so many may be compared by
     * their stored vectors. A beam of `ef` finds that many more at no cost. */
    size_t (*candidates)(size_t k, size_t ef);
    /* How many times its blur the distances of neighbours have to differ by (blur.h). */
    float sharp;
} VsCodec;

extern const VsCodec vs_codec_sq8; /* sq8.c */
extern const VsCodec vs_codec_pq;  /* pq.c */

#define VS_PQ_MAX_PART 64 /* dimensions of a part of pq */

const VsCodec *vs_codec(VsCodecId id);
/* Bytes of a prepared query with its floats, which begin at vs_query_floats(data). */
size_t vs_query_bytes(const VsCodecParams *params);
float *vs_query_floats(const VsCodecParams *params, unsigned char *data);
/* The vector that a code of v stands for, without a loss: v, cosine: v / |v|. */
void vs_codec_floats(const VsCodecParams *params, const void *v, float *out);
/* 1 if the metric is defined on the element type and dims on it. */
int vs_codec_fits(const VsCodecParams *params);
/* 1 and the distance, to the bit, if the order of a code tells it (codec none, but for
 * sums that leave the exact range, and metrics whose order is rounded). */
int vs_order_tells(const VsCodecParams *params, float order, double *distance);
/* Between what two values the distance of the stored vectors lies (as metric.h computes
 * it, roundings included), given the full order of a code and the error that its node
 * keeps. `share`: 1 is a bound, whatever was clipped; less is a guess, for errors of many
 * dimensions rarely add up (vs_likely_share). */
void vs_bounds(const VsQuery *query, float order, float error, float share, float *low,
               float *high);
/* An order with which, as with every greater one below VS_LONGEST, the lower bound of a row
 * of this error or less is above `limit`. INFINITY if none is known. */
float vs_order_beyond(const VsQuery *query, float limit, float error);
#define VS_LONGEST 1e29f /* orders beyond mean that a sum left float32 (vs_bounds) */
/* Three standard deviations, if the errors of the dimensions are independent. */
float vs_likely_share(const VsCodecParams *params);
/* 1 if sq8 can code them: float32 or float16 under l2, cosine or dot. */
int vs_codec_sq8_fits(const VsCodecParams *params);
/* 1 if a code of sq8 is smaller than the vector: from 17 dimensions of float32 on, 33 of float16. */
int vs_codec_sq8_saves(const VsCodecParams *params);
/* 1 if pq can: the same, in parts of at most VS_PQ_MAX_PART dimensions. */
int vs_codec_pq_fits(const VsCodecParams *params);

#endif
