/*
 * Metrics: the distance that a query returns between two stored vectors.
 *
 *     metric    elements              distance
 *     l2        float32 float16 int8  sqrt(sum (a - b)^2)
 *     cosine    float32 float16 int8  1 - cos, from 0 to 2; 1 when either is zero
 *     dot       float32 float16 int8  -dot: smaller is nearer
 *     l1        float32 float16 int8  sum |a - b|
 *     hamming   bit                   number of bits that differ
 *     jaccard   bit                   1 - |a and b| / |a or b|; 0 when both are zero
 *
 * The same inputs give the same bits on every machine (float.h, narrow.h).
 */
#ifndef VS_VECTOR_METRIC_H
#define VS_VECTOR_METRIC_H

#include <stddef.h>

#include "csrc/vector/element.h"

typedef enum VsMetric {
    VS_L2 = 0,
    VS_COSINE = 1,
    VS_DOT = 2,
    VS_L1 = 3,
    VS_HAMMING = 4,
    VS_JACCARD = 5,
    VS_METRICS
} VsMetric;

/* 1 if the metric is defined on vectors of that type. */
int vs_metric_fits(VsMetric metric, VsElement element);

double vs_metric_distance(VsMetric metric, VsElement element, const void *a,
                          const void *b, size_t dims);

#endif
