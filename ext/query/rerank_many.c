/* Distances for many queries; see rerank_many.h. */
#include "ext/query/rerank_many.h"

#include "csrc/kernel/batch.h"
#include "ext/query/row_prefetch.h"
#include "ext/table/errors.h"

#include <math.h>
#include <string.h>

/* A row that a query wants: candidate `at` of query `who`. */
typedef struct VsxRead {
    VsxNodeRow row;
    uint32_t who, at;
} VsxRead;

#define UNREAD NAN /* the distance of a candidate whose row was not read */

/* In order of rowid: not by comparisons, which took a twentieth of a batch. */
static const VsKeyed *sort_reads(VsxReads *reads) {
    for (size_t i = 0; i < reads->n; i++) {
        sqlite3_uint64 rowid = (sqlite3_uint64)reads->at[i].row.rowid;
        reads->keys[i] = (VsKeyed){rowid, (uint32_t)i};
    }
    return vs_sort_keyed(reads->keys, reads->keys + reads->n, reads->n);
}

static int grow(void **at, size_t bytes) {
    void *grown = sqlite3_realloc64(*at, bytes);
    *at = grown != NULL ? grown : *at;
    return grown != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int add_read(VsxReads *reads, VsxRead read) {
    if (reads->n == reads->cap) {
        size_t cap = reads->cap == 0 ? 1024 : reads->cap * 2;
        VSX_TRY(grow((void **)&reads->at, cap * sizeof *reads->at));
        VSX_TRY(grow((void **)&reads->keys, 2 * cap * sizeof *reads->keys));
        reads->cap = cap;
    }
    reads->at[reads->n++] = read;
    return SQLITE_OK;
}

static void set_distance(const VsxVector *v, VsxAsked *a, size_t i, const void *vector) {
    a->row[i].distance = vsx_distance(v, a->query, vector);
    vsx_errors_add(&a->errors, &a->found[i], a->row[i].distance);
}

/* Wants the rows of those candidates from..n of a query whose order does not tell the
 * distance, and that can be nearer than `limit`. */
static int want_rows(VsxVector *v, VsxReader *reader, VsxAsked *asked, uint32_t who,
                     size_t from, size_t to, double limit, VsxReads *reads) {
    VsxAsked *a = &asked[who];
    const VsxCache *cache = vsx_reader_cache(reader, v);
    VsxErrors errors = a->errors; /* of the rows before these */
    int own = v->index->def->content == NULL, rc = SQLITE_OK;
    for (size_t i = from; rc == SQLITE_OK && i < to && !a->lost; i++) {
        const VsCandidate *c = &a->found[i];
        const VsNode *node = NULL;
        a->row[i].distance = UNREAD;
        if ((double)c->low > limit || vsx_errors_rule_out(&errors, c, limit)) {
            continue;
        }
        VsStatus st = vs_node(v->graph, c->node, &node);
        if (st != VS_OK) {
            return vsx_code(v->index, st);
        }
        a->row[i] = (VsxResult){UNREAD, vsx_tie(&reads->ties, node->rowid), node->rowid};
        a->lost = vsx_leaves_float32(c->order);
        if (own && vsx_order_distance(v, c->order, &a->row[i].distance)) {
            continue;
        }
        const void *kept =
            cache != NULL ? vsx_cache_get(cache, c->node, node->seq) : NULL;
        if (kept != NULL) {
            set_distance(v, a, i, kept);
        } else {
            VsxNodeRow row = {node->rowid, c->node, node->seq};
            rc = add_read(reads, (VsxRead){row, who, (uint32_t)i});
        }
    }
    return rc;
}

static int prefetch_rows(VsxVector *v, const VsxReads *reads, const VsKeyed *order,
                         size_t from) {
    sqlite3_int64 rowid[VSX_PREFETCH];
    size_t n = 0;
    while (n < VSX_PREFETCH && from + n < reads->n) {
        rowid[n] = reads->at[order[from + n].item].row.rowid;
        n++;
    }
    return vsx_rows_prefetch(v, rowid, n);
}

static int read_rows(VsxVector *v, VsxReader *reader, VsxAsked *asked, VsxReads *reads) {
    const void *stored = NULL;
    int rc = SQLITE_OK, read;
    const VsKeyed *order = sort_reads(reads);
    for (size_t i = 0; rc == SQLITE_OK && i < reads->n; i++) {
        const VsxRead *r = &reads->at[order[i].item];
        VsxAsked *a = &asked[r->who];
        if (i % VSX_PREFETCH == 0) { /* while these are read, the next ones come */
            rc = prefetch_rows(v, reads, order, i + VSX_PREFETCH);
        }
        if (rc == SQLITE_OK && (i == 0 || order[i].key != order[i - 1].key)) {
            rc = vsx_reader_node(reader, v, r->row, &stored, &read);
        }
        if (rc == SQLITE_OK && stored == NULL) {
            a->lost = 1;
            rc = v->index->def->content == NULL ? SQLITE_CORRUPT_VTAB : SQLITE_OK;
        } else if (rc == SQLITE_OK) {
            set_distance(v, a, r->at, stored);
        }
    }
    reads->n = 0;
    return rc;
}

/* Leaves the rows whose distance is known, sorted. */
static void sort_rows(VsxAsked *a, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (!isnan(a->row[i].distance)) {
            a->row[a->n_row++] = a->row[i];
        }
    }
    vsx_results_sort(a->row, a->n_row);
}

static size_t first_of(const VsxAsked *a, size_t k) {
    return a->n < k ? a->n : k;
}

/* Leaves the first k. */
static void keep_first(VsxAsked *a, size_t k) {
    if (a->n_row > k) {
        a->lost = !a->proven && a->row[k].distance == a->row[k - 1].distance;
        a->n_row = k;
    }
}

/* What the next of n queries need comes while one is looked at: nodes, then vectors. */
static VsStatus prefetch_next(VsxVector *v, VsxReader *reader, const VsxAsked *a,
                              size_t n, size_t k) {
    VsStatus st =
        n > 0 ? vsx_prefetch_cached(v, reader, a[0].found, first_of(a, k)) : VS_OK;
    for (size_t i = 0; st == VS_OK && n > 1 && i < first_of(a + 1, k); i++) {
        const VsNode *node = NULL;
        st = vs_node(v->graph, a[1].found[i].node, &node);
        if (st == VS_OK) {
            VS_PREFETCH_FAR(node);
        }
    }
    return st;
}

int vsx_rerank_many(VsxVector *v, VsxReader *reader, VsxAsked *asked, size_t n, size_t k,
                    VsxReads *reads) {
    int rc = vsx_ties_open(v->index, &reads->ties);
    reads->n = 0;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        asked[i].errors = (VsxErrors){0};
        asked[i].lost = 0;
        asked[i].n_row = 0;
        VsStatus st = prefetch_next(v, reader, asked + i + 1, n - i - 1, k);
        if (st != VS_OK) {
            return vsx_code(v->index, st);
        }
        rc = want_rows(v, reader, asked, (uint32_t)i, 0, first_of(&asked[i], k), HUGE_VAL,
                       reads);
    }
    rc = rc == SQLITE_OK ? read_rows(v, reader, asked, reads) : rc;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        VsxAsked *a = &asked[i];
        size_t first = first_of(a, k);
        if (!a->lost && first > 0) {
            sort_rows(a, 0, first);
            rc = want_rows(v, reader, asked, (uint32_t)i, first, a->n,
                           a->row[first - 1].distance, reads);
        }
    }
    rc = rc == SQLITE_OK ? read_rows(v, reader, asked, reads) : rc;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        VsxAsked *a = &asked[i];
        if (!a->lost && a->n > k) {
            sort_rows(a, k, a->n);
            keep_first(a, k);
        }
    }
    return rc;
}
