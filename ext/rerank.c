/*
 * From codes to distances: hits of the index become rows of the result, with the distance
 * of their stored vectors.
 *
 * Codes order almost as the vectors do, so few rows are read besides those that are
 * returned: candidates come nearest first, each with the least distance that its row can
 * have (after a scan: proven; after a walk: likely), and reading stops when `want` rows
 * are nearer than that.
 *
 * After a walk the rows that were read tell more. What a code loses is estimated from its
 * size alone, but clipping makes rows look nearer than they are, all in the same manner.
 * So from the eighth row on a candidate is read only if its row would be nearer than the
 * `want`-th in spite of being within three standard deviations of the mean error of those
 * that were read (MiniLM-384: 11.6 rows are read for ten instead of 13.5, SIFT-128: 10.9
 * instead of 11.1, and one of 10,000 results is another).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/batch.h"
#include "../csrc/codec.h"
#include "../csrc/model.h"
#include "../csrc/scan.h"
#include "knn.h"
#include "row_fetch.h"

/* ---- the nearest so far: a heap with the farthest on top ------------------------- */

/* Of rows at the same distance an exact search keeps the first, as ORDER BY distance,
 * rowid does, and so does one of vec0 by its own order (vec0_distance.c). */
static int farther(const VsxKnn *knn, const VsxResult *a, const VsxResult *b) {
    if (a->distance != b->distance || knn->exact || knn->ties.vec0) {
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

/* ---- errors of codes ------------------------------------------------------------- */

#define ERRORS_KNOWN 8 /* from so many rows on */
#define ERRORS_SIGMAS 3

void vsx_errors_add(VsxErrors *e, const VsCandidate *c, double distance) {
    double error = (distance - (double)c->low) / (double)c->spread - 1;
    if (isfinite(error)) { /* Welford's running variance */
        double from = error - e->mean;
        e->n++;
        e->mean += from / e->n;
        e->squares += from * (error - e->mean);
    }
}

int vsx_errors_rule_out(const VsxErrors *e, const VsCandidate *c, double limit) {
    if (e->n < ERRORS_KNOWN || !(c->spread > 0)) {
        return 0;
    }
    double least = 1 + e->mean - ERRORS_SIGMAS * sqrt(e->squares / (e->n - 1));
    return (double)c->low + (double)c->spread * least > limit;
}

/* ---- reranking ------------------------------------------------------------------- */

/* *lost: a content table has no such row any more, or no vector in it. */
static int distance_of(VsxKnn *knn, const VsCandidate *c, const VsNode *node,
                       VsxErrors *errors, double *out, int *lost) {
    VsxVector *v = knn->vector;
    const void *stored = NULL;
    int own = v->index->def->content == NULL, read = 0;
    *lost = 0;
    if (own && vsx_order_distance(v, c->order, out)) {
        return SQLITE_OK;
    }
    VsxNodeRow row = {node->rowid, c->node, node->seq};
    int rc = vsx_reader_node(&knn->reader, v, row, &stored, &read);
    knn->figures.reads += (uint64_t)read;
    *lost = rc == SQLITE_OK && stored == NULL;
    if (*lost && own) {
        return SQLITE_CORRUPT_VTAB;
    }
    if (rc == SQLITE_OK && !*lost) {
        *out = vsx_distance(v, knn->query, stored);
        vsx_errors_add(errors, c, *out);
    }
    return rc;
}

VsStatus vsx_fetch_cached(VsxVector *v, VsxReader *reader, const VsCandidate *found,
                          size_t n) {
    const VsxCache *cache = vsx_reader_cache(reader, v);
    VsStatus st = VS_OK;
    for (size_t i = 0; st == VS_OK && cache != NULL && i < n; i++) {
        const VsNode *node = NULL;
        st = vs_node(v->graph, found[i].node, &node);
        if (st == VS_OK) {
            vsx_cache_fetch(cache, found[i].node, node->seq);
        }
    }
    return st;
}

/* The same of the rows that SQLite is about to be asked for. */
static int fetch_rows(VsxKnn *knn, const VsCandidate *found, size_t n) {
    VsxVector *v = knn->vector;
    const VsxCache *cache = vsx_reader_cache(&knn->reader, v);
    sqlite3_int64 rowid[VSX_FETCH];
    size_t rows = 0;
    double told;
    for (size_t i = 0; i < n && i < VSX_FETCH; i++) {
        const VsNode *node = NULL;
        VsStatus st = vs_node(v->graph, found[i].node, &node);
        if (st != VS_OK) {
            return vsx_code(v->index, st);
        }
        if (!vsx_order_distance(v, found[i].order, &told) &&
            (cache == NULL || vsx_cache_get(cache, found[i].node, node->seq) == NULL)) {
            rowid[rows++] = node->rowid;
        }
    }
    return vsx_rows_fetch(v, rowid, rows);
}

int vsx_rerank(VsxKnn *knn, const VsCandidate *found, size_t n, size_t want,
               size_t *gone) {
    VsxVector *v = knn->vector;
    VsxErrors errors = {0};
    int rc =
        vsx_code(v->index, vsx_fetch_cached(v, &knn->reader, found, n < want ? n : want));
    size_t likely = want + want / 8 + 1, fetch = n < likely ? n : likely;
    knn->n = *gone = 0;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        const VsNode *node = NULL;
        VsxResult r = {0};
        int lost = 0, full = knn->n >= want;
        if (i < fetch && i % VSX_FETCH == 0) {
            rc = fetch_rows(knn, found + i, fetch - i);
            if (rc != SQLITE_OK) {
                break;
            }
        }
        if (full && (double)found[i].low > knn->result[0].distance) {
            break;
        }
        if (full && vsx_errors_rule_out(&errors, &found[i], knn->result[0].distance)) {
            continue;
        }
        VsStatus st = vs_node(v->graph, found[i].node, &node);
        if (st != VS_OK) {
            return vsx_code(v->index, st);
        }
        r = vsx_result(knn, node->rowid);
        rc = distance_of(knn, &found[i], node, &errors, &r.distance, &lost);
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

/* The errors of pq are not those of many independent dimensions: only the bound holds. */
VsStatus vsx_likely(VsGraph *g, const VsQuery *q, const VsHit *hits, size_t n,
                    VsCandidate *out) {
    const VsCodecParams *p = &g->params.code;
    float share = p->codec == VS_CODEC_PQ ? 1 : vs_likely_share(p);
    for (size_t i = 0; i < n; i++) {
        const VsNode *node = NULL;
        VsStatus st = vs_node(g, hits[i].node, &node);
        if (st != VS_OK) {
            return st;
        }
        VS_FETCH_FAR(node);
    }
    for (size_t i = 0; i < n; i++) {
        const VsNode *node = NULL;
        VsCandidate *c = &out[i];
        float high, guess;
        VsStatus st = vs_node(g, hits[i].node, &node);
        if (st != VS_OK) {
            return st;
        }
        *c = (VsCandidate){0, hits[i].order, hits[i].node, 0};
        vs_bounds(q, c->order, vs_error(node->error), 0, &guess, &high);
        vs_bounds(q, c->order, vs_error(node->error), share, &c->low, &high);
        c->spread = guess - c->low;
    }
    qsort(out, n, sizeof *out, compare_likely);
    return VS_OK;
}
