/*
 * Which rows a filter admits.
 *
 * To resolve a filter is to let SQLite run it over the row table and note the node of each
 * row that passes: half a microsecond a row. For a filter that most rows pass that costs
 * more than the whole search, and a walk meets admitted rows soon anyway. So, in this
 * order:
 *
 *   a set of rowids that is small is resolved, row by row; a large one is asked as it is;
 *   a filter that a b-tree serves is resolved if it admits at most `enough` rows, which
 *   are counted first (a tenth of the price where the b-tree alone tells it);
 *   otherwise each candidate is probed: "does row 17 pass?", which gives its vector too;
 *   when so many probes did not suffice the filter is resolved after all.
 *
 * The last filter that was resolved is kept with its index. A later statement uses it only
 * outside of transactions, while total_changes, the data version of the file and the stamp
 * of the graph are what they were: then no row can have changed. A filter with LIKE or
 * GLOB is not kept, for those are functions that can be replaced.
 */
#include <string.h>

#include "ext/query/knn.h"
#include "ext/base/rowmap.h"
#include "ext/table/shadow.h"
#include "ext/txn/txn.h"
#include "ext/query/filter.h"

/* Probes cost some 2 us and a candidate each, resolving 0.1 us for a row that fails. */
#define ROWS_PER_PROBE 64
#define FEWEST_PROBES 128

uint64_t vsx_admit_patience(const VsxKnn *knn) {
    uint64_t live = knn->vector->graph->state.n_live, rows = live / ROWS_PER_PROBE,
             least = knn->want < live ? 4 * (uint64_t)knn->want : FEWEST_PROBES;
    least = least < FEWEST_PROBES ? FEWEST_PROBES : least;
    return rows < least ? least : rows;
}

/* ---- shapes ---------------------------------------------------------------------- */

static void shape_free(VsxShape *s) {
    if (s != NULL) {
        sqlite3_finalize(s->probe);
        sqlite3_finalize(s->count);
        sqlite3_finalize(s->resolve);
        sqlite3_free(s->terms);
        sqlite3_free(s);
    }
}

/* "SEARCH r USING INDEX ..." and not "SCAN r". */
static int plan_searches(VsxVector *v, const char *terms, int *searched) {
    int rc;
    sqlite3_stmt *stmt =
        vsx_prepare(v->index, &rc,
                    sqlite3_mprintf("EXPLAIN QUERY PLAN SELECT 1 FROM %s r WHERE 1%s",
                                    v->index->rows, terms));
    if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(stmt, 3);
        *searched = detail != NULL && strncmp(detail, "SCAN", 4) != 0;
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? final : rc;
}

static int shape_new(VsxVector *v, char *terms, VsxShape **out) {
    const VsxIndex *i = v->index;
    const char *column = i->def->column[i->def->vector[v->number]].source,
               *key = vsx_rowid_name(i->def);
    VsxShape *s = sqlite3_malloc64(sizeof *s);
    if (s == NULL) {
        sqlite3_free(terms);
        return SQLITE_NOMEM;
    }
    *s = (VsxShape){.terms = terms};
    int rc = plan_searches(v, terms, &s->searched);
    if (rc == SQLITE_OK) {
        s->probe = vsx_prepare(v->index, &rc,
                               sqlite3_mprintf("SELECT r.%s FROM %s r WHERE r.%s = ?1%s",
                                               column, i->rows, key, terms));
    }
    if (rc == SQLITE_OK) {
        s->count = vsx_prepare(v->index, &rc,
                               sqlite3_mprintf("SELECT count(*) FROM (SELECT 1 FROM %s r "
                                               "WHERE 1%sLIMIT ?1)",
                                               i->rows, terms));
    }
    if (rc == SQLITE_OK) {
        s->resolve = vsx_prepare(
            v->index, &rc,
            sqlite3_mprintf("SELECT r.%s, m.node FROM %s r LEFT JOIN "
                            "\"%w\".\"%w_map%d\" m ON m.rowid = r.%s "
                            "WHERE ?1 IS NULL%s",
                            key, i->rows, i->schema, i->table, v->number, key, terms));
    }
    if (rc != SQLITE_OK) {
        shape_free(s);
        return rc;
    }
    *out = s;
    return SQLITE_OK;
}

/* Takes the shape of the filter from the vector column, or makes it, and binds it. */
static int take_shape(VsxKnn *knn) {
    VsxVector *v = knn->vector;
    char *terms = vsx_filter_terms(&knn->filter, v->index, 2);
    int rc = terms == NULL ? SQLITE_NOMEM : SQLITE_OK;
    if (rc == SQLITE_OK && v->shape != NULL && strcmp(v->shape->terms, terms) == 0) {
        knn->admission.shape = v->shape;
        v->shape = NULL;
        sqlite3_free(terms);
    } else if (rc == SQLITE_OK) {
        rc = shape_new(v, terms, &knn->admission.shape);
    }
    VsxShape *s = knn->admission.shape;
    rc = rc == SQLITE_OK ? vsx_filter_bind(&knn->filter, s->probe, 2) : rc;
    rc = rc == SQLITE_OK ? vsx_filter_bind(&knn->filter, s->count, 2) : rc;
    return rc == SQLITE_OK ? vsx_filter_bind(&knn->filter, s->resolve, 2) : rc;
}

static void give_back(VsxVector *v, VsxShape *s) {
    if (s != NULL) {
        sqlite3_reset(s->probe);
        sqlite3_reset(s->resolve);
        sqlite3_clear_bindings(s->probe);
        sqlite3_clear_bindings(s->count);
        sqlite3_clear_bindings(s->resolve);
        shape_free(v->shape);
        v->shape = s;
    }
}

/* ---- nodes ----------------------------------------------------------------------- */

static void nodes_release(VsxNodes *n) {
    if (n != NULL && --n->refs == 0) {
        sqlite3_free((void *)(size_t)n->admit.words);
        sqlite3_free(n->key);
        sqlite3_free(n);
    }
}

static VsxNodes *nodes_new(const VsxVector *v) {
    size_t words = (size_t)v->graph->state.n_nodes / 64 + 1;
    VsxNodes *n = sqlite3_malloc64(sizeof *n);
    uint64_t *bits = sqlite3_malloc64(words * sizeof *bits);
    if (n == NULL || bits == NULL) {
        sqlite3_free(n);
        sqlite3_free(bits);
        return NULL;
    }
    memset(bits, 0, words * sizeof *bits);
    *n = (VsxNodes){.refs = 1, .admit = {bits, v->graph->state.n_nodes, 0}};
    return n;
}

static void admit_node(VsxNodes *n, uint32_t node) {
    uint64_t *words = (uint64_t *)(size_t)n->admit.words,
             bit = (uint64_t)1 << (node & 63);
    if (node < n->admit.n_nodes && (words[node >> 6] & bit) == 0) {
        words[node >> 6] |= bit;
        n->admit.count++;
    }
}

static int resolve_rowids(VsxKnn *knn, VsxNodes *nodes) {
    size_t n = vsx_rowmap_count(knn->filter.rowids);
    VsxRowmapEntry *rowids = vsx_rowmap_sorted(knn->filter.rowids);
    int rc = rowids == NULL ? SQLITE_NOMEM : SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        uint32_t node = VS_NIL;
        rc = vsx_node_of(knn->vector, rowids[i].rowid, &node);
        admit_node(nodes, node);
    }
    sqlite3_free(rowids);
    return rc;
}

static int resolve_terms(VsxKnn *knn, VsxNodes *nodes) {
    sqlite3_stmt *stmt = knn->admission.shape->resolve;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        sqlite3_int64 rowid = sqlite3_column_int64(stmt, 0);
        uint32_t node = VS_NIL;
        if (vsx_filter_has(&knn->filter, rowid)) {
            int found = vsx_map_entry(knn->vector, rowid, stmt, 1, &node);
            if (found != SQLITE_OK) {
                return vsx_reset(stmt, found);
            }
            admit_node(nodes, node);
        }
    }
    return vsx_reset(stmt, rc);
}

/* Whether at most `most` rows pass the terms; a b-tree alone may tell it. */
static int are_few(VsxKnn *knn, size_t most, int *few) {
    sqlite3_stmt *stmt = knn->admission.shape->count;
    int rc = vsx_step_with(stmt, (sqlite3_int64)most + 1);
    *few = rc == SQLITE_ROW && sqlite3_column_int64(stmt, 0) <= (sqlite3_int64)most;
    return vsx_reset(stmt, rc);
}

/* ---- reuse ----------------------------------------------------------------------- */

static int add_bytes(VsBuffer *key, const void *bytes, size_t n) {
    return vs_buffer_append(&vsx_alloc, key, bytes, n) == VS_OK ? SQLITE_OK
                                                                : SQLITE_NOMEM;
}

static int add_value(VsBuffer *key, sqlite3_value *value) {
    unsigned char type = (unsigned char)sqlite3_value_type(value);
    int rc = add_bytes(key, &type, 1);
    if (rc == SQLITE_OK && type == SQLITE_INTEGER) {
        sqlite3_int64 i = sqlite3_value_int64(value);
        rc = add_bytes(key, &i, sizeof i);
    } else if (rc == SQLITE_OK && type == SQLITE_FLOAT) {
        double d = sqlite3_value_double(value);
        rc = add_bytes(key, &d, sizeof d);
    } else if (rc == SQLITE_OK && type != SQLITE_NULL) {
        const void *bytes = sqlite3_value_blob(value);
        int n = sqlite3_value_bytes(value);
        rc = bytes == NULL && n > 0 ? SQLITE_NOMEM : add_bytes(key, &n, sizeof n);
        rc = rc == SQLITE_OK && n > 0 ? add_bytes(key, bytes, (size_t)n) : rc;
    }
    return rc;
}

/* Terms and values in bytes; empty: not to be reused. */
static int make_key(const VsxKnn *knn, VsBuffer *key) {
    const VsxFilter *f = &knn->filter;
    if (f->rowids != NULL || !sqlite3_get_autocommit(knn->vector->index->global->db)) {
        return SQLITE_OK;
    }
    for (int i = 0; i < f->n_terms; i++) {
        if (strcmp(f->term[i].op, "-like") == 0 || strcmp(f->term[i].op, "-glob") == 0) {
            return SQLITE_OK;
        }
    }
    const char *terms = knn->admission.shape->terms;
    int rc = add_bytes(key, terms, strlen(terms) + 1);
    for (int i = 0; i < f->n_terms; i++) {
        for (int j = 0; rc == SQLITE_OK && j < f->term[i].n_values; j++) {
            rc = add_value(key, f->term[i].value[j]);
        }
    }
    return rc;
}

/* The present, against which a resolved filter is checked. */
static int set_present(const VsxVector *v, VsxNodes *n) {
    sqlite3 *db = v->index->global->db;
    n->ver = v->graph->state.ver;
    n->stamp = v->graph->state.stamp;
    n->changes = sqlite3_total_changes(db);
    return sqlite3_file_control(db, v->index->schema, SQLITE_FCNTL_DATA_VERSION,
                                &n->data_version);
}

static int reuse(VsxKnn *knn) {
    VsxVector *v = knn->vector;
    VsxNodes now = {0}, *kept = v->nodes;
    VsBuffer key = {0};
    if (kept == NULL || v->graph->changed || set_present(v, &now) != SQLITE_OK ||
        now.ver != kept->ver || now.stamp != kept->stamp ||
        now.changes != kept->changes || now.data_version != kept->data_version) {
        return SQLITE_OK;
    }
    int rc = make_key(knn, &key);
    if (rc == SQLITE_OK && key.len > 0 && key.len == kept->n_key &&
        memcmp(key.data, kept->key, key.len) == 0) {
        kept->refs++;
        knn->admission.nodes = kept;
        knn->admission.gate = VSX_GATE_NODES;
    }
    vs_free(&vsx_alloc, key.data);
    return rc;
}

static int keep(VsxKnn *knn, VsxNodes *nodes) {
    VsxVector *v = knn->vector;
    VsBuffer key = {0};
    int rc = make_key(knn, &key);
    if (rc == SQLITE_OK && key.len > 0 && !v->graph->changed &&
        set_present(v, nodes) == SQLITE_OK) {
        nodes->key = key.data;
        nodes->n_key = key.len;
        nodes->refs++;
        nodes_release(v->nodes);
        v->nodes = nodes;
    } else {
        vs_free(&vsx_alloc, key.data);
    }
    return rc;
}

/* ---- the gate -------------------------------------------------------------------- */

int vsx_admit_resolve(VsxKnn *knn) {
    VsxAdmission *a = &knn->admission;
    VsxNodes *nodes = nodes_new(knn->vector);
    int rc = nodes == NULL              ? SQLITE_NOMEM
             : knn->filter.n_terms == 0 ? resolve_rowids(knn, nodes)
                                        : resolve_terms(knn, nodes);
    rc = rc == SQLITE_OK && a->shape != NULL ? keep(knn, nodes) : rc;
    if (rc != SQLITE_OK) {
        nodes_release(nodes);
        return rc;
    }
    nodes_release(a->nodes);
    a->nodes = nodes;
    a->gate = VSX_GATE_NODES;
    return SQLITE_OK;
}

/* Drops what is kept of the last filter of a vector column. */
static void forget(VsxVector *v) {
    shape_free(v->shape);
    nodes_release(v->nodes);
    v->shape = NULL;
    v->nodes = NULL;
}

int vsx_admit_open(VsxKnn *knn, size_t enough) {
    VsxAdmission *a = &knn->admission;
    const VsxFilter *f = &knn->filter;
    int rc = SQLITE_OK, few = 0;
    knn->vector->forget_filter = forget;
    if (vsx_filter_is_empty(f)) {
        a->gate = VSX_GATE_OPEN;
    } else if (f->n_terms == 0) {
        a->gate = VSX_GATE_SET;
        rc = vsx_rowmap_count(f->rowids) <= enough ? vsx_admit_resolve(knn) : SQLITE_OK;
    } else {
        a->gate = VSX_GATE_PROBE;
        rc = take_shape(knn);
        rc = rc == SQLITE_OK ? reuse(knn) : rc;
        if (rc == SQLITE_OK && a->gate == VSX_GATE_PROBE && vsx_filter_is_long(f)) {
            rc = vsx_admit_resolve(knn); /* each probe would read the whole list */
        } else if (rc == SQLITE_OK && a->gate == VSX_GATE_PROBE && a->shape->searched) {
            rc = are_few(knn, enough, &few);
            rc = rc == SQLITE_OK && few ? vsx_admit_resolve(knn) : rc;
        }
    }
    return rc;
}

void vsx_admit_close(VsxKnn *knn) {
    give_back(knn->vector, knn->admission.shape);
    nodes_release(knn->admission.nodes);
    memset(&knn->admission, 0, sizeof knn->admission);
}

static int probe(VsxKnn *knn, sqlite3_int64 rowid, int *passes, double *distance) {
    sqlite3_stmt *stmt = knn->admission.shape->probe;
    knn->admission.probes++;
    int rc = vsx_step_with(stmt, rowid);
    *passes = rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL;
    if (*passes) {
        rc = vsx_value_distance(knn, sqlite3_column_value(stmt, 0), distance);
    }
    return vsx_reset(stmt, rc);
}

int vsx_admit_row(VsxKnn *knn, uint32_t node, sqlite3_int64 rowid, int *passes,
                  int *known, double *distance) {
    *known = 0;
    *passes = 1;
    switch (knn->admission.gate) {
    case VSX_GATE_SET:
        *passes = vsx_filter_has(&knn->filter, rowid);
        break;
    case VSX_GATE_PROBE:
        *known = 1;
        *passes = vsx_filter_has(&knn->filter, rowid);
        return *passes ? probe(knn, rowid, passes, distance) : SQLITE_OK;
    case VSX_GATE_NODES:
        *passes = vs_admitted(&knn->admission.nodes->admit, node);
        break;
    default:
        break;
    }
    return SQLITE_OK;
}
