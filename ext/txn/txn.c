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

#include "csrc/graph/fit.h"
#include "ext/table/index.h"
#include "ext/base/rowmap.h"
#include "ext/table/vector_cache.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/txn/txn.h"
#include "csrc/graph/log.h"

/* ---- refresh -------------------------------------------------------------------- */

/* Whether a log row (ver, stamp, state) is the mark of this column's edits. */
static int is_our_mark(const VsxVector *v, sqlite3_stmt *row) {
    return v->mark != 0 && sqlite3_column_type(row, 2) == SQLITE_NULL &&
           sqlite3_column_int64(row, 1) == v->mark;
}

/* Whether the newest log row is the mark of this column's edits: then they stand. */
static int edits_stand(VsxVector *v, int *out) {
    sqlite3_stmt *stmt = NULL;
    int rc = v->mark == 0 ? SQLITE_DONE : vsx_stmt(v, VSX_SQL_STATE, &stmt);
    *out = 0;
    if (rc == SQLITE_OK) {
        rc = vsx_seen(stmt, 3, sqlite3_step(stmt));
        *out = rc == SQLITE_ROW && is_our_mark(v, stmt);
        rc = vsx_reset(stmt, rc);
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A table without a log row was never written. Where rows have nodes its log is lost. */
static int never_written(VsxVector *v, VsStateRow *out) {
    sqlite3_int64 rows = 0;
    int rc = vsx_map_count(v, &rows);
    *out = (VsStateRow){.state = vs_state_initial(&v->graph->params)};
    return rc == SQLITE_OK && rows > 0 ? SQLITE_CORRUPT_VTAB : rc;
}

/* The newest log row. *mark: it is a mark; that of this column's edits gives the state
 * that they were made on. */
static int read_newest(VsxVector *v, VsStateRow *out, sqlite3_int64 *mark) {
    sqlite3_stmt *stmt = NULL;
    *mark = 0;
    VSX_TRY(vsx_stmt(v, VSX_SQL_STATE, &stmt));
    int rc = vsx_seen(stmt, 3, sqlite3_step(stmt));
    if (rc == SQLITE_DONE) {
        rc = vsx_reset(stmt, rc);
        return rc == SQLITE_OK ? never_written(v, out) : rc;
    }
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 2) == SQLITE_NULL) {
        *out = (VsStateRow){.state = v->graph->state};
        *mark = sqlite3_column_int64(stmt, 1);
    } else if (rc == SQLITE_ROW) {
        const unsigned char *blob = sqlite3_column_blob(stmt, 2);
        size_t len = (size_t)sqlite3_column_bytes(stmt, 2);
        VsStatus st = vs_state_decode(blob, len, (uint64_t)sqlite3_column_int64(stmt, 0),
                                      (uint64_t)sqlite3_column_int64(stmt, 1), out);
        rc = vsx_code(v->index, st);
    }
    return vsx_reset(stmt, rc);
}

/* The state that the database names. The mark of another definition of the table, which
 * is still alive, is flushed first; that of nobody is damage. */
static int read_state(VsxVector *v, VsStateRow *out, int *ours) {
    sqlite3_int64 mark = 0;
    int rc = read_newest(v, out, &mark);
    *ours = mark != 0 && mark == v->mark;
    if (rc == SQLITE_OK && mark != 0 && !*ours) {
        VsxIndex *other = vsx_index_marked(v->index->global, mark);
        rc = other == NULL ? SQLITE_CORRUPT_VTAB : vsx_flush(other, 0);
        rc = rc == SQLITE_OK ? read_newest(v, out, &mark) : rc;
        rc = rc == SQLITE_OK && mark != 0 ? SQLITE_CORRUPT_VTAB : rc;
    }
    return rc;
}

/* Steps through the log rows above ver; `use` gets the decoded row and its edits. */
typedef VsStatus (*LogReader)(VsxVector *v, const VsStateRow *row,
                              const unsigned char *edits, size_t len, int *stop);

static int read_log(VsxVector *v, uint64_t after, LogReader use, int *stop) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_LOG, &stmt));
    int rc = sqlite3_bind_int64(stmt, 1, (sqlite3_int64)after);
    if (rc != SQLITE_OK) {
        return vsx_reset(stmt, rc);
    }
    while (!*stop && (rc = sqlite3_step(stmt)) == SQLITE_ROW && !is_our_mark(v, stmt)) {
        VsStateRow row = {0};
        const unsigned char *blob = sqlite3_column_blob(stmt, 2);
        VsStatus st = vs_state_decode(blob, (size_t)sqlite3_column_bytes(stmt, 2),
                                      (uint64_t)sqlite3_column_int64(stmt, 0),
                                      (uint64_t)sqlite3_column_int64(stmt, 1), &row);
        const unsigned char *edits = sqlite3_column_blob(stmt, 3);
        size_t len = (size_t)sqlite3_column_bytes(stmt, 3);
        /* None is missing between. A rebuild begins anew with any ver. */
        st = st == VS_OK && after > 0 && row.state.ver != after + 1 ? VS_CORRUPT : st;
        after = row.state.ver;
        st = st == VS_OK ? vs_state_check_edits(&row, edits, len) : st;
        st = st == VS_OK ? use(v, &row, edits, len, stop) : st;
        if (st != VS_OK) {
            return vsx_reset(stmt, vsx_code(v->index, st));
        }
    }
    return vsx_reset(stmt, rc);
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

/* 1 in *found if the log holds our (ver, stamp): then the rows after it lead to the
 * present. */
static int find_ourselves(VsxVector *v, int *found) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_STAMP, &stmt));
    int rc = vsx_step_with(stmt, (sqlite3_int64)v->graph->state.ver);
    *found = rc == SQLITE_ROW &&
             (uint64_t)sqlite3_column_int64(stmt, 0) == v->graph->state.stamp;
    return vsx_reset(stmt, rc);
}

/* Another connection went on from where we are: *done if its log could be replayed. */
static int catch_up(VsxVector *v, const VsState *now, int *done) {
    int stop = 0, found = 0;
    *done = 0;
    if (!v->known || v->stale || now->ver <= v->graph->state.ver ||
        now->checkpoint_ver < v->graph->state.checkpoint_ver) {
        return SQLITE_OK;
    }
    int rc = find_ourselves(v, &found);
    if (rc == SQLITE_OK && found) {
        uint64_t checkpointed = v->graph->state.checkpoint_ver;
        v->known = 0; /* until the last row is in */
        rc = read_log(v, v->graph->state.ver, replay_row, &stop);
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
    int stop = 0, rc = read_log(v, checkpoint_ver, overlay_row, &stop);
    return rc == SQLITE_OK ? vsx_code(v->index, vs_graph_judge(v->graph)) : rc;
}

static int start_over(VsxVector *v, const VsState *now) {
    vs_history_clear(v->graph, &v->history);
    vsx_rowmap_clear(v->map);
    vsx_cache_clear(v);
    VsStatus st = vs_graph_reset(v->graph, now);
    return st == VS_OK ? read_overlay(v, now->checkpoint_ver) : vsx_code(v->index, st);
}

/* (ver, stamp) of the newest log row; ver -1 if there is none. */
static int newest_key(VsxVector *v, sqlite3_int64 *ver, sqlite3_int64 *stamp) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_STATE, &stmt));
    int rc = vsx_seen(stmt, 3, sqlite3_step(stmt));
    *ver = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    *stamp = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 1) : 0;
    return vsx_reset(stmt, rc);
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
    VSX_TRY(newest_key(v, &ver, &stamp));
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

/* The mark of a log row that the edits to come will take the place of. */
static int write_mark(VsxVector *v, sqlite3_int64 ver, sqlite3_int64 mark) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_LOG_PUT, &stmt));
    VSX_TRY(sqlite3_bind_int64(stmt, 1, ver));
    VSX_TRY(sqlite3_bind_int64(stmt, 2, mark));
    return vsx_write(stmt);
}

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
    int rc = write_mark(v, ver, mark);
    index->writing--;
    sqlite3_set_last_insert_rowid(db, last);
    if (rc == SQLITE_OK) {
        v->mark = mark;
        v->mark_ver = ver;
    }
    return rc;
}

static int remove_mark(VsxVector *v) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_LOG_REMOVE, &stmt));
    VSX_TRY(sqlite3_bind_int64(stmt, 1, v->mark_ver));
    VSX_TRY(vsx_write(stmt));
    v->mark = 0;
    return SQLITE_OK;
}

/* That of the edits takes the place of their mark. */
static int write_log_row(VsxVector *v, const unsigned char *edits, size_t len,
                         int has_edits) {
    unsigned char state[VS_STATE_SIZE];
    sqlite3_stmt *stmt = NULL;
    const VsState *s = &v->graph->state;
    int size = (int)vs_state_encode(s, edits, len, has_edits, state);
    int rc = vsx_shadow_upgrade(v->index, vs_state_format(s));
    rc = rc == SQLITE_OK ? vsx_stmt(v, VSX_SQL_LOG_PUT, &stmt) : rc;
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 1, (sqlite3_int64)s->ver) : rc;
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 2, (sqlite3_int64)s->stamp) : rc;
    rc = rc == SQLITE_OK ? sqlite3_bind_blob(stmt, 3, state, size, SQLITE_STATIC) : rc;
    if (rc == SQLITE_OK && has_edits) {
        rc = sqlite3_bind_blob64(stmt, 4, len > 0 ? (const void *)edits : "", len,
                                 SQLITE_STATIC);
    }
    rc = stmt == NULL ? rc : vsx_write_after(stmt, rc);
    if (rc == SQLITE_OK && v->mark_ver == (sqlite3_int64)s->ver) {
        v->mark = 0;
    }
    return rc;
}

static VsStatus write_page(void *ctx, VsPageKind kind, uint32_t page, uint64_t ver,
                           const unsigned char *blob, size_t len) {
    VsxVector *v = ctx;
    sqlite3_stmt *stmt = NULL;
    sqlite3_int64 key = (sqlite3_int64)((uint64_t)kind << 32 | page);
    int rc = vsx_stmt(v, VSX_SQL_PAGE_PUT, &stmt);
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 1, key) : rc;
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 2, (sqlite3_int64)ver) : rc;
    rc = rc == SQLITE_OK ? sqlite3_bind_blob64(stmt, 3, blob, len, SQLITE_STATIC) : rc;
    rc = stmt == NULL ? rc : vsx_write_after(stmt, rc);
    v->index->load_rc = rc;
    return rc == SQLITE_OK ? VS_OK : VS_IO;
}

static int write_map(VsxVector *v) {
    size_t n = vsx_rowmap_count(v->map);
    VsxRowmapEntry *entries = n == 0 ? NULL : vsx_rowmap_sorted(v->map);
    int rc = n > 0 && entries == NULL ? SQLITE_NOMEM : SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        sqlite3_stmt *stmt = NULL;
        int put = entries[i].node != VS_NIL;
        rc = vsx_stmt(v, put ? VSX_SQL_MAP_PUT : VSX_SQL_MAP_DELETE, &stmt);
        rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 1, entries[i].rowid) : rc;
        if (rc == SQLITE_OK && put) {
            rc = sqlite3_bind_int64(stmt, 2, entries[i].node);
        }
        rc = rc == SQLITE_OK ? vsx_write(stmt) : rc;
    }
    sqlite3_free(entries);
    if (rc == SQLITE_OK) {
        vsx_rowmap_clear(v->map);
    }
    return rc;
}

/* Rows of history that other connections may catch up from. */
#define KEPT_ROWS 256
#define KEPT_BYTES ((sqlite3_int64)512 << 10)

/* Deletes log rows that the pages include, but the last few, and never the state row. A
 * mark may stand above it. */
static int trim_log(VsxVector *v) {
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(v, VSX_SQL_LOG_SIZES, &stmt), rows = 0;
    sqlite3_int64 bytes = 0, cut = -1,
                  checkpoint = (sqlite3_int64)v->graph->state.checkpoint_ver;
    sqlite3_int64 newest = (sqlite3_int64)v->graph->state.ver;
    while (rc == SQLITE_OK && cut < 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        sqlite3_int64 ver = sqlite3_column_int64(stmt, 0);
        bytes += sqlite3_column_int64(stmt, 1);
        rc = SQLITE_OK;
        rows++;
        if (ver < newest && ver <= checkpoint &&
            (rows > KEPT_ROWS || bytes > KEPT_BYTES)) {
            cut = ver;
        }
    }
    rc = stmt == NULL ? rc : vsx_reset(stmt, rc);
    if (rc == SQLITE_OK && cut >= 0) {
        rc = vsx_stmt(v, VSX_SQL_LOG_TRIM, &stmt);
        rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 1, cut) : rc;
        rc = rc == SQLITE_OK ? vsx_write(stmt) : rc;
    }
    return rc;
}

/* Writes the pages, then the state row that says so. With `edits` NULL the row has none.
 */
static int write_pages(VsxVector *v, const unsigned char *edits, size_t len) {
    VsStatus st = vs_flush_pages(v->graph, write_page, v);
    VSX_TRY(vsx_code(v->index, st));
    vs_history_clear(v->graph, &v->history);
    return write_log_row(v, edits, len, edits != NULL);
}

static int checkpoint(VsxVector *v) {
    sqlite3_stmt *stmt = NULL;
    VsBuffer copy = {0};
    /* The newest row keeps its edits: others may have to replay it. */
    int rc = vsx_stmt(v, VSX_SQL_LOG, &stmt);
    if (rc == SQLITE_OK) {
        rc = vsx_step_with(stmt, (sqlite3_int64)v->graph->state.ver - 1);
        if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 3) == SQLITE_BLOB) {
            VsStatus st = vs_buffer_reserve(&vsx_alloc, &copy, 1);
            st = st == VS_OK
                     ? vs_buffer_append(&vsx_alloc, &copy, sqlite3_column_blob(stmt, 3),
                                        (size_t)sqlite3_column_bytes(stmt, 3))
                     : st;
            rc = vsx_code(v->index, st);
        }
        rc = vsx_reset(stmt, rc);
    }
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
    rc = rc == SQLITE_OK ? trim_log(v) : rc;
    rc = rc == SQLITE_OK ? remove_mark(v) : rc;
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

/* A model that was fitted since the last flush; the one before is not needed again. */
static int write_model(VsxVector *v) {
    const VsModel *model = vs_model_unsaved(v->graph);
    sqlite3_stmt *stmt = NULL;
    if (model == NULL) {
        return SQLITE_OK;
    }
    sqlite3_int64 epoch = (sqlite3_int64)v->graph->state.epoch;
    int rc = vsx_stmt(v, VSX_SQL_MODEL_PUT, &stmt);
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 1, epoch) : rc;
    rc = rc == SQLITE_OK
             ? sqlite3_bind_blob64(stmt, 2, model->blob, model->len, SQLITE_STATIC)
             : rc;
    rc = stmt == NULL ? rc : vsx_write_after(stmt, rc);
    rc = rc == SQLITE_OK ? vsx_stmt(v, VSX_SQL_MODEL_TRIM, &stmt) : rc;
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 1, epoch) : rc;
    rc = rc == SQLITE_OK ? vsx_write(stmt) : rc;
    if (rc == SQLITE_OK) {
        vs_model_saved(v->graph);
    }
    return rc;
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
    VSX_TRY(write_model(v));
    VSX_TRY(write_map(v));
    int rc = SQLITE_OK;
    if (v->graph->redo_overflow || !row_fits(v, v->graph->redo.len)) {
        rc = write_pages(v, NULL, 0);
        *stamp = rc == SQLITE_OK ? (sqlite3_int64)v->graph->state.stamp : *stamp;
        return rc == SQLITE_OK ? trim_log(v) : rc;
    }
    VsStatus st = vs_flush_log(v->graph, &edits, &len);
    rc = st == VS_OK ? write_log_row(v, edits, len, 1) : vsx_code(v->index, st);
    *stamp = rc == SQLITE_OK ? (sqlite3_int64)v->graph->state.stamp : *stamp;
    if (rc == SQLITE_OK &&
        vs_overlay_bytes(v->graph->overlay) > checkpoint_limit(v, commit)) {
        rc = checkpoint(v);
        rc = rc == SQLITE_OK ? trim_log(v) : rc;
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
    rc = rc == SQLITE_OK ? edits_stand(v, &stand) : rc;
    if (rc == SQLITE_OK && !stand) {
        drop_edits(v);
        return SQLITE_OK;
    }
    /* A changeset over the shadow tables, or other SQL, may have taken away what the edits
     * were made on. */
    VsState first = vs_state_initial(&v->graph->params);
    if (rc == SQLITE_OK && v->graph->state.stamp != first.stamp) {
        rc = find_ourselves(v, &stand);
        rc = rc == SQLITE_OK && !stand ? SQLITE_CORRUPT_VTAB : rc;
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (!v->graph->changed) {
        return remove_mark(v);
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
