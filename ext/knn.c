/*
 * The search behind a cursor: which one it is, and the simple ones.
 *
 *     rows    an exact scan of the stored vectors: exact = 1, and a single row
 *     scan    one shot for k without a filter: bounds of all codes, then rows (rerank.c)
 *     walk    the same through the graph
 *             LIMIT says how many rows a stream is likely to give: these come in one shot
 *             too, and a stream follows only if more are asked for
 *     the others are in nearest.c
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/codec.h"
#include "../csrc/scan.h"
#include "knn.h"
#include "rowmap.h"

int vsx_results_compare(const void *a, const void *b) {
    const VsxResult *x = a, *y = b;
    if (x->distance != y->distance) {
        return x->distance < y->distance ? -1 : 1;
    }
    if (x->tie != y->tie) {
        return x->tie < y->tie ? -1 : 1;
    }
    return x->rowid < y->rowid ? -1 : x->rowid > y->rowid;
}

void vsx_results_sort(VsxResult *r, size_t n) {
    if (n > 1) {
        qsort(r, n, sizeof *r, vsx_results_compare);
    }
}

int vsx_results_add(VsxResults *list, VsxResult r) {
    if (list->n == list->cap) {
        size_t cap = list->cap == 0 ? 64 : list->cap * 2;
        VsxResult *grown = sqlite3_realloc64(list->at, cap * sizeof *grown);
        if (grown == NULL) {
            return SQLITE_NOMEM;
        }
        list->at = grown;
        list->cap = cap;
    }
    list->at[list->n++] = r;
    return SQLITE_OK;
}

void vsx_knn_clear(VsxKnn *knn) {
    if (knn->vector != NULL) {
        vsx_admit_close(knn);
    }
    vs_stream_close(knn->stream);
    vsx_reader_free(&knn->reader);
    sqlite3_free(knn->query);
    sqlite3_free(knn->result);
    sqlite3_free(knn->held.at);
    sqlite3_free(knn->late.at);
    sqlite3_free(knn->taken.at);
    vsx_rowmap_free(knn->skip);
    vsx_filter_clear(&knn->filter);
    memset(knn, 0, sizeof *knn);
    knn->bounds = (VsxBounds){.low = -HUGE_VAL, .high = HUGE_VAL};
}

int vsx_within(const VsxBounds *b, double distance) {
    return (b->above ? distance > b->low : distance >= b->low) &&
           (b->below ? distance < b->high : distance <= b->high);
}

static const VsCodecParams *code_params(const VsxKnn *knn) {
    return &knn->vector->graph->params.code;
}

int vsx_knn_moved(const VsxKnn *knn) {
    return knn->stream != NULL && vs_stream_moved(knn->stream);
}

/* Distance to a stored vector: our own blob, or whatever a content table holds. */
int vsx_value_distance(const VsxKnn *knn, sqlite3_value *value, double *out) {
    const VsCodecParams *p = code_params(knn);
    if (knn->vector->index->def->content != NULL) {
        VsxVec v = {0};
        int rc = vsx_stored_vector(knn->vector, value, &v);
        if (rc == SQLITE_OK) {
            *out = vsx_distance(knn->vector, knn->query, v.v);
            vsx_vector_free(&v);
        }
        return rc;
    }
    const void *blob = sqlite3_value_blob(value);
    if (blob == NULL ||
        (size_t)sqlite3_value_bytes(value) != vs_element_bytes(p->element, p->dims)) {
        return SQLITE_CORRUPT_VTAB;
    }
    *out = vsx_distance(knn->vector, knn->query, blob);
    return SQLITE_OK;
}

/* *gone: the row is not there, or has no vector. In a table of our own that is damage,
 * unless the stream has begun before a change; a content table can lose a row or its
 * vector without telling (content.c). */
int vsx_stored_distance(VsxKnn *knn, sqlite3_int64 rowid, double *out, int *gone) {
    const void *stored = NULL;
    knn->figures.reads++;
    int rc = vsx_reader_get(&knn->reader, knn->vector, rowid, &stored);
    *gone = rc == SQLITE_OK && stored == NULL;
    if (*gone && knn->vector->index->def->content == NULL && !vsx_knn_moved(knn)) {
        return SQLITE_CORRUPT_VTAB;
    }
    if (rc == SQLITE_OK && !*gone) {
        *out = vsx_distance(knn->vector, knn->query, stored);
    }
    return rc;
}

/* Where the code is the stored vector, the order tells the distance. */
int vsx_order_tells(const VsxKnn *knn, const VsHit *hit, double *out) {
    return knn->vector->index->def->content == NULL &&
           vsx_order_distance(knn->vector, hit->order, out);
}

VsxResult vsx_result(const VsxKnn *knn, sqlite3_int64 rowid) {
    return (VsxResult){.tie = vsx_tie(&knn->ties, rowid), .rowid = rowid};
}

int vsx_hit_distance(VsxKnn *knn, const VsHit *hit, sqlite3_int64 rowid, double *out,
                     int *gone) {
    *gone = 0;
    return vsx_order_tells(knn, hit, out) ? SQLITE_OK
                                          : vsx_stored_distance(knn, rowid, out, gone);
}

int vsx_scan_rows(VsxKnn *knn, VsxResults *out) {
    sqlite3_stmt *stmt = NULL;
    out->n = 0;
    int rc = vsx_filter_rows(&knn->filter, knn->vector, &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        VsxResult r = vsx_result(knn, sqlite3_column_int64(stmt, 0));
        rc = SQLITE_OK;
        if (vsx_filter_has(&knn->filter, r.rowid)) {
            rc = vsx_value_distance(knn, sqlite3_column_value(stmt, 1), &r.distance);
            if (rc == SQLITE_OK && vsx_within(&knn->bounds, r.distance)) {
                rc = vsx_results_add(out, r);
            }
        }
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_DONE ? final : rc;
    vsx_results_sort(out->at, out->n);
    return rc;
}

/* The first k of a scan of the rows. */
static int scan_rows(VsxKnn *knn, const char *plan) {
    VsxResults all = {0};
    int rc = vsx_scan_rows(knn, &all);
    sqlite3_free(knn->result);
    knn->result = all.at;
    knn->n = knn->k >= 0 && (sqlite3_uint64)knn->k < all.n ? (size_t)knn->k : all.n;
    knn->complete = 1;
    knn->vector->last_query =
        (VsxFigures){.plan = plan, .admitted = (sqlite3_int64)all.n};
    return rc;
}

int vsx_leaves_float32(float order) {
    return order < -1e37f || order > 1e37f;
}

/* What the graph knows of the nearest: after a scan every row that can be among `want`,
 * proven; after a walk likely ones. */
static int find_candidates(VsxKnn *knn, size_t want, VsCandidate **found, size_t *n) {
    VsGraph *g = knn->vector->graph;
    VsQuery q;
    VsStatus st = vs_query_set(g, knn->query, &q);
    int bounded = g->params.code.codec != VS_CODEC_PQ; /* its bounds admit too many */
    if (st == VS_OK && bounded &&
        (knn->exact || vs_search_scans(g, want, knn->ef, NULL))) {
        knn->vector->last_query.plan = "scan";
        st = vs_scan_candidates(g, &q, want, NULL, found, n);
        return vsx_code(knn->vector->index, st);
    }
    size_t room = g->codec->candidates(want);
    room = room < g->state.n_live ? room : g->state.n_live;
    VsHit *hits = sqlite3_malloc64((room + 1) * sizeof *hits);
    VsCandidate *likely = sqlite3_malloc64((room + 1) * sizeof *likely);
    st = st == VS_OK && (hits == NULL || likely == NULL) ? VS_NOMEM : st;
    st = st == VS_OK ? vs_search(g, &q, room, knn->ef, NULL, hits, n) : st;
    st = st == VS_OK ? vsx_likely(g, &q, hits, *n, likely) : st;
    sqlite3_free(hits);
    if (st != VS_OK) {
        sqlite3_free(likely);
        return vsx_code(knn->vector->index, st);
    }
    *found = likely;
    return SQLITE_OK;
}

/* The up to `want` nearest rows through the index. */
static int search_once(VsxKnn *knn, size_t want, size_t *gone) {
    VsxVector *v = knn->vector;
    VsCandidate *found = NULL;
    size_t n = 0, live = v->graph->state.n_live, room = want < live ? want : live;
    VsxResult *result = sqlite3_realloc64(knn->result, (room + 1) * sizeof *result);
    knn->result = result == NULL ? knn->result : result;
    uint64_t before = vs_evaluations(v->graph);
    v->last_query = (VsxFigures){.plan = "walk", .admitted = -1};
    int rc = result == NULL ? SQLITE_NOMEM : find_candidates(knn, room, &found, &n);
    v->last_query.evaluations = vs_evaluations(v->graph) - before;
    rc = rc == SQLITE_OK ? vsx_rerank(knn, found, n, room, gone) : rc;
    v->last_query.reads = knn->figures.reads;
    sqlite3_free(found);
    return rc;
}

/* The same, asking for more until `want` rows are there that a content table still has.
 */
static int search(VsxKnn *knn, size_t want) {
    size_t ask = want, gone = 0;
    int rc = search_once(knn, ask, &gone);
    while (rc == SQLITE_OK && gone > 0 && knn->n < want &&
           ask < knn->vector->graph->state.n_live) {
        ask = want + 2 * gone;
        rc = search_once(knn, ask, &gone);
    }
    knn->n = knn->n < want ? knn->n : want;
    return rc;
}

static int search_k(VsxKnn *knn) {
    knn->complete = 1;
    int rc = search(knn, (sqlite3_uint64)knn->k < SIZE_MAX ? (size_t)knn->k : SIZE_MAX);
    while (knn->n > 0 && !vsx_within(&knn->bounds, knn->result[knn->n - 1].distance)) {
        knn->n--;
    }
    return rc;
}

/* The batch that LIMIT hints at. Fewer rows are all that there are. */
static int search_hinted(VsxKnn *knn) {
    int rc = search(knn, knn->batch);
    knn->complete = knn->n < knn->batch;
    knn->begun = 1;
    return rc;
}

static int more(VsxKnn *knn) {
    VsxVector *v = knn->vector;
    size_t given = knn->n;
    knn->at = 0;
    knn->n = 0;
    if (knn->complete || knn->k == 0 || knn->nothing) {
        return SQLITE_OK;
    }
    if (knn->stream != NULL) {
        return vsx_nearest_more(knn); /* it keeps the snapshot that it began with */
    }
    int rc = vsx_refresh(v);
    rc = rc == SQLITE_OK ? vsx_ties_open(v->index, &knn->ties) : rc;
    if (rc != SQLITE_OK) {
        return rc;
    }
    knn->ef = knn->ef > 0 ? knn->ef : v->graph->state.ef_search;
    int all = vsx_filter_is_empty(&knn->filter) && knn->bounds.low == -HUGE_VAL;
    int open = all && knn->k > 0;
    /* Codes prune a search for the k nearest of all rows. Few pass a filter; a content
     * table can change without telling; bounds of pq admit too many. */
    if (knn->exact &&
        (!open || knn->bounds.high != HUGE_VAL || v->index->def->content != NULL ||
         v->graph->params.code.codec == VS_CODEC_PQ)) {
        return scan_rows(knn, "rows");
    }
    if (open) {
        return search_k(knn);
    }
    if (all && knn->batch > 0 && knn->bounds.high == HUGE_VAL && !knn->begun) {
        return search_hinted(knn);
    }
    rc = knn->begun ? vsx_nearest_after(knn, given) : SQLITE_OK;
    return rc == SQLITE_OK ? vsx_nearest_more(knn) : rc;
}

int vsx_knn_more(VsxKnn *knn) {
    int rc = more(knn);
    vsx_reader_rest(&knn->reader);
    return rc;
}
