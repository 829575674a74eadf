/*
 * The search behind a cursor: one shot for k, a stream of batches without, an exact scan
 * of the stored vectors for exact = 1 and for a single row.
 *
 * A stream begins with a batch of the size that LIMIT hints at and doubles. Every batch
 * is a new search of the graph as it is then, minus what was given: so it survives any
 * change between two rows. Rows that a later batch finds nearer than the last one given
 * wait for the final batch, which is the exact scan of everything: a stream that stops
 * early is in strict order, one that runs to its end is complete.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/codec.h"
#include "ext.h"
#include "rowmap.h"

static int compare_results(const void *a, const void *b) {
    const VsxResult *x = a, *y = b;
    if (x->distance != y->distance) {
        return x->distance < y->distance ? -1 : 1;
    }
    return x->rowid < y->rowid ? -1 : x->rowid > y->rowid;
}

void vsx_knn_clear(VsxKnn *knn) {
    sqlite3_free(knn->query);
    sqlite3_free(knn->result);
    vsx_rowmap_free(knn->given);
    vsx_filter_clear(&knn->filter);
    memset(knn, 0, sizeof *knn);
}

static const VsCodecParams *code_params(const VsxKnn *knn) {
    return &knn->vector->graph->params.code;
}

/* Distance to a stored vector: our own blob, or whatever a content table holds. */
static int value_distance(const VsxKnn *knn, sqlite3_value *value, double *out) {
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

/* *gone: the row is not there, or has no vector. In a table of our own that is damage; a
 * content table can lose a row or its vector without telling (content.c). */
static int stored_distance(const VsxKnn *knn, sqlite3_int64 rowid, double *out,
                           int *gone) {
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(knn->vector, VSX_SQL_VECTOR, &stmt);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, rowid);
        rc = sqlite3_step(stmt);
        int followed = knn->vector->index->def->content == NULL;
        *gone = rc == SQLITE_DONE ||
                (!followed && sqlite3_column_type(stmt, 0) == SQLITE_NULL);
        if (rc == SQLITE_ROW && !*gone) {
            rc = value_distance(knn, sqlite3_column_value(stmt, 0), out);
        } else if (*gone && followed) {
            rc = SQLITE_CORRUPT_VTAB;
        }
        rc = vsx_reset(stmt, rc);
    }
    return rc;
}

/* The distance of a hit. Where the code is the stored vector, the order tells it. */
static int hit_distance(const VsxKnn *knn, const VsHit *hit, sqlite3_int64 rowid,
                        double *out, int *gone) {
    *gone = 0;
    if (knn->vector->index->def->content == NULL &&
        vs_order_tells(code_params(knn), hit->order, out)) {
        return SQLITE_OK;
    }
    return stored_distance(knn, rowid, out, gone);
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
        int rc = hit_distance(knn, &hits[i], node->rowid, &r->distance, &gone);
        if (rc != SQLITE_OK) {
            return rc;
        }
        knn->n += !gone;
    }
    qsort(knn->result, knn->n, sizeof *knn->result, compare_results);
    return SQLITE_OK;
}

/* Every admitted row by its stored vector, sorted; for k the first k. */
static int scan_rows(VsxKnn *knn) {
    sqlite3_stmt *stmt = NULL;
    size_t cap = 0;
    knn->n = 0;
    int rc = vsx_filter_rows(&knn->filter, knn->vector, &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        VsxResult r = {0, sqlite3_column_int64(stmt, 0)};
        rc = SQLITE_OK;
        if (!vsx_filter_has(&knn->filter, r.rowid)) {
            continue;
        }
        if (knn->n == cap) {
            cap = cap == 0 ? 64 : cap * 2;
            VsxResult *grown = sqlite3_realloc64(knn->result, cap * sizeof *grown);
            if (grown == NULL) {
                rc = SQLITE_NOMEM;
                break;
            }
            knn->result = grown;
        }
        rc = value_distance(knn, sqlite3_column_value(stmt, 1), &r.distance);
        knn->result[knn->n++] = r;
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_DONE ? final : rc;
    if (rc == SQLITE_OK && knn->n > 0) {
        qsort(knn->result, knn->n, sizeof *knn->result, compare_results);
    }
    return rc;
}

/* Vectors so long that their squares overflow have no order in the index: ask the rows.
 */
static int leaves_float32(const VsHit *hits, size_t n) {
    int leaves = 0;
    for (size_t i = 0; i < n; i++) {
        leaves |= hits[i].order < -1e37f || hits[i].order > 1e37f;
    }
    return leaves;
}

/* The up to `want` nearest admitted rows through the index. */
static int search_once(VsxKnn *knn, size_t want, size_t *gone) {
    VsxVector *v = knn->vector;
    VsAdmit admit = {0};
    VsQuery q;
    size_t n = 0, live = v->graph->state.n_live, wanted = want;
    want = v->graph->codec->candidates(want);
    int filtered = !vsx_filter_is_empty(&knn->filter);
    int rc = filtered ? vsx_filter_nodes(&knn->filter, v, &admit) : SQLITE_OK;
    want = want < live ? want : live;
    VsHit *hits = sqlite3_malloc64((want + 1) * sizeof *hits);
    VsxResult *result = sqlite3_realloc64(knn->result, (want + 1) * sizeof *result);
    knn->result = result == NULL ? knn->result : result;
    rc = rc == SQLITE_OK && (hits == NULL || result == NULL) ? SQLITE_NOMEM : rc;
    if (rc == SQLITE_OK) {
        VsStatus st = vs_query_set(v->graph, knn->query, &q);
        knn->ef = knn->ef > 0 ? knn->ef : v->graph->state.ef_search;
        st = st == VS_OK ? vs_search(v->graph, &q, want, knn->ef,
                                     filtered ? &admit : NULL, hits, &n)
                         : st;
        rc = vsx_code(v->index, st);
    }
    if (rc == SQLITE_OK && leaves_float32(hits, n)) {
        rc = scan_rows(knn);
        knn->n = knn->n < want ? knn->n : want;
        *gone = 0;
    } else if (rc == SQLITE_OK) {
        rc = take_hits(knn, hits, n);
        *gone = n - knn->n;
        knn->n = knn->n < wanted ? knn->n : wanted;
    }
    sqlite3_free(hits);
    sqlite3_free((void *)(size_t)admit.words);
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

/* Of a new batch: what was not given and may be given now, in order. In the last batch
 * the rows that came too late follow all others. */
static int keep_new(VsxKnn *knn) {
    size_t kept = 0, late = 0;
    VsxResult *held = sqlite3_malloc64((knn->n + 1) * sizeof *held);
    if (held == NULL || vsx_rowmap_reserve(knn->given, knn->n) != SQLITE_OK) {
        sqlite3_free(held);
        return SQLITE_NOMEM;
    }
    int first = vsx_rowmap_count(knn->given) == 0;
    for (size_t i = 0; i < knn->n; i++) {
        VsxResult r = knn->result[i];
        if (vsx_rowmap_get(knn->given, r.rowid) != NULL) {
            continue;
        }
        if (first || r.distance >= knn->last.distance) {
            knn->result[kept++] = r;
        } else if (knn->complete) {
            held[late++] = r;
        }
    }
    memcpy(knn->result + kept, held, late * sizeof *held);
    sqlite3_free(held);
    for (size_t i = 0; i < kept + late; i++) {
        vsx_rowmap_put(knn->given, knn->result[i].rowid, 0);
    }
    knn->last = kept > 0 ? knn->result[kept - 1] : knn->last;
    knn->n = kept + late;
    return SQLITE_OK;
}

static int stream_batch(VsxKnn *knn) {
    if (knn->given == NULL && (knn->given = vsx_rowmap_new()) == NULL) {
        return SQLITE_NOMEM;
    }
    int rc = SQLITE_OK;
    knn->n = 0;
    while (rc == SQLITE_OK && knn->n == 0 && !knn->complete) {
        size_t want = vsx_rowmap_count(knn->given) + knn->batch;
        /* a batch that is a good part of the table costs a scan: then scan, and be done
         */
        knn->complete = want >= knn->vector->graph->state.n_live / 4;
        rc = search(knn, knn->complete ? SIZE_MAX : want);
        knn->complete |= knn->n < want; /* there are no more */
        rc = rc == SQLITE_OK ? keep_new(knn) : rc;
        knn->batch *= 2;
    }
    return rc;
}

int vsx_knn_more(VsxKnn *knn) {
    knn->at = 0;
    knn->n = 0;
    if (knn->complete || knn->k == 0) {
        return SQLITE_OK;
    }
    int rc = vsx_refresh(knn->vector);
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (knn->exact) {
        knn->complete = 1;
        rc = scan_rows(knn);
        if (knn->k > 0 && knn->n > (sqlite3_uint64)knn->k) {
            knn->n = (size_t)knn->k;
        }
        return rc;
    }
    if (knn->k > 0) {
        knn->complete = 1;
        return search(knn, (sqlite3_uint64)knn->k < SIZE_MAX ? (size_t)knn->k : SIZE_MAX);
    }
    return stream_batch(knn);
}
