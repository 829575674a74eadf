/*
 * From codes to distances: candidates of the index that the filter admits become rows of
 * the result, with the distance of their stored vectors.
 *
 * Codes order almost as the vectors do, so few rows are read besides those that are
 * returned: candidates come nearest first, each with the least distance that its row can
 * have (after a scan: proven; after a walk: likely), and reading stops when `want` rows
 * are nearer than that. Of equal distances those with the least rowids are kept.
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

#include "csrc/kernel/batch.h"
#include "csrc/codec/codec.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"
#include "csrc/search/scan.h"
#include "ext/query/knn.h"
#include "ext/query/row_prefetch.h"
#include "ext/table/errors.h"

/* ---- the nearest so far: a heap with the farthest on top ------------------------- */

static int farther(const VsxResult *a, const VsxResult *b) {
    return vsx_results_compare(a, b) > 0;
}

static void sift_up(VsxResult *heap, size_t i) {
    while (i > 0 && farther(&heap[i], &heap[(i - 1) / 2])) {
        VsxResult t = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static void replace_top(VsxResults *rows, VsxResult r) {
    VsxResult *heap = rows->at;
    size_t i = 0;
    for (size_t child = 1; child < rows->n; child = 2 * i + 1) {
        child += child + 1 < rows->n && farther(&heap[child + 1], &heap[child]);
        if (!farther(&heap[child], &r)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = r;
}

static int keep_nearest(VsxPick *pick, VsxResult r) {
    VsxResults *rows = &pick->rows;
    int rc = SQLITE_OK;
    double out = r.distance;
    if (rows->n < pick->want) {
        rc = vsx_results_add(rows, r);
        if (rc == SQLITE_OK &&
            pick->want != VSX_ALL) { /* else nothing asks for the top */
            sift_up(rows->at, rows->n - 1);
        }
        return rc;
    }
    if (farther(&rows->at[0], &r)) {
        out = rows->at[0].distance;
        replace_top(rows, r);
    }
    pick->next = out < pick->next ? out : pick->next;
    return SQLITE_OK;
}

/* ---- errors of codes ------------------------------------------------------------- */

#define ERRORS_KNOWN 8 /* from so many rows on */
#define ERRORS_SIGMAS 3
#define ROUNDED 1e-5 /* bounds and orders are float32 */

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
    double low = (double)c->low + (double)c->spread * least;
    return low - ROUNDED * (fabs(low) + (double)c->spread) >
           limit; /* no copy of the last */
}

/* ---- reranking ------------------------------------------------------------------- */

/* *lost: a content table has no such row any more, or no vector in it. */
static int distance_of(VsxKnn *knn, const VsCandidate *c, VsxNodeRow row, double *out,
                       int *lost) {
    VsxVector *v = knn->vector;
    const void *stored = NULL;
    int own = v->index->def->content == NULL, read = 0;
    *lost = 0;
    if (own && vsx_order_distance(v, c->order, out)) {
        return SQLITE_OK;
    }
    int rc = vsx_reader_node(&knn->reader, v, row, &stored, &read);
    knn->figures.reads += (uint64_t)read;
    *lost = rc == SQLITE_OK && stored == NULL;
    if (*lost && own) {
        return SQLITE_CORRUPT_VTAB;
    }
    if (rc == SQLITE_OK && !*lost) {
        *out = vsx_distance(v, knn->query, stored);
    }
    return rc;
}

int vsx_pick_row(VsxKnn *knn, const VsCandidate *c, VsxResult *r, int *passes) {
    VsxVector *v = knn->vector;
    const VsNode *node = NULL;
    int known = 0, lost = 0;
    VsStatus st = vs_node(v->graph, c->node, &node);
    *passes = 0;
    if (st != VS_OK) {
        return vsx_code(v->index, st);
    }
    VsxNodeRow row = {node->rowid, c->node, node->seq};
    *r = vsx_result(knn, row.rowid);
    int rc = vsx_admit_row(knn, row.node, row.rowid, passes, &known, &r->distance);
    if (rc == SQLITE_OK && vsx_knn_changed(knn)) {
        return SQLITE_ABORT; /* a function in the filter writes to the table */
    }
    if (rc == SQLITE_OK && *passes && !known) {
        rc = distance_of(knn, c, row, &r->distance, &lost);
    }
    *passes =
        rc == SQLITE_OK && *passes && !lost && vsx_within(&knn->bounds, r->distance);
    return rc;
}

VsStatus vsx_prefetch_cached(VsxVector *v, VsxReader *reader, const VsCandidate *found,
                             size_t n) {
    const VsxCache *cache = vsx_reader_cache(reader, v);
    VsStatus st = VS_OK;
    for (size_t i = 0; cache != NULL && i < n; i++) {
        vsx_cache_prefetch_place(cache, found[i].node);
    }
    for (size_t i = 0; st == VS_OK && cache != NULL && i < n; i++) {
        const VsNode *node = NULL;
        st = vs_node(v->graph, found[i].node, &node);
        if (st == VS_OK) {
            vsx_cache_prefetch(cache, found[i].node, node->seq);
        }
    }
    return st;
}

/* The same of the rows that SQLite is about to be asked for. */
static int prefetch_rows(VsxKnn *knn, const VsCandidate *found, size_t n) {
    VsxVector *v = knn->vector;
    const VsxCache *cache = vsx_reader_cache(&knn->reader, v);
    sqlite3_int64 rowid[VSX_PREFETCH];
    size_t rows = 0;
    double told;
    for (size_t i = 0; i < n && i < VSX_PREFETCH; i++) {
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
    return vsx_rows_prefetch(v, rowid, rows);
}

/* What is on its way while the first are read: probably all that will be. */
static int prefetch_next(VsxKnn *knn, const VsCandidate *found, size_t n, size_t at,
                         const VsxPick *pick) {
    VsxVector *v = knn->vector;
    size_t want = pick->want < n ? pick->want : n, likely = want + want / 8 + 1;
    likely = likely < n ? likely : n;
    if (at == 0) {
        VsStatus st = vsx_prefetch_cached(v, &knn->reader, found, want);
        if (st != VS_OK) {
            return vsx_code(v->index, st);
        }
    }
    return at < likely && at % VSX_PREFETCH == 0
               ? prefetch_rows(knn, found + at, likely - at)
               : SQLITE_OK;
}

int vsx_pick_rows(VsxKnn *knn, const VsCandidate *found, size_t n, VsxPick *pick) {
    VsxErrors errors = {0};
    VsxGate gate = knn->admission.gate;
    int passing = gate == VSX_GATE_OPEN || gate == VSX_GATE_NODES, rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < n && !pick->impatient; i++) {
        VsxResult r;
        int passes = 0, full = pick->want != VSX_ALL && pick->rows.n >= pick->want;
        double limit = full && pick->rows.at[0].distance < pick->reach
                           ? pick->rows.at[0].distance
                           : pick->reach;
        if (passing) {
            rc = prefetch_next(knn, found, n, i, pick);
        }
        pick->beyond = (double)found[i].low > knn->bounds.high;
        if (rc != SQLITE_OK || pick->beyond || (double)found[i].low > limit) {
            pick->farther |= full;
            break;
        }
        if (full && vsx_errors_rule_out(&errors, &found[i], limit)) {
            pick->farther = 1;
            continue;
        }
        rc = vsx_pick_row(knn, &found[i], &r, &passes);
        pick->looked++;
        if (rc == SQLITE_OK && passes) {
            vsx_errors_add(&errors, &found[i], r.distance);
            pick->passed++;
            rc = r.distance <= pick->reach ? keep_nearest(pick, r) : SQLITE_OK;
        }
        pick->impatient = knn->admission.probes > pick->patience;
    }
    vsx_results_sort(pick->rows.at, pick->rows.n);
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
        VS_PREFETCH_FAR(node);
    }
    for (size_t i = 0; i < n; i++) {
        const VsNode *node = NULL;
        VsCandidate *c = &out[i];
        float high, guess, part = share;
        VsStatus st = vs_node(g, hits[i].node, &node);
        st = st == VS_OK ? vs_share_of(g, hits[i].node, share, &part) : st;
        if (st != VS_OK) {
            return st;
        }
        *c = (VsCandidate){0, hits[i].order, hits[i].node, 0};
        vs_bounds(q, c->order, vs_error(node->error), 0, &guess, &high);
        vs_bounds(q, c->order, vs_error(node->error), part, &c->low, &high);
        c->spread = guess - c->low;
    }
    qsort(out, n, sizeof *out, compare_likely);
    return VS_OK;
}
