/* One search: its results, the distances of stored rows, and a scan of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/codec/codec.h"
#include "ext/query/knn.h"
#include "ext/base/rowmap.h"
#include "ext/table/loader.h"
#include "ext/txn/txn.h"
#include "ext/query/filter.h"

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
        vs_free(&knn->vector->graph->alloc, knn->round.found.at);
    }
    vsx_reader_free(&knn->reader);
    sqlite3_free(knn->query);
    sqlite3_free(knn->result.at);
    sqlite3_free(knn->held.at);
    vsx_rowmap_free(knn->taken);
    vsx_filter_clear(&knn->filter);
    memset(knn, 0, sizeof *knn);
    knn->bounds = (VsxBounds){.low = -HUGE_VAL, .high = HUGE_VAL};
    knn->k = -1;
    knn->want = VSX_ALL;
}

int vsx_within(const VsxBounds *b, double distance) {
    return (b->above ? distance > b->low : distance >= b->low) &&
           (b->below ? distance < b->high : distance <= b->high);
}

static const VsCodecParams *code_params(const VsxKnn *knn) {
    return &knn->vector->graph->params.code;
}

int vsx_knn_changed(const VsxKnn *knn) {
    return knn->vector->graph->changes != knn->changes;
}

int vsx_knn_moved(const VsxKnn *knn) {
    return knn->moved || vsx_knn_changed(knn);
}

/* Distance to a stored vector: our own blob, or whatever a content table holds. */
int vsx_value_distance(const VsxKnn *knn, sqlite3_value *value, double *out) {
    const VsCodecParams *p = code_params(knn);
    if (knn->vector->index->def->content != NULL) {
        VsxVec v = {0};
        int rc = vsx_stored_vector(knn->vector, value, &v, NULL);
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
 * unless the search began before a change; a content table can lose a row or its
 * vector without telling (ext/content). */
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

VsxResult vsx_result(const VsxKnn *knn, sqlite3_int64 rowid) {
    return (VsxResult){.tie = vsx_tie(&knn->ties, rowid), .rowid = rowid};
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

int vsx_leaves_float32(float order) {
    return order < -1e37f || order > 1e37f;
}

static int more(VsxKnn *knn) {
    VsxVector *v = knn->vector;
    int rc = vsx_refresh(v);
    rc = rc == SQLITE_OK ? vsx_ties_open(v->index, &knn->ties) : rc;
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (knn->figures.plan == NULL) { /* the first time */
        knn->changes = v->graph->changes;
    }
    knn->ef = knn->ef > 0 ? knn->ef : v->graph->state.ef_search;
    if (knn->single) { /* one row needs no index */
        knn->figures.plan = "rows";
        rc = vsx_nearest_rows(knn);
        knn->figures.admitted = (sqlite3_int64)knn->result.n;
    } else {
        rc = vsx_nearest(knn);
    }
    v->last_query = knn->figures;
    return rc;
}

int vsx_knn_more(VsxKnn *knn) {
    knn->complete |= knn->want == 0 || knn->nothing;
    int rc = knn->complete ? SQLITE_OK : more(knn);
    vsx_reader_rest(&knn->reader);
    if (knn->complete) {
        vsx_admit_close(knn);
    }
    return rc;
}
