/*
 * Coherence: how the graph in memory follows the database, and how changes reach it.
 *
 * The newest row of %_log is the state row. It names by (ver, stamp) what the index is in
 * the snapshot that the running statement sees. It is always the truth:
 *
 *   refresh  at the start of every statement compares that stamp with the graph's:
 *              equal                 nothing to do (0.3 us)
 *              one of our history    a rollback: go back to that snapshot
 *              ours is in the log    another connection went on: replay its rows
 *              anything else         start over, load pages when they are touched
 *            (Equal, but checkpointed less than we are: our checkpoint was rolled back, start over.)
 *   mark     before the first edit that is not flushed: a row with the next ver, a number
 *            that never comes again in place of a stamp, and no state.
 *   flush    in xSavepoint and xSync puts a log row with the edits in the place of the
 *            mark; when they are too many or too long for one, it writes the pages and a
 *            row without edits. That row is the last that it writes.
 *   checkpoint  at a commit, when the log is long: writes the pages that its edits touch. It
 *            is no change: ver and stamp stay.
 *
 * Edits that are not flushed stand if the newest row is their mark, and only then. So no
 * callback has to arrive: whatever was rolled back, the row tells. SQLite does not tell a
 * table that was created inside a savepoint when that savepoint is rolled back, and it
 * calls xSync for tables whose CREATE was. Nor is it told when the definition of a table
 * was read anew: then two VsxIndex of one table are alive in a transaction. One that meets
 * the mark of the other has it flush first. SQLite calls xRollbackTo also when an
 * xSavepoint has failed, and then nothing was rolled back: it drops no edits. xRollback
 * only gives memory back. Nothing is final in xSync: it may come twice, and a rollback may
 * follow it.
 *
 * A flush or a rebuild that fails half way poisons the vector column: nothing is read or
 * committed while the newest row is what it was at the failure. A rollback changes that
 * row.
 *
 * Our own statements on shadow tables open statement savepoints too, and SQLite tells
 * them to every table of the transaction: while index->writing is set xSavepoint and
 * xRollbackTo do nothing.
 *
 * %_map follows the same rhythm: changes wait in a rowmap and are written by the flush.
 * So xUpdate itself writes one row, and nothing is left half done when that fails.
 */
#include <string.h>

#include "ext/table/index.h"
#include "ext/base/rowmap.h"
#include "ext/table/vector_cache.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/txn/stored.h"
#include "ext/txn/txn.h"
#include "csrc/graph/log.h"

/* ---- refresh -------------------------------------------------------------------- */

/* The state that the database names. The mark of another definition of the table, which
 * is still alive, is flushed first; that of nobody is damage. */
static int read_state(VsxVector *v, VsStateRow *out, int *ours) {
    sqlite3_int64 mark = 0;
    int rc = vsx_newest_row(v, out, &mark);
    *ours = mark != 0 && mark == v->mark;
    if (rc == SQLITE_OK && mark != 0 && !*ours) {
        VsxIndex *other = vsx_index_marked(v->index->global, mark);
        rc = other == NULL ? SQLITE_CORRUPT_VTAB : vsx_flush(other, 0);
        rc = rc == SQLITE_OK ? vsx_newest_row(v, out, &mark) : rc;
        rc = rc == SQLITE_OK && mark != 0 ? SQLITE_CORRUPT_VTAB : rc;
    }
    return rc;
}

static VsStatus replay_row(VsxVector *v, const VsStateRow *row,
                           const unsigned char *edits, size_t len, int *stop) {
    if (!row->has_edits || row->state.ver != v->graph->state.ver + 1) {
        *stop = 1;
        return VS_OK;
    }
    return vs_replay(v->graph, &row->state, edits, len);
}

static VsStatus overlay_row(VsxVector *v, const VsStateRow *row,
                            const unsigned char *edits, size_t len, int *stop) {
    (void)stop;
    return row->has_edits ? vs_overlay_add(v->graph->overlay, row->state.ver, edits, len)
                          : VS_OK;
}

/* Another connection went on from where we are: *done if its log could be replayed. */
static int catch_up(VsxVector *v, const VsState *now, int *done) {
    int stop = 0, found = 0;
    *done = 0;
    if (!v->known || v->stale || now->ver <= v->graph->state.ver ||
        now->checkpoint_ver < v->graph->state.checkpoint_ver) {
        return SQLITE_OK;
    }
    int rc = vsx_find_stamp(v, &found);
    if (rc == SQLITE_OK && found) {
        uint64_t checkpointed = v->graph->state.checkpoint_ver;
        v->known = 0; /* until the last row is in */
        rc = vsx_read_log(v, v->graph->state.ver, replay_row, &stop);
        *done = rc == SQLITE_OK && !stop && v->graph->state.stamp == now->stamp;
        if (*done && v->graph->state.checkpoint_ver > checkpointed) {
            vs_checkpointed_elsewhere(v->graph, v->graph->state.checkpoint_ver);
            vs_history_clear(v->graph, &v->history);
        }
    }
    return rc;
}

/* The log that the pages on disk lack. */
static int read_overlay(VsxVector *v, uint64_t checkpoint_ver) {
    int stop = 0, rc = vsx_read_log(v, checkpoint_ver, overlay_row, &stop);
    return rc == SQLITE_OK ? vsx_code(v->index, vs_graph_judge(v->graph)) : rc;
}

static int start_over(VsxVector *v, const VsState *now) {
    vs_history_clear(v->graph, &v->history);
    vsx_rowmap_clear(v->map);
    vsx_cache_clear(v);
    VsStatus st = vs_graph_reset(v->graph, now);
    return st == VS_OK ? read_overlay(v, now->checkpoint_ver) : vsx_code(v->index, st);
}

/* Edits that do not stand any more. The pages in memory hold them: they are stale. */
static void drop_edits(VsxVector *v) {
    v->mark = 0;
    if (v->graph->changed || vsx_rowmap_count(v->map) > 0) {
        v->stale = 1;
        vs_forget(v->graph);
        vsx_rowmap_clear(v->map);
    }
}

/* Why nothing may be read or committed: SQLITE_OK once a rollback has taken back what was
 * done half. */
static int check_poison(VsxVector *v) {
    sqlite3_int64 ver = 0, stamp = 0;
    if (v->poison == SQLITE_OK) {
        return SQLITE_OK;
    }
    VSX_TRY(vsx_newest_key(v, &ver, &stamp));
    if (ver == v->poison_ver && stamp == v->poison_stamp) {
        v->index->refused = v->poison;
        return v->poison;
    }
    v->poison = SQLITE_OK;
    vsx_unknown(v);
    return SQLITE_OK;
}

int vsx_refresh(VsxVector *v) {
    VsStateRow row;
    int done = 0, ours = 0;
    VSX_TRY(check_poison(v));
    VSX_TRY(read_state(v, &row, &ours));
    if (ours) {
        return SQLITE_OK;
    }
    drop_edits(v);
    VsGraph *g = v->graph;
    int same = v->known && !v->stale && row.state.ver == g->state.ver &&
               row.state.stamp == g->state.stamp;
    if (same && row.state.checkpoint_ver == g->state.checkpoint_ver) {
        return SQLITE_OK;
    }
    if (same && row.state.checkpoint_ver > g->state.checkpoint_ver) {
        vs_checkpointed_elsewhere(g, row.state.checkpoint_ver);
        g->state = row.state;
        vs_history_clear(g, &v->history);
        vs_history_push(g, &v->history);
        return SQLITE_OK;
    }
    if (v->known && vs_history_return(g, &v->history, &row.state)) {
        vsx_rowmap_clear(v->map);
        v->stale = 0;
        return SQLITE_OK;
    }
    VSX_TRY(catch_up(v, &row.state, &done));
    if (!done) {
        v->known = 0;
        VSX_TRY(start_over(v, &row.state));
    }
    v->stale = 0;
    v->known = 1;
    vs_history_push(g, &v->history);
    return SQLITE_OK;
}

/* A node that a map names must be live and name the row in turn. */
static int check_node(VsxVector *v, sqlite3_int64 rowid, sqlite3_int64 node) {
    const VsNode *n = NULL;
    if (node < 0 || node >= (sqlite3_int64)v->graph->state.n_nodes) {
        return SQLITE_CORRUPT_VTAB;
    }
    VsStatus st = vs_node(v->graph, (uint32_t)node, &n);
    if (st == VS_OK && ((n->flags & VS_STATUS_MASK) != VS_LIVE || n->rowid != rowid)) {
        st = VS_CORRUPT;
    }
    return vsx_code(v->index, st);
}

int vsx_map_entry(VsxVector *v, sqlite3_int64 rowid, sqlite3_stmt *row, int column,
                  uint32_t *node) {
    const VsxRowmapEntry *pending = vsx_rowmap_get(v->map, rowid);
    sqlite3_int64 found = pending != NULL ? (sqlite3_int64)pending->node
                          : row == NULL || sqlite3_column_type(row, column) == SQLITE_NULL
                              ? (sqlite3_int64)VS_NIL
                              : sqlite3_column_int64(row, column);
    *node = (uint32_t)found;
    return found == (sqlite3_int64)VS_NIL ? SQLITE_OK : check_node(v, rowid, found);
}

int vsx_node_of(VsxVector *v, sqlite3_int64 rowid, uint32_t *node) {
    sqlite3_stmt *stmt = NULL;
    if (vsx_rowmap_get(v->map, rowid) != NULL) {
        return vsx_map_entry(v, rowid, NULL, 0, node);
    }
    VSX_TRY(vsx_stmt(v, VSX_SQL_MAP, &stmt));
    int rc = vsx_seen(stmt, 2, vsx_step_with(stmt, rowid));
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        int step = rc;
        rc = vsx_map_entry(v, rowid, step == SQLITE_ROW ? stmt : NULL, 0, node);
    }
    return vsx_reset(stmt, rc);
}

/* ---- flush ---------------------------------------------------------------------- */

int vsx_mark(VsxVector *v) {
    VsxIndex *index = v->index;
    sqlite3 *db = index->global->db;
    sqlite3_int64 ver = (sqlite3_int64)v->graph->state.ver + 1;
    if (v->mark != 0) {
        return SQLITE_OK;
    }
    sqlite3_int64 last = sqlite3_last_insert_rowid(db),
                  mark = vsx_new_mark(index->global);
    index->writing++;
    int rc = vsx_write_mark(v, ver, mark);
    index->writing--;
    sqlite3_set_last_insert_rowid(db, last);
    if (rc == SQLITE_OK) {
        v->mark = mark;
        v->mark_ver = ver;
    }
    return rc;
}

/* Writes the pages, then the state row that says so. With `edits` NULL the row has none.
 */
static int write_pages(VsxVector *v, const unsigned char *edits, size_t len) {
    VsStatus st = vs_flush_pages(v->graph, vsx_write_page, v);
    VSX_TRY(vsx_code(v->index, st));
    vs_history_clear(v->graph, &v->history);
    return vsx_write_log_row(v, edits, len, edits != NULL);
}

static int checkpoint(VsxVector *v) {
    VsBuffer copy = {0};
    /* The newest row keeps its edits: others may have to replay it. */
    int rc = vsx_newest_edits(v, &copy);
    rc = rc == SQLITE_OK ? write_pages(v, copy.data, copy.len) : rc;
    vs_free(&vsx_alloc, copy.data);
    return rc;
}

int vsx_checkpoint(VsxVector *v) {
    if (v->graph->state.ver == v->graph->state.checkpoint_ver) {
        return SQLITE_OK;
    }
    /* half of the pages, and their rollback, must be seen */
    VSX_TRY(vsx_mark(v));
    sqlite3_int64 ver = v->mark_ver, mark = v->mark;
    int rc = checkpoint(v);
    rc = rc == SQLITE_OK ? vsx_trim_log(v) : rc;
    rc = rc == SQLITE_OK ? vsx_remove_mark(v) : rc;
    if (rc != SQLITE_OK) {
        vsx_poison(v, rc, ver, mark);
    }
    return rc;
}

/* The log is checkpointed when its edits reach 2 % of the rows' share: 32 bytes a row. */
#define CHECKPOINT_LOW ((size_t)256 << 10)
#define CHECKPOINT_HIGH ((size_t)2 << 20)

static size_t checkpoint_limit(const VsxVector *v, int commit) {
    size_t limit = (size_t)v->graph->state.n_live * 32;
    limit = limit < CHECKPOINT_LOW    ? CHECKPOINT_LOW
            : limit > CHECKPOINT_HIGH ? CHECKPOINT_HIGH
                                      : limit;
    return commit ? limit
                  : limit * 8; /* savepoints may come once per row: checkpoint seldom */
}

/* Whether SQLite takes a log row with those edits: what else it holds is below 200 bytes. */
static int row_fits(const VsxVector *v, size_t edits) {
    int limit = sqlite3_limit(v->index->global->db, SQLITE_LIMIT_LENGTH, -1);
    return limit >= 200 && edits <= (size_t)limit - 200;
}

/* *stamp is that of the newest log row, also when it fails. */
static int write_edits(VsxVector *v, int commit, sqlite3_int64 *stamp) {
    const unsigned char *edits = NULL;
    size_t len = 0;
    VSX_TRY(vsx_write_model(v));
    VSX_TRY(vsx_write_map(v));
    int rc = SQLITE_OK;
    if (v->graph->redo_overflow || !row_fits(v, v->graph->redo.len)) {
        rc = write_pages(v, NULL, 0);
        *stamp = rc == SQLITE_OK ? (sqlite3_int64)v->graph->state.stamp : *stamp;
        return rc == SQLITE_OK ? vsx_trim_log(v) : rc;
    }
    VsStatus st = vs_flush_log(v->graph, &edits, &len);
    rc = st == VS_OK ? vsx_write_log_row(v, edits, len, 1) : vsx_code(v->index, st);
    *stamp = rc == SQLITE_OK ? (sqlite3_int64)v->graph->state.stamp : *stamp;
    if (rc == SQLITE_OK &&
        vs_overlay_bytes(v->graph->overlay) > checkpoint_limit(v, commit)) {
        rc = checkpoint(v);
        rc = rc == SQLITE_OK ? vsx_trim_log(v) : rc;
    }
    return rc;
}

void vsx_poison(VsxVector *v, int rc, sqlite3_int64 ver, sqlite3_int64 stamp) {
    v->poison = rc;
    v->poison_ver = ver;
    v->poison_stamp = stamp;
}

static int flush_vector(VsxVector *v, int commit) {
    int stand = 0, rc = check_poison(v);
    rc = rc == SQLITE_OK ? vsx_edits_stand(v, &stand) : rc;
    if (rc == SQLITE_OK && !stand) {
        drop_edits(v);
        return SQLITE_OK;
    }
    /* A changeset over the shadow tables, or other SQL, may have taken away what the edits
     * were made on. */
    VsState first = vs_state_initial(&v->graph->params);
    if (rc == SQLITE_OK && v->graph->state.stamp != first.stamp) {
        rc = vsx_find_stamp(v, &stand);
        rc = rc == SQLITE_OK && !stand ? SQLITE_CORRUPT_VTAB : rc;
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (!v->graph->changed) {
        return vsx_remove_mark(v);
    }
    sqlite3_int64 ver = v->mark_ver, stamp = v->mark;
    rc = write_edits(v, commit, &stamp);
    if (rc == SQLITE_OK) {
        vs_history_push(v->graph, &v->history);
    } else {
        vsx_poison(v, rc, ver, stamp);
    }
    return rc;
}

/* Whether there is no such virtual table in the schema (any more). */
static int is_gone(const VsxIndex *i, int *out) {
    sqlite3_int64 there = 1;
    int rc = vsx_ask_number(
        i->global->db,
        sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_schema WHERE type = 'table' AND "
                        "rootpage = 0 AND lower(name) = lower(%Q)",
                        i->schema, i->table),
        &there);
    *out = !there;
    return rc;
}

int vsx_excuse(VsxIndex *index, int rc) {
    int gone = 0;
    if (rc == SQLITE_ERROR && is_gone(index, &gone) == SQLITE_OK && gone) {
        vsx_discard(index);
        return SQLITE_OK;
    }
    return rc;
}

int vsx_flush(VsxIndex *index, int commit) {
    sqlite3 *db = index->global->db;
    sqlite3_int64 last = sqlite3_last_insert_rowid(db);
    int rc = SQLITE_OK;
    index->writing++;
    for (int i = 0; rc == SQLITE_OK && i < index->def->n_vectors; i++) {
        VsxVector *v = &index->vector[i];
        rc = v->mark != 0 || v->poison != SQLITE_OK ? flush_vector(v, commit) : rc;
    }
    index->writing--;
    sqlite3_set_last_insert_rowid(db, last);
    return vsx_excuse(index, rc);
}

void vsx_unknown(VsxVector *v) {
    vs_forget(v->graph);
    vs_history_clear(v->graph, &v->history);
    vsx_rowmap_clear(v->map);
    vsx_cache_clear(v);
    v->known = 0;
    v->mark = 0;
}

int vsx_open_fresh(VsxVector *v, VsGraph **out) {
    VsStateRow row;
    sqlite3_stmt *stmt = NULL;
    VsHooks hooks = vsx_hooks(v);
    int ours = 0, rc = read_state(v, &row, &ours);
    rc = rc == SQLITE_OK ? vsx_stmt(v, VSX_SQL_LOG, &stmt) : rc;
    VsxVector fresh = *v; /* shares the statements, which are prepared now */
    fresh.graph = NULL;
    if (rc == SQLITE_OK) {
        VsStatus st = vs_graph_open(&vsx_alloc, &v->graph->params, &hooks, &fresh.graph);
        st = st == VS_OK ? vs_graph_reset(fresh.graph, &row.state) : st;
        rc = vsx_code(v->index, st);
    }
    rc = rc == SQLITE_OK ? read_overlay(&fresh, row.state.checkpoint_ver) : rc;
    if (rc != SQLITE_OK) {
        vs_graph_close(fresh.graph);
        return rc;
    }
    *out = fresh.graph;
    return SQLITE_OK;
}

void vsx_discard(VsxIndex *index) {
    for (int i = 0; i < index->def->n_vectors; i++) {
        VsxVector *v = &index->vector[i];
        drop_edits(v);
        if (v->poison != SQLITE_OK) {
            v->poison = SQLITE_OK;
            vsx_unknown(v);
        }
    }
}
