/*
 * rebuild: an index from its rows and nothing else, so that it mends whatever was damaged.
 *
 * All rows are there before the first is coded: the codec is fitted to a sample of them all.
 */
#include <string.h>

#include "csrc/build/nodes.h"
#include "csrc/graph/fit.h"
#include "ext/table/index.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/txn/txn.h"
#include "ext/txn/linking.h"
#include "ext/txn/vector.h"
#include "ext/content/content.h"
#include "ext/query/filter.h"
#include "ext/write/rebuild.h"
#include "ext/write/content_check.h"

/* Empties the log, and marks the edits to come. From then on only a rollback, or the
 * rebuild's end, makes the index whole. */
static int clear_log(VsxVector *v, const VsState *empty) {
    const VsxIndex *i = v->index;
    v->graph->state.ver = empty->ver;
    int rc = vsx_exec(i->global->db, "DELETE FROM \"%w\".\"%w_log%d\"", i->schema,
                      i->table, v->number);
    int cleared = rc == SQLITE_OK && sqlite3_changes(i->global->db) > 0;
    rc = rc == SQLITE_OK ? vsx_mark(v) : rc;
    if (rc != SQLITE_OK && cleared) {
        vsx_poison(v, rc, -1, 0);
    }
    return rc;
}

static int clear_others(const VsxVector *v) {
    const VsxIndex *i = v->index;
    return vsx_exec(i->global->db,
                    "DELETE FROM \"%w\".\"%w_map%d\"; DELETE FROM \"%w\".\"%w_pages%d\";"
                    "DELETE FROM \"%w\".\"%w_model%d\"",
                    i->schema, i->table, v->number, i->schema, i->table, v->number,
                    i->schema, i->table, v->number);
}

/* Indexes one stored row of a rebuild. What is no vector of the column stays out: only
 * damage can bring it into a table of our own, the rows that can be saved are, and
 * integrity-check names the others. */
static int index_row(VsxVector *v, sqlite3_int64 rowid, sqlite3_value *value) {
    VsxVec vector = {0};
    int rc = vsx_stored_vector(v, value, &vector, NULL);
    if (rc == SQLITE_CORRUPT_VTAB) {
        return SQLITE_OK;
    }
    rc = rc == SQLITE_OK ? vsx_put_vector(v, rowid, VS_NIL, &vector) : rc;
    vsx_vector_free(&vector);
    return rc;
}

static int index_rows(VsxVector *v) {
    sqlite3_stmt *stmt = NULL;
    VsxFilter none = {0};
    int typed = v->index->def->content == NULL ? 2 : 1; /* columns that must be */
    int rc = vsx_filter_rows(&none, v, &stmt);
    while (rc == SQLITE_OK &&
           (rc = vsx_seen(stmt, typed, sqlite3_step(stmt))) == SQLITE_ROW) {
        rc = index_row(v, sqlite3_column_int64(stmt, 0), sqlite3_column_value(stmt, 1));
    }
    rc = rc == SQLITE_DONE ? vsx_link(v) : rc;
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? final : rc;
}

/* ---- the sample ------------------------------------------------------------------ */

typedef struct Sampling {
    float *v; /* want * dims */
    size_t want, n, stride, rows;
} Sampling;

/* Takes every stride-th vector. When there is no room for more, every other one goes, and the
 * stride doubles: so they are spread evenly, however many rows there are. */
static int sample_row(const VsxVector *v, Sampling *s, sqlite3_value *value) {
    size_t dims = v->graph->params.code.dims;
    VsxVec vector = {0};
    if (s->rows++ % s->stride != 0) {
        return SQLITE_OK;
    }
    if (s->n == s->want) {
        for (size_t i = 1; 2 * i < s->n; i++) {
            memcpy(s->v + i * dims, s->v + 2 * i * dims, dims * sizeof *s->v);
        }
        s->n = (s->n + 1) / 2;
        s->stride *= 2;
        if ((s->rows - 1) % s->stride != 0) {
            return SQLITE_OK;
        }
    }
    int rc = vsx_stored_vector(v, value, &vector, NULL);
    if (rc == SQLITE_OK) {
        vs_element_to_f32(v->graph->params.code.element, vector.v, s->v + s->n++ * dims,
                          dims);
    }
    vsx_vector_free(&vector);
    return rc == SQLITE_CORRUPT_VTAB ? SQLITE_OK : rc;
}

static int sample_rows(VsxVector *v, Sampling *s) {
    sqlite3_stmt *stmt = NULL;
    VsxFilter none = {0};
    int rc = vsx_filter_rows(&none, v, &stmt);
    while (rc == SQLITE_OK &&
           (rc = vsx_seen(stmt, 1, sqlite3_step(stmt))) == SQLITE_ROW) {
        rc = sample_row(v, s, sqlite3_column_value(stmt, 1));
    }
    rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? final : rc;
}

/* Fits the codec to all rows, before the first of them is coded. */
static int learn(VsxVector *v) {
    VsGraph *g = v->graph;
    Sampling s = {.want = vs_model_sample_size(g), .stride = 1};
    if (s.want == 0) {
        return SQLITE_OK;
    }
    s.v = vs_alloc(&vsx_alloc, s.want * g->params.code.dims, sizeof *s.v);
    int rc = s.v == NULL ? SQLITE_NOMEM : sample_rows(v, &s);
    if (rc == SQLITE_OK && s.n > 0) {
        uint32_t rows = s.rows < UINT32_MAX ? (uint32_t)s.rows : UINT32_MAX;
        vs_begin(g);
        VsStatus st = vs_model_learn(g, &(VsSample){s.v, s.n, rows});
        if (st == VS_OK) {
            vs_done(g);
        } else {
            vs_undo(g);
        }
        rc = vsx_code(v->index, st);
    }
    vs_free(&vsx_alloc, s.v);
    return rc;
}

/* ---- the whole ------------------------------------------------------------------- */

int vsx_rebuild_vector(VsxVector *v) {
    VsState empty = vs_state_initial(&v->graph->params);
    if (vsx_refresh(v) == SQLITE_OK) { /* damage is no obstacle: that is what it is for */
        empty.ver = v->graph->state.ver; /* never the same ver with other contents */
        empty.ef_search = v->graph->state.ef_search;
    }
    vsx_unknown(v);
    VSX_TRY(clear_log(v, &empty));
    sqlite3_int64 ver = v->mark_ver, mark = v->mark;
    v->poison = SQLITE_OK; /* what was half done is made anew */
    int rc = clear_others(v);
    rc = rc == SQLITE_OK ? vsx_code(v->index, vs_graph_reset(v->graph, &empty)) : rc;
    v->stale = 0;
    v->graph->changed = 1; /* write a state row even if there are no rows */
    rc = rc == SQLITE_OK ? learn(v) : rc;
    rc = rc == SQLITE_OK ? index_rows(v) : rc;
    v->known = rc == SQLITE_OK; /* anything else: read the database anew */
    if (rc != SQLITE_OK) {
        vsx_poison(v, rc, ver, mark); /* half a rebuild must not commit */
    }
    return rc;
}

int vsx_rebuild(VsxTable *t) {
    VsxIndex *index = t->index;
    VSX_TRY(vsx_content_check(t));
    if (index->def->config_lost) {
        VSX_TRY(vsx_shadow_configure(index));
    }
    VSX_TRY(vsx_usable(t));
    if (index->def->content != NULL) {
        VSX_TRY(vsx_content_restore(index));
    }
    for (int i = 0; i < index->def->n_vectors; i++) {
        VSX_TRY(vsx_rebuild_vector(&index->vector[i]));
    }
    return vsx_flush(index, 1);
}
