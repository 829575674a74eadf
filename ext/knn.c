/*
 * The search behind a cursor: which one it is, and the simple ones.
 *
 *     rows    an exact scan of the stored vectors: exact = 1, and a single row
 *     walk    one shot for k without a filter
 *     the others are in nearest.c
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/codec.h"
#include "knn.h"
#include "rowmap.h"

static int compare_results(const void *a, const void *b) {
    const VsxResult *x = a, *y = b;
    if (x->distance != y->distance) {
        return x->distance < y->distance ? -1 : 1;
    }
    return x->rowid < y->rowid ? -1 : x->rowid > y->rowid;
}

void vsx_results_sort(VsxResult *r, size_t n) {
    if (n > 1) {
        qsort(r, n, sizeof *r, compare_results);
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
            *out = vs_metric_distance(p->metric, p->element, knn->query, v.v, p->dims);
            vsx_vector_free(&v);
        }
        return rc;
    }
    const void *blob = sqlite3_value_blob(value);
    if (blob == NULL ||
        (size_t)sqlite3_value_bytes(value) != vs_element_bytes(p->element, p->dims)) {
        return SQLITE_CORRUPT_VTAB;
    }
    *out = vs_metric_distance(p->metric, p->element, knn->query, blob, p->dims);
    return SQLITE_OK;
}

/* *gone: the row is not there, or has no vector. In a table of our own that is damage,
 * unless the stream has begun before a change; a content table can lose a row or its
 * vector without telling (content.c). */
int vsx_stored_distance(const VsxKnn *knn, sqlite3_int64 rowid, double *out, int *gone) {
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(knn->vector, VSX_SQL_VECTOR, &stmt);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, rowid);
        rc = sqlite3_step(stmt);
        int followed = knn->vector->index->def->content == NULL && !vsx_knn_moved(knn);
        *gone = rc == SQLITE_DONE ||
                (!followed && sqlite3_column_type(stmt, 0) == SQLITE_NULL);
        if (rc == SQLITE_ROW && !*gone) {
            rc = vsx_value_distance(knn, sqlite3_column_value(stmt, 0), out);
        } else if (*gone && followed) {
            rc = SQLITE_CORRUPT_VTAB;
        }
        rc = vsx_reset(stmt, rc);
    }
    return rc;
}

/* Where the code is the stored vector, the order tells the distance. */
int vsx_order_tells(const VsxKnn *knn, const VsHit *hit, double *out) {
    return knn->vector->index->def->content == NULL &&
           vs_order_tells(code_params(knn), hit->order, out);
}

int vsx_hit_distance(const VsxKnn *knn, const VsHit *hit, sqlite3_int64 rowid,
                     double *out, int *gone) {
    *gone = 0;
    return vsx_order_tells(knn, hit, out) ? SQLITE_OK
                                          : vsx_stored_distance(knn, rowid, out, gone);
}

static int take_hits(VsxKnn *knn, const VsHit *hits, size_t n) {
    knn->n = 0;
    for (size_t i = 0; i < n; i++) {
        const VsNode *node = NULL;
        VsxResult *r = &knn->result[knn->n];
        int gone = 0;
        VsStatus st = vs_node(knn->vector->graph, hits[i].node, &node);
        if (st != VS_OK) {
            return vsx_code(knn->vector->index, st);
        }
        r->rowid = node->rowid;
        int rc = vsx_hit_distance(knn, &hits[i], node->rowid, &r->distance, &gone);
        if (rc != SQLITE_OK) {
            return rc;
        }
        knn->n += !gone;
    }
    qsort(knn->result, knn->n, sizeof *knn->result, compare_results);
    return SQLITE_OK;
}

int vsx_scan_rows(VsxKnn *knn, VsxResults *out) {
    sqlite3_stmt *stmt = NULL;
    out->n = 0;
    int rc = vsx_filter_rows(&knn->filter, knn->vector, &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        VsxResult r = {0, sqlite3_column_int64(stmt, 0)};
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

/* Vectors so long that their squares overflow have no order in the index: ask the rows.
 */
static int leaves_float32(const VsHit *hits, size_t n) {
    int leaves = 0;
    for (size_t i = 0; i < n; i++) {
        leaves |= vsx_leaves_float32(hits[i].order);
    }
    return leaves;
}

/* The up to `want` nearest rows through the index. */
static int search_once(VsxKnn *knn, size_t want, size_t *gone) {
    VsxVector *v = knn->vector;
    VsQuery q;
    size_t n = 0, live = v->graph->state.n_live, wanted = want;
    want = v->graph->codec->candidates(want);
    want = want < live ? want : live;
    VsHit *hits = sqlite3_malloc64((want + 1) * sizeof *hits);
    VsxResult *result = sqlite3_realloc64(knn->result, (want + 1) * sizeof *result);
    knn->result = result == NULL ? knn->result : result;
    int rc = hits == NULL || result == NULL ? SQLITE_NOMEM : SQLITE_OK;
    if (rc == SQLITE_OK) {
        uint64_t before = vs_evaluations(v->graph);
        VsStatus st = vs_query_set(v->graph, knn->query, &q);
        st = st == VS_OK ? vs_search(v->graph, &q, want, knn->ef, NULL, hits, &n) : st;
        rc = vsx_code(v->index, st);
        v->last_query = (VsxFigures){.plan = "walk",
                                     .admitted = -1,
                                     .evaluations = vs_evaluations(v->graph) - before};
    }
    if (rc == SQLITE_OK && leaves_float32(hits, n)) {
        rc = scan_rows(knn, "rows");
        *gone = 0;
    } else if (rc == SQLITE_OK) {
        rc = take_hits(knn, hits, n);
        *gone = n - knn->n;
        knn->n = knn->n < wanted ? knn->n : wanted;
    }
    sqlite3_free(hits);
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

int vsx_knn_more(VsxKnn *knn) {
    VsxVector *v = knn->vector;
    knn->at = 0;
    knn->n = 0;
    if (knn->complete || knn->k == 0 || knn->nothing) {
        return SQLITE_OK;
    }
    if (knn->stream != NULL) {
        return vsx_nearest_more(knn); /* it keeps the snapshot that it began with */
    }
    int rc = vsx_refresh(v);
    if (rc != SQLITE_OK) {
        return rc;
    }
    knn->ef = knn->ef > 0 ? knn->ef : v->graph->state.ef_search;
    if (knn->exact) {
        return scan_rows(knn, "rows");
    }
    if (knn->k > 0 && vsx_filter_is_empty(&knn->filter) && knn->bounds.low == -HUGE_VAL) {
        knn->complete = 1;
        return search(knn, (sqlite3_uint64)knn->k < SIZE_MAX ? (size_t)knn->k : SIZE_MAX);
    }
    return vsx_nearest_more(knn);
}
