/* See kmeans.h. */
#include "csrc/codec/kmeans.h"

#include <string.h>

#include "csrc/kernel/columns.h"
#include "csrc/base/hash.h"

#define K VS_KMEANS_K

enum {
    SEEDING = 4096, /* points that k-means++ chooses from */
    BATCH = 4096,
    BATCHES = 15,
    PASSES = 6 /* over all points */
};

#define SPLIT 1e-3f /* how far the halves of a divided cluster begin from its centre */

typedef struct Work {
    const VsKmeans *job;
    float *columns; /* the centroids */
    double *sum;    /* K * d: sums of the points of each cluster */
    float *nearest; /* SEEDING: squared distance to the nearest seed so far */
    uint64_t count[K];
} Work;

size_t vs_kmeans_scratch(size_t n, size_t d) {
    (void)n;
    return sizeof(Work) + K * d * sizeof(double) + SEEDING * sizeof(float);
}

static const float *point(const VsKmeans *job, size_t i) {
    return job->points + i * job->d;
}

static uint32_t nearest(const Work *w, const float *x) {
    return vs_columns()->nearest(x, w->columns, w->job->d, K);
}

/* ---- seeding -------------------------------------------------------------------- */

static void put_centroid(Work *w, size_t c, const float *x) {
    for (size_t j = 0; j < w->job->d; j++) {
        w->columns[j * K + c] = x[j];
    }
}

/* Point i of n that are spread over all: one of each stretch, so that an order that
 * repeats itself does no harm. */
static const float *spread(const VsKmeans *job, size_t n, size_t i) {
    size_t stretch = job->n / n;
    return point(job,
                 i * stretch + (size_t)(vs_mix64(job->seed ^ ~(uint64_t)i) % stretch));
}

/* A number below n, drawn with a chance in proportion to the squared
 * distance of that point to the seeds. */
static size_t draw(const Work *w, size_t n, uint64_t random) {
    double total = 0, at;
    for (size_t i = 0; i < n; i++) {
        total += (double)w->nearest[i];
    }
    if (!(total > 0)) {
        return (size_t)(random % n); /* every point is a seed already */
    }
    at = total * ((double)(random >> 11) / 9007199254740992.0); /* 2^53 */
    for (size_t i = 0; i < n; i++) {
        at -= (double)w->nearest[i];
        if (at < 0) {
            return i;
        }
    }
    return n - 1;
}

static void plant(Work *w) {
    const VsKmeans *job = w->job;
    size_t n = job->n < SEEDING ? job->n : SEEDING;
    size_t chosen = (size_t)(vs_mix64(job->seed) % n);
    for (size_t c = 0; c < K; c++) {
        const float *seed = spread(job, n, chosen);
        put_centroid(w, c, seed);
        for (size_t i = 0; i < n; i++) {
            const float *x = spread(job, n, i);
            float d2 = 0;
            for (size_t j = 0; j < job->d; j++) {
                float t = x[j] - seed[j];
                d2 += t * t;
            }
            w->nearest[i] = c == 0 || d2 < w->nearest[i] ? d2 : w->nearest[i];
        }
        chosen = draw(w, n, vs_mix64(job->seed + c + 1));
    }
}

/* ---- improving ------------------------------------------------------------------ */

/* Each centroid moves to a point that is nearest to it by the inverse of the number of
 * such points so far. */
static void mini_batch(Work *w, uint64_t round) {
    const VsKmeans *job = w->job;
    size_t n = job->n < BATCH ? job->n : BATCH;
    for (size_t i = 0; i < n; i++) {
        uint64_t random = vs_mix64(job->seed ^ vs_mix64(round * BATCH + i));
        const float *x = point(job, (size_t)(random % job->n));
        uint32_t c = nearest(w, x);
        float rate = 1.0f / (float)++w->count[c];
        for (size_t j = 0; j < job->d; j++) {
            float *at = &w->columns[j * K + c];
            *at += rate * (x[j] - *at);
        }
    }
}

/* A centroid without points takes half of the largest cluster. */
static void split_largest(Work *w, size_t empty) {
    size_t largest = 0;
    for (size_t c = 1; c < K; c++) {
        largest = w->count[c] > w->count[largest] ? c : largest;
    }
    for (size_t j = 0; j < w->job->d; j++) {
        float *row = w->columns + j * K;
        row[empty] = row[largest] * (1 + SPLIT);
        row[largest] *= 1 - SPLIT;
    }
    w->count[empty] = w->count[largest] / 2;
    w->count[largest] -= w->count[empty];
}

/* One pass of Lloyd's algorithm. */
static void pass(Work *w) {
    const VsKmeans *job = w->job;
    memset(w->count, 0, sizeof w->count);
    memset(w->sum, 0, K * job->d * sizeof *w->sum);
    for (size_t i = 0; i < job->n; i++) {
        const float *x = point(job, i);
        uint32_t c = nearest(w, x);
        w->count[c]++;
        for (size_t j = 0; j < job->d; j++) {
            w->sum[c * job->d + j] += (double)x[j];
        }
    }
    for (size_t c = 0; c < K; c++) {
        for (size_t j = 0; j < job->d && w->count[c] > 0; j++) {
            w->columns[j * K + c] = (float)(w->sum[c * job->d + j] / (double)w->count[c]);
        }
    }
    for (size_t c = 0; c < K; c++) {
        if (w->count[c] == 0 && job->n > K) {
            split_largest(w, c);
        }
    }
}

void vs_kmeans(const VsKmeans *job, void *scratch, float *columns) {
    Work *w = scratch;
    w->job = job;
    w->columns = columns;
    w->sum = (double *)(void *)(w + 1);
    w->nearest = (float *)(void *)(w->sum + K * job->d);
    plant(w);
    memset(w->count, 0, sizeof w->count);
    for (uint64_t round = 0; round < BATCHES && job->n > BATCH; round++) {
        mini_batch(w, round);
    }
    for (int i = 0; i < PASSES; i++) {
        pass(w);
    }
}
