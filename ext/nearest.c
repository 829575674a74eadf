/*
 * Rows in order of distance, from a stream of candidates.
 *
 * One loop serves filtered searches, streams and ranges: candidates come from the graph in
 * the order of their codes (csrc/stream.h), the filter says which pass (admit.c), their
 * exact distances sort them. They differ in how much is gathered before anything is given:
 *
 *     filtered walk   k and a margin, then the first k
 *     range           until candidates are beyond the bound, then all
 *     stream          a batch and a margin, then the batch; batches grow
 *
 * The margin is the resort buffer: orders of codes are not quite those of distances, so
 * that what is given next is chosen among somewhat more. A row that is nearer than one
 * that was given is late: it is held back and given, sorted, after everything else.
 *
 * The work is bounded by that of an exact scan. When the walk has cost as much as scoring
 * all rows that may pass, those that it has not seen are scored, and what follows is in
 * strict order (algorithm: Lucene's PR 656, "visited more than the filter admits"). So
 * never more than twice the scan, and never fewer rows than pass.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "knn.h"
#include "rowmap.h"

/* Scoring a code in a scan costs about 0.6 of one in a walk, where it comes at random. */
#define SCAN_COST 0.6
#define FEW_ROWS 1000
#define UNHINTED_BATCH 16
#define LARGEST_BATCH 256
#define LARGEST_READ 64  /* where each row is read for its distance */
#define ROWS_PER_READ 16 /* a row by itself costs as much as so many in a row */
#define LEAST_MARGIN 8

/* As many as a codec wants to be looked at beyond a batch. Farther out more rows lie
 * within the error of a code, so the margin of a stream grows with what it has given. */
static size_t margin_of(const VsxKnn *knn, size_t batch) {
    size_t more = knn->vector->graph->codec->candidates(batch) - batch,
           deep = knn->taken.n / 8;
    more = more < LEAST_MARGIN ? LEAST_MARGIN : more;
    deep = deep < LARGEST_BATCH ? deep : LARGEST_BATCH;
    return more > deep ? more : deep;
}

static int add_taken(VsxKnn *knn, VsxResult r) {
    int rc = vsx_results_add(&knn->held, r);
    return rc == SQLITE_OK ? vsx_results_add(&knn->taken, r) : rc;
}

/* ---- work ------------------------------------------------------------------------ */

/* Rows that may pass, as far as it is known. */
static double may_pass(const VsxKnn *knn) {
    const VsxAdmission *a = &knn->admission;
    double live = knn->vector->graph->state.n_live, n = live;
    if (a->gate == VSX_GATE_NODES) {
        n = a->nodes->admit.count;
    } else if (a->gate == VSX_GATE_SET) {
        n = (double)vsx_rowmap_count(knn->filter.rowids);
    }
    return n < live ? n : live;
}

/* Distances that a walk would compute until `want` rows have passed: every node that is
 * given or waits in the window is expanded, and an expansion meets about m nodes that are
 * new (863 distances for 10 rows at ef 64 and m 16, docs/benchmarks.md). */
static double walk_cost(const VsxKnn *knn, size_t want) {
    double live = knn->vector->graph->state.n_live, pass = may_pass(knn);
    return ((double)want * live / (pass + 1) + (double)knn->ef) *
           knn->vector->graph->params.m;
}

static int scan_is_cheaper(const VsxKnn *knn, size_t want) {
    double pass = may_pass(knn);
    return pass <= FEW_ROWS || pass <= 2 * (double)want ||
           walk_cost(knn, want) > SCAN_COST * pass;
}

/* Scores what may pass and was not seen. */
static int rest(VsxKnn *knn) {
    VsxAdmission *a = &knn->admission;
    int rc = SQLITE_OK;
    if (a->gate == VSX_GATE_SET && !vsx_knn_moved(knn)) {
        rc = vsx_admit_resolve(knn);
    }
    if (rc == SQLITE_OK) {
        knn->rested = 1;
        rc =
            vsx_code(knn->vector->index,
                     vs_stream_rest(knn->stream,
                                    a->gate == VSX_GATE_NODES ? &a->nodes->admit : NULL));
    }
    return rc;
}

/* ---- beginning ------------------------------------------------------------------- */

static size_t wanted(const VsxKnn *knn) {
    return knn->k > 0 ? (size_t)knn->k : knn->batch > 0 ? knn->batch : UNHINTED_BATCH;
}

static int open_stream(VsxKnn *knn) {
    VsxVector *v = knn->vector;
    VsStatus st = vs_stream_open(v->graph, knn->query, knn->ef, &knn->stream);
    knn->rested = 0;
    return vsx_code(v->index, st);
}

/* Rows that a filter may admit to be resolved at once: with S of n rows passing,
 * resolving costs some 0.6 us S, and probing until `want` pass some 4 us want n / S (on
 * 100,000 rows of SIFT-128). */
static size_t few_rows(const VsxKnn *knn, size_t want) {
    double n = knn->vector->graph->state.n_live,
           even = sqrt(6.7 * (double)(want + margin_of(knn, want)) * n);
    size_t few = want < FEW_ROWS / 2 ? FEW_ROWS : 2 * want;
    return (double)few > even ? few : (size_t)even;
}

static int begin(VsxKnn *knn) {
    size_t want = wanted(knn);
    size_t few = few_rows(knn, want);
    int rc = open_stream(knn);
    rc = rc == SQLITE_OK ? vsx_admit_open(knn, few) : rc;
    if (rc == SQLITE_OK && scan_is_cheaper(knn, want)) {
        rc = rest(knn);
    }
    return rc;
}

/* Nothing that was taken comes again. */
static int skip_taken(VsxKnn *knn) {
    if (knn->skip == NULL && (knn->skip = vsx_rowmap_new()) == NULL) {
        return SQLITE_NOMEM;
    }
    int rc = vsx_rowmap_reserve(knn->skip, knn->taken.n);
    for (size_t i = 0; rc == SQLITE_OK && i < knn->taken.n; i++) {
        vsx_rowmap_put(knn->skip, knn->taken.at[i].rowid, 0);
    }
    return rc;
}

int vsx_nearest_after(VsxKnn *knn, size_t given) {
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < given; i++) {
        knn->last = knn->result[i];
        rc = vsx_results_add(&knn->taken, knn->last);
    }
    return rc == SQLITE_OK ? skip_taken(knn) : rc;
}

/* The graph has gone on and the snapshot cannot be read any more: a stream over the
 * present, without what was taken. */
static int begin_anew(VsxKnn *knn) {
    vs_stream_close(knn->stream);
    knn->stream = NULL;
    int rc = skip_taken(knn);
    rc = rc == SQLITE_OK ? vsx_refresh(knn->vector) : rc;
    rc = rc == SQLITE_OK ? open_stream(knn) : rc;
    if (rc == SQLITE_OK && knn->admission.gate == VSX_GATE_NODES) {
        rc = vsx_admit_resolve(knn); /* other nodes */
    }
    return rc;
}

/* ---- candidates ------------------------------------------------------------------ */

/* *gone: a row that we have deleted since the search began is not given. */
static int distance_of(VsxKnn *knn, const VsHit *hit, sqlite3_int64 rowid, double *out,
                       int *gone) {
    return vsx_knn_moved(knn) ? vsx_stored_distance(knn, rowid, out, gone)
                              : vsx_hit_distance(knn, hit, rowid, out, gone);
}

static int take_hit(VsxKnn *knn, const VsHit *hit, int *moved) {
    const VsNode *node = NULL;
    VsStatus st = vs_stream_node(knn->stream, hit->node, &node);
    *moved = st == VS_MOVED;
    if (st != VS_OK) {
        return *moved ? SQLITE_OK : vsx_code(knn->vector->index, st);
    }
    VsxResult r = vsx_result(knn, node->rowid);
    if (knn->skip != NULL && vsx_rowmap_get(knn->skip, r.rowid) != NULL) {
        return SQLITE_OK;
    }
    int passes, known, gone = 0;
    int rc = vsx_admit_row(knn, hit->node, r.rowid, &passes, &known, &r.distance);
    if (rc == SQLITE_OK && passes && !known) {
        rc = distance_of(knn, hit, r.rowid, &r.distance, &gone);
    }
    if (rc != SQLITE_OK || !passes || gone || !vsx_within(&knn->bounds, r.distance)) {
        return rc;
    }
    return add_taken(knn, r);
}

/* 1 if a whole batch, whose nearest this is, lies beyond the upper bound. */
static int is_beyond(VsxKnn *knn, const VsHit *first, int *beyond) {
    const VsNode *node = NULL;
    double distance;
    int gone;
    *beyond = 0;
    if (knn->bounds.high == HUGE_VAL ||
        vs_stream_node(knn->stream, first->node, &node) != VS_OK) {
        return SQLITE_OK;
    }
    int rc = vsx_hit_distance(knn, first, node->rowid, &distance, &gone);
    *beyond = rc == SQLITE_OK && !gone && distance > knn->bounds.high;
    return rc;
}

/* Takes everything that was not taken from the rows themselves, one after the other: the
 * index cannot order vectors whose squares leave float32, and reading many rows one by
 * one costs more. */
static int take_rows(VsxKnn *knn) {
    VsxResults all = {0};
    int rc = vsx_scan_rows(knn, &all);
    knn->ended = 1;
    VsxRowmap *given = vsx_rowmap_new();
    rc = rc == SQLITE_OK && given == NULL ? SQLITE_NOMEM : rc;
    rc = rc == SQLITE_OK ? vsx_rowmap_reserve(given, knn->taken.n) : rc;
    for (size_t i = 0; rc == SQLITE_OK && i < knn->taken.n; i++) {
        vsx_rowmap_put(given, knn->taken.at[i].rowid, 0);
    }
    for (size_t i = 0; rc == SQLITE_OK && i < all.n; i++) {
        if (vsx_rowmap_get(given, all.at[i].rowid) == NULL) {
            rc = vsx_results_add(&knn->held, all.at[i]);
        }
    }
    vsx_rowmap_free(given);
    sqlite3_free(all.at);
    return rc;
}

static int pull(VsxKnn *knn, size_t want) {
    VsHit hits[LARGEST_BATCH];
    size_t n = 0;
    int moved = 0, beyond = 0, rc = SQLITE_OK;
    VsStatus st = vs_stream_next(knn->stream, want, hits, &n);
    if (st == VS_MOVED) {
        return begin_anew(knn);
    }
    knn->figures.batches++;
    knn->pulled += n;
    if (st != VS_OK) {
        return vsx_code(knn->vector->index, st);
    }
    if (n == 0) {
        knn->ended = knn->rested;
        return knn->rested ? SQLITE_OK : rest(knn);
    }
    if (vsx_leaves_float32(hits[0].order) || vsx_leaves_float32(hits[n - 1].order)) {
        return take_rows(knn);
    }
    rc = is_beyond(knn, &hits[0], &beyond);
    for (size_t i = 0; rc == SQLITE_OK && !moved && i < n; i++) {
        rc = take_hit(knn, &hits[i], &moved);
    }
    knn->ended = beyond;
    return rc == SQLITE_OK && moved ? begin_anew(knn) : rc;
}

/* Changes the method when the one at hand has cost too much. */
static int reconsider(VsxKnn *knn, size_t want) {
    VsxAdmission *a = &knn->admission;
    int rc = SQLITE_OK;
    if (a->gate == VSX_GATE_PROBE && a->probes > vsx_admit_patience(knn)) {
        if (vsx_knn_moved(knn)) {
            rc = begin_anew(knn);
        }
        rc = rc == SQLITE_OK ? vsx_admit_resolve(knn) : rc;
        if (rc == SQLITE_OK && !knn->rested && scan_is_cheaper(knn, want)) {
            rc = rest(knn);
        }
    }
    if (rc == SQLITE_OK && knn->k < 0 && !vsx_knn_moved(knn) &&
        knn->figures.reads >
            FEW_ROWS + knn->vector->graph->state.n_live / ROWS_PER_READ) {
        rc = take_rows(knn);
    }
    if (rc == SQLITE_OK && !knn->ended && !knn->rested &&
        (double)vs_stream_evaluations(knn->stream) >
            SCAN_COST * may_pass(knn) + FEW_ROWS) {
        rc = rest(knn);
    }
    return rc;
}

/* How many candidates to ask for so that about `missing` pass, by the share that passed
 * so far: rather too few, for each costs an expansion. */
static size_t candidates_for(const VsxKnn *knn, size_t missing) {
    double share = (double)(knn->taken.n + 1) / (double)(knn->pulled + 1);
    double want = (double)missing * (share < 0.75 ? 0.75 / share : 1);
    return want < 8 ? 8 : want > LARGEST_BATCH ? LARGEST_BATCH : (size_t)want;
}

/* Candidates until `need` are held. */
static int gather(VsxKnn *knn, size_t need) {
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && !knn->ended && knn->held.n < need) {
        size_t missing = need - knn->held.n;
        rc = reconsider(knn, missing);
        if (rc == SQLITE_OK && !knn->ended) {
            rc = pull(knn, candidates_for(knn, missing));
        }
    }
    return rc;
}

/* ---- giving ---------------------------------------------------------------------- */

static int reserve_result(VsxKnn *knn, size_t n) {
    VsxResult *grown = sqlite3_realloc64(knn->result, (n + 1) * sizeof *grown);
    if (grown == NULL) {
        return SQLITE_NOMEM;
    }
    knn->result = grown;
    return SQLITE_OK;
}

/* Gives the first n that are held, in order; the late ones wait, and come when the search
 * is over. */
static int give(VsxKnn *knn, size_t n) {
    vsx_results_sort(knn->held.at, knn->held.n);
    int rc = reserve_result(knn, n + knn->late.n + knn->held.n);
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        VsxResult r = knn->held.at[i];
        if (knn->begun && r.distance < knn->last.distance) {
            rc = vsx_results_add(&knn->late, r);
        } else {
            knn->result[knn->n++] = r;
            knn->last = r;
            knn->begun = 1;
        }
    }
    knn->held.n -= n;
    if (n > 0 && knn->held.n > 0) {
        memmove(knn->held.at, knn->held.at + n, knn->held.n * sizeof *knn->held.at);
    }
    if (rc == SQLITE_OK && knn->complete) {
        vsx_results_sort(knn->late.at, knn->late.n);
        rc = reserve_result(knn, knn->n + knn->late.n);
        for (size_t i = 0; rc == SQLITE_OK && i < knn->late.n; i++) {
            knn->result[knn->n++] = knn->late.at[i];
        }
    }
    return rc;
}

static void note(VsxKnn *knn) {
    const VsxAdmission *a = &knn->admission;
    VsxFigures *f = &knn->figures;
    int ranged = knn->bounds.high != HUGE_VAL;
    f->plan = knn->rested && a->gate != VSX_GATE_OPEN ? "exact scan"
              : ranged                                ? "range"
              : knn->k > 0                            ? "filtered walk"
                                                      : "stream";
    f->admitted = a->gate == VSX_GATE_NODES ? (sqlite3_int64)a->nodes->admit.count : -1;
    f->evaluations = vs_stream_evaluations(knn->stream);
    f->probes = a->probes;
    knn->vector->last_query = *f;
}

/* k, or everything within a bound, at once. */
static int more_at_once(VsxKnn *knn) {
    int everything = knn->k < 0 || (sqlite3_uint64)knn->k > INT_MAX;
    size_t k = everything ? 0 : (size_t)knn->k;
    int rc = gather(knn, everything ? SIZE_MAX : k + margin_of(knn, k));
    knn->complete = 1;
    rc = rc == SQLITE_OK ? give(knn, knn->held.n) : rc;
    if (knn->k >= 0 && knn->n > (sqlite3_uint64)knn->k) {
        knn->n = (size_t)knn->k;
    }
    return rc;
}

static int more_of_stream(VsxKnn *knn) {
    int rc = SQLITE_OK;
    knn->batch = knn->batch > 0 ? knn->batch : UNHINTED_BATCH;
    while (rc == SQLITE_OK && knn->n == 0 && !knn->complete) {
        size_t margin = margin_of(knn, UNHINTED_BATCH);
        rc = gather(knn, knn->batch + margin);
        knn->complete = knn->ended;
        size_t n = knn->complete          ? knn->held.n
                   : knn->held.n > margin ? knn->held.n - margin
                                          : 0;
        rc = rc == SQLITE_OK ? give(knn, n) : rc;
        size_t largest = knn->figures.reads > 0 ? LARGEST_READ : LARGEST_BATCH;
        knn->batch = knn->batch < largest ? knn->batch * 2 : knn->batch;
    }
    return rc;
}

int vsx_nearest_more(VsxKnn *knn) {
    int hinted = knn->batch > 0;
    int rc = knn->stream == NULL ? begin(knn) : SQLITE_OK;
    if (rc == SQLITE_OK) {
        rc = knn->k > 0 || (knn->bounds.high != HUGE_VAL && !hinted)
                 ? more_at_once(knn)
                 : more_of_stream(knn);
    }
    if (knn->stream != NULL) {
        note(knn);
    }
    return rc;
}
