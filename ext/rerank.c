/*
 * From codes to distances: hits of the index become rows of the result, with the distance
 * of their stored vectors.
 *
 * Codes order almost as the vectors do, so few rows are read besides those that are
 * returned: candidates come nearest first, each with the least distance that its row can
 * have (after a scan: proven; after a walk: likely), and reading stops when `want` rows
 * are nearer than that.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/codec.h"
#include "../csrc/model.h"
#include "../csrc/scan.h"
#include "knn.h"

/* ---- the nearest so far: a heap with the farthest on top ------------------------- */

/* Of rows at the same distance an exact search keeps the first, as ORDER BY distance,
 * rowid does; others keep the last, as sqlite-vec does. */
static int farther(const VsxKnn *knn, const VsxResult *a, const VsxResult *b) {
    if (a->distance != b->distance || knn->exact) {
        return vsx_results_compare(a, b) > 0;
    }
    return a->rowid < b->rowid;
}

static void sift_up(const VsxKnn *knn, size_t i) {
    VsxResult *heap = knn->result;
    while (i > 0 && farther(knn, &heap[i], &heap[(i - 1) / 2])) {
        VsxResult t = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static void replace_top(const VsxKnn *knn, VsxResult r) {
    VsxResult *heap = knn->result;
    size_t i = 0;
    for (size_t child = 1; child < knn->n; child = 2 * i + 1) {
        child += child + 1 < knn->n && farther(knn, &heap[child + 1], &heap[child]);
        if (!farther(knn, &heap[child], &r)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = r;
}

static void keep_nearest(VsxKnn *knn, VsxResult r, size_t want) {
    if (knn->n < want) {
        knn->result[knn->n++] = r;
        sift_up(knn, knn->n - 1);
    } else if (want > 0 && farther(knn, &knn->result[0], &r)) {
        replace_top(knn, r);
    }
}

/* ---- reranking ------------------------------------------------------------------- */

int vsx_rerank(VsxKnn *knn, const VsCandidate *found, size_t n, size_t want,
               size_t *gone) {
    VsxVector *v = knn->vector;
    const VsCodecParams *p = &v->graph->params.code;
    int own = v->index->def->content == NULL;
    int rc = SQLITE_OK;
    knn->n = *gone = 0;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        const VsNode *node = NULL;
        VsxResult r;
        int lost = 0;
        if (knn->n >= want && (double)found[i].low > knn->result[0].distance) {
            break;
        }
        VsStatus st = vs_node(v->graph, found[i].node, &node);
        if (st != VS_OK) {
            return vsx_code(v->index, st);
        }
        r.rowid = node->rowid;
        if (!own || !vs_order_tells(p, found[i].order, &r.distance)) {
            rc = vsx_stored_distance(knn, r.rowid, &r.distance, &lost);
        }
        if (rc == SQLITE_OK && !lost) {
            keep_nearest(knn, r, want);
        }
        *gone += lost != 0;
    }
    vsx_results_sort(knn->result, knn->n);
    return rc;
}

static int compare_likely(const void *a, const void *b) {
    const VsCandidate *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

int vsx_likely(VsxKnn *knn, const VsQuery *q, const VsHit *hits, size_t n,
               VsCandidate *out) {
    VsGraph *g = knn->vector->graph;
    float share = vs_likely_share(&g->params.code), high;
    int bounded = g->params.code.codec != VS_CODEC_PQ; /* its errors do add up */
    for (size_t i = 0; i < n; i++) {
        const VsNode *node = NULL;
        VsStatus st = vs_node(g, hits[i].node, &node);
        if (st != VS_OK) {
            return vsx_code(knn->vector->index, st);
        }
        out[i] = (VsCandidate){-INFINITY, hits[i].order, hits[i].node};
        if (bounded) {
            vs_bounds(q, hits[i].order, vs_error(node->error), share, &out[i].low, &high);
        }
    }
    qsort(out, n, sizeof *out, compare_likely);
    return SQLITE_OK;
}
