/*
 * k-means for codebooks: seeding by k-means++ (Arthur & Vassilvitskii 2007), mini-batch
 * rounds (Sculley 2010), then Lloyd's algorithm over all points.
 *
 * Deterministic: the same points and seed give the same bits on every machine, whatever
 * the number of threads that train codebooks side by side. A training allocates nothing,
 * so that it may run on any thread.
 */
#ifndef VS_CODEC_KMEANS_H
#define VS_CODEC_KMEANS_H

#include <stddef.h>
#include <stdint.h>

#define VS_KMEANS_K 256 /* centroids: one byte says which */

typedef struct VsKmeans {
    const float *points; /* n * d floats, finite */
    size_t n;            /* > 0; with fewer than 256 points some centroids are equal */
    size_t d;
    uint64_t seed;
} VsKmeans;

/* Bytes that a training works in. */
size_t vs_kmeans_scratch(size_t n, size_t d);

/* Writes the centroids by columns (columns.h, k = 256): 256 * d floats. */
void vs_kmeans(const VsKmeans *job, void *scratch, float *columns);

#endif
