/*
 * vec0: distances and the order of equal ones, as sqlite-vec 0.1.9 gives them.
 *
 * Distances. Its results are float32, and its sums are too but for L1. Two programs agree
 * to the bit only if they add in the same order. These functions add one element after the
 * other, as its wheels for Linux do (its build for Apple's processors adds in lanes). They
 * are called for the rows of a result alone; codes and bounds choose the candidates as in
 * every other table. Where sqlite-vec gives infinity or NULL the distance is our own.
 *
 * Order. sqlite-vec looks through chunks of 1,024 rows (chunk_size=). Of equal distances it
 * gives those of earlier chunks first, and within a chunk the last row first. Its places in
 * chunks are in order of insertion; ours are told by the rowid, which is the same while
 * rows were inserted in order of their keys and none was deleted. Partitions have chunks of
 * their own, so tables with a partition key count as one chunk.
 */
#include <math.h>
#include <string.h>

#include "csrc/vector/metric.h"
#include "ext/vec0/vec0.h"

/* ---- distances ------------------------------------------------------------------ */

static float at(const void *v, size_t i) {
    float x;
    memcpy(&x, (const unsigned char *)v + i * sizeof x, sizeof x);
    return x;
}

static float l2_f32(const void *a, const void *b, size_t dims) {
    float sum = 0;
    for (size_t i = 0; i < dims; i++) {
        float d = at(a, i) - at(b, i);
        sum += d * d;
    }
    return (float)sqrt((double)sum);
}

static double l1_f32(const void *a, const void *b, size_t dims) {
    double sum = 0;
    for (size_t i = 0; i < dims; i++) {
        sum += fabs((double)at(a, i) - (double)at(b, i));
    }
    return sum;
}

static float cosine(float dot, float aa, float bb) {
    return (float)(1 - ((double)dot / (sqrt((double)aa) * sqrt((double)bb))));
}

static float cosine_f32(const void *a, const void *b, size_t dims) {
    float dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dims; i++) {
        float x = at(a, i), y = at(b, i);
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    return cosine(dot, aa, bb);
}

static float l2_int8(const int8_t *a, const int8_t *b, size_t dims) {
    float sum = 0;
    for (size_t i = 0; i < dims; i++) {
        float d = (float)(a[i] - b[i]);
        sum += d * d;
    }
    return (float)sqrt((double)sum);
}

static float cosine_int8(const int8_t *a, const int8_t *b, size_t dims) {
    float dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < dims; i++) {
        dot += (float)(a[i] * b[i]);
        aa += (float)(a[i] * a[i]);
        bb += (float)(b[i] * b[i]);
    }
    return cosine(dot, aa, bb);
}

double vsx_vec0_distance(VsMetric metric, VsElement element, const void *a, const void *b,
                         size_t dims) {
    double distance = NAN;
    if (element == VS_F32 && metric != VS_DOT) {
        distance = metric == VS_L2   ? (double)l2_f32(a, b, dims)
                   : metric == VS_L1 ? l1_f32(a, b, dims)
                                     : (double)cosine_f32(a, b, dims);
    } else if (element == VS_INT8 && (metric == VS_L2 || metric == VS_COSINE)) {
        distance = metric == VS_L2 ? (double)l2_int8(a, b, dims)
                                   : (double)cosine_int8(a, b, dims);
    }
    return isfinite(distance) ? distance
                              : vs_metric_distance(metric, element, a, b, dims);
}

/* ---- order ---------------------------------------------------------------------- */

sqlite3_uint64 vsx_vec0_tie(const VsxTies *ties, sqlite3_int64 rowid) {
    sqlite3_uint64 place = (sqlite3_uint64)rowid - ties->first;
    return ties->chunk == 0
               ? ~place
               : place - place % ties->chunk + (ties->chunk - 1 - place % ties->chunk);
}
