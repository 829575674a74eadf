/*
 * xIntegrity and the command 'integrity-check': is the index what the rows say?
 * Both report damage in the same words, so that a list of findings has each once. The
 * command works before SQLite 3.44, which has no xIntegrity.
 *
 * What is on disk is checked, not what is in memory: a graph of its own is loaded page by
 * page. Only edits that are not flushed yet are checked where they are.
 *
 *     quick  every page readable and sound, counters, links, in-links, reachability
 *            (vs_validate)
 *     full   besides: every row with a vector has one node and the node names that row,
 *            no node is left over, and its code is that of the stored vector; so is what a
 *            raw row has beside it
 */
#include <string.h>

#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"
#include "csrc/graph/validate.h"
#include "ext/table/index.h"
#include "ext/base/rowmap.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/txn/txn.h"
#include "ext/content/content.h"
#include "ext/write/integrity.h"

static int describe(const VsxVector *v, const VsFinding *f, char **report) {
    static const char *const kinds[] = {"node", "code",       "upper",
                                        "seed", "raw vector", "raw vector map"};
    const VsxIndex *i = v->index;
    const char *column = vsx_column_of(v)->name;
    if (f->flaw == VS_FLAW_PAGE) {
        *report = sqlite3_mprintf("%s.%s.%s: %s page %u is missing or damaged", i->schema,
                                  i->table, column, kinds[f->kind], f->page);
    } else if (f->node != VS_NIL) {
        *report = sqlite3_mprintf("%s.%s.%s: %s (node %u)", i->schema, i->table, column,
                                  vs_flaw_text(f->flaw), f->node);
    } else {
        *report = sqlite3_mprintf("%s.%s.%s: %s", i->schema, i->table, column,
                                  vs_flaw_text(f->flaw));
    }
    return *report == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int report_row(const VsxVector *v, sqlite3_int64 rowid, const char *what,
                      char **report) {
    const VsxIndex *i = v->index;
    *report = sqlite3_mprintf("%s.%s.%s: row %lld: %s", i->schema, i->table,
                              vsx_column_of(v)->name, rowid, what);
    return *report == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

/* What the index keeps of the vector of a raw row. */
static VsStatus check_raw(VsGraph *g, uint32_t node, const void *vector,
                          const char **what) {
    const VsCodecParams *p = &g->params.code;
    const float *raw = NULL;
    VsStatus st = vs_raw(g, node, &raw);
    if (st != VS_OK || raw == NULL) {
        return st;
    }
    float *floats = vs_alloc(&g->alloc, p->dims, sizeof *floats);
    if (floats == NULL) {
        return VS_NOMEM;
    }
    vs_codec_floats(p, vector, floats);
    if (memcmp(floats, raw, p->dims * sizeof *raw) != 0) {
        *what = "the index keeps another vector of it";
    }
    vs_free(&g->alloc, floats);
    return VS_OK;
}

/* One row against its node; *what names the first difference. */
static int check_row(VsxVector *v, VsGraph *g, sqlite3_stmt *row, unsigned char *code,
                     const char **what) {
    sqlite3_int64 rowid = sqlite3_column_int64(row, 0);
    const VsxRowmapEntry *pending = vsx_rowmap_get(v->map, rowid);
    sqlite3_int64 id = pending != NULL ? (sqlite3_int64)pending->node
                       : sqlite3_column_type(row, 1) == SQLITE_NULL
                           ? (sqlite3_int64)VS_NIL
                           : sqlite3_column_int64(row, 1);
    const VsNode *node = NULL;
    const unsigned char *stored = NULL;
    int has_vector = sqlite3_column_type(row, 2) != SQLITE_NULL;
    VsxVec vector = {0};
    if (!has_vector) {
        *what =
            id != (sqlite3_int64)VS_NIL ? "it has no vector but is in the index" : NULL;
        return SQLITE_OK;
    }
    int rc = vsx_stored_vector(v, sqlite3_column_value(row, 2), &vector, NULL);
    if (rc != SQLITE_OK) {
        *what = rc == SQLITE_CORRUPT_VTAB ? "what is stored is no vector of this column"
                                          : NULL;
        return rc == SQLITE_CORRUPT_VTAB ? SQLITE_OK : rc;
    }
    if (id < 0 || id >= (sqlite3_int64)g->state.n_nodes) {
        *what = id == (sqlite3_int64)VS_NIL ? "its vector is not in the index"
                                            : "the map names a node that does not exist";
        vsx_vector_free(&vector);
        return SQLITE_OK;
    }
    VsStatus st = vs_node(g, (uint32_t)id, &node);
    st = st == VS_OK ? vs_slot(g, VS_CODE, (uint32_t)id, &stored) : st;
    if (st == VS_OK) {
        float lost = g->codec->encode(&g->params.code, g->model, vector.v, code, NULL);
        if ((node->flags & VS_STATUS_MASK) != VS_LIVE || node->rowid != rowid) {
            *what = "its node belongs to another row";
        } else if (memcmp(code, stored, g->geo[VS_CODE].fixed_size) != 0) {
            *what = "its code is not that of its vector";
        } else if (!(vs_error(node->error) >= lost)) {
            *what = "the error of its code is larger than its node says";
        } else {
            st = check_raw(g, (uint32_t)id, vector.v, what);
        }
    }
    vsx_vector_free(&vector);
    return vsx_code(v->index, st);
}

static int check_rows(VsxVector *v, VsGraph *g, char **report) {
    sqlite3_stmt *stmt = NULL;
    sqlite3_int64 indexed = 0, mapped = 0;
    unsigned char *code = sqlite3_malloc64(g->geo[VS_CODE].slot_size);
    int rc = code == NULL ? SQLITE_NOMEM : vsx_code(v->index, vs_model_ready(g));
    rc = rc == SQLITE_OK ? vsx_stmt(v, VSX_SQL_CHECK, &stmt) : rc;
    while (rc == SQLITE_OK && *report == NULL &&
           (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *what = NULL;
        indexed += sqlite3_column_type(stmt, 2) != SQLITE_NULL;
        rc = check_row(v, g, stmt, code, &what);
        if (rc == SQLITE_OK && what != NULL) {
            rc = report_row(v, sqlite3_column_int64(stmt, 0), what, report);
        }
    }
    rc = stmt == NULL ? rc : vsx_reset(stmt, rc);
    rc = rc == SQLITE_OK ? vsx_map_count(v, &mapped) : rc;
    int pending = vsx_rowmap_count(v->map) > 0;
    if (rc == SQLITE_OK && *report == NULL &&
        (indexed != (sqlite3_int64)g->state.n_live || (!pending && mapped != indexed))) {
        *report = sqlite3_mprintf(
            "%s.%s: %lld rows with a vector, %u nodes, %lld map rows", v->index->schema,
            v->index->table, indexed, g->state.n_live, mapped);
        rc = *report == NULL ? SQLITE_NOMEM : rc;
    }
    sqlite3_free(code);
    return rc;
}

static int check_vector(VsxVector *v, int quick, char **report) {
    VsGraph *fresh = NULL;
    VsFinding finding = {0};
    int rc = vsx_refresh(v);
    if (rc == SQLITE_OK && !v->graph->changed) {
        rc = vsx_open_fresh(v, &fresh);
    }
    VsGraph *g = fresh != NULL ? fresh : v->graph;
    if (rc == SQLITE_OK) {
        rc = vsx_code(v->index, vs_validate(g, &finding));
    }
    if (rc == SQLITE_OK && finding.flaw != VS_FLAW_NONE) {
        rc = describe(v, &finding, report);
    } else if (rc == SQLITE_OK && !quick) {
        rc = check_rows(v, g, report);
    }
    vs_graph_close(fresh);
    if ((rc & 0xFF) == SQLITE_CORRUPT) {
        *report = sqlite3_mprintf("%s.%s: the state, the log or the map is damaged",
                                  v->index->schema, v->index->table);
        rc = *report == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    return rc;
}

/* An index that its content table does not tell of changes goes stale. */
static int check_followed(VsxIndex *index, char **report) {
    int followed = 1, rc = SQLITE_OK;
    if (index->def->content != NULL && !index->def->content_lost) {
        rc = vsx_content_followed(index, &followed);
    }
    if (rc == SQLITE_OK && !followed) {
        *report = sqlite3_mprintf(
            "%s.%s: triggers of %s that tell the index of changes are missing; rebuild "
            "makes them again",
            index->schema, index->table, index->def->content);
        rc = *report == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    return rc;
}

/* What keeps the index from being read at all. */
static int check_tables(const VsxIndex *i, char **report) {
    char *missing = NULL;
    VSX_TRY(vsx_shadow_missing(i, &missing));
    if (missing != NULL) {
        *report = sqlite3_mprintf("%s.%s: the shadow table %s is missing", i->schema,
                                  i->table, missing);
        sqlite3_free(missing);
    } else if (i->def->config_lost) {
        *report = sqlite3_mprintf("%s.%s: the configuration in %s_config is damaged",
                                  i->schema, i->table, i->table);
    } else if (i->def->content_lost) {
        *report = sqlite3_mprintf("%s.%s: its content table %s, or a column that the "
                                  "index needs, does not exist",
                                  i->schema, i->table, i->def->content);
    } else {
        return SQLITE_OK;
    }
    return *report == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

/* Rows that REPLACE may have removed in this transaction: has the index heard of it? */
static int settle(VsxIndex *index) {
    index->writing++;
    int rc = vsx_content_settle(index);
    index->writing--;
    return rc;
}

int vsx_check(VsxIndex *index, int quick, char **report) {
    int rc = check_tables(index, report);
    rc = rc == SQLITE_OK && *report == NULL ? check_followed(index, report) : rc;
    rc = rc == SQLITE_OK && *report == NULL ? settle(index) : rc;
    for (int i = 0; rc == SQLITE_OK && *report == NULL && i < index->def->n_vectors;
         i++) {
        rc = check_vector(&index->vector[i], quick, report);
    }
    if (rc == SQLITE_ERROR) { /* they are there, and cannot be read: damage too */
        *report =
            sqlite3_mprintf("%s.%s: the shadow tables cannot be read: %s", index->schema,
                            index->table, sqlite3_errmsg(index->global->db));
        rc = *report == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    return rc;
}

int vsx_integrity(sqlite3_vtab *base, const char *schema, const char *table, int flags,
                  char **err) {
    (void)schema;
    (void)table;
    return vsx_check(((VsxTable *)base)->index, flags & 1, err);
}
