/* The rows that an index is stored in; see stored.h. */
#include "ext/txn/stored.h"

#include "csrc/graph/fit.h"
#include "ext/base/rowmap.h"
#include "ext/table/errors.h"
#include "ext/table/shadow.h"

/* ---- reading -------------------------------------------------------------------- */

/* Whether a log row (ver, stamp, state) is the mark of this column's edits. */
static int is_our_mark(const VsxVector *v, sqlite3_stmt *row) {
    return v->mark != 0 && sqlite3_column_type(row, 2) == SQLITE_NULL &&
           sqlite3_column_int64(row, 1) == v->mark;
}

int vsx_edits_stand(VsxVector *v, int *out) {
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

int vsx_newest_row(VsxVector *v, VsStateRow *out, sqlite3_int64 *mark) {
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

int vsx_read_log(VsxVector *v, uint64_t after, VsxLogReader use, int *stop) {
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

int vsx_find_stamp(VsxVector *v, int *found) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_STAMP, &stmt));
    int rc = vsx_step_with(stmt, (sqlite3_int64)v->graph->state.ver);
    *found = rc == SQLITE_ROW &&
             (uint64_t)sqlite3_column_int64(stmt, 0) == v->graph->state.stamp;
    return vsx_reset(stmt, rc);
}

int vsx_newest_key(VsxVector *v, sqlite3_int64 *ver, sqlite3_int64 *stamp) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_STATE, &stmt));
    int rc = vsx_seen(stmt, 3, sqlite3_step(stmt));
    *ver = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    *stamp = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 1) : 0;
    return vsx_reset(stmt, rc);
}

int vsx_newest_edits(VsxVector *v, VsBuffer *out) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_LOG, &stmt));
    int rc = vsx_step_with(stmt, (sqlite3_int64)v->graph->state.ver - 1);
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 3) == SQLITE_BLOB) {
        VsStatus st = vs_buffer_reserve(&vsx_alloc, out, 1);
        st = st == VS_OK ? vs_buffer_append(&vsx_alloc, out, sqlite3_column_blob(stmt, 3),
                                            (size_t)sqlite3_column_bytes(stmt, 3))
                         : st;
        rc = vsx_code(v->index, st);
    }
    return vsx_reset(stmt, rc);
}

/* ---- writing -------------------------------------------------------------------- */

int vsx_write_mark(VsxVector *v, sqlite3_int64 ver, sqlite3_int64 mark) {
    sqlite3_stmt *stmt = NULL;
    VSX_TRY(vsx_stmt(v, VSX_SQL_LOG_PUT, &stmt));
    VSX_TRY(sqlite3_bind_int64(stmt, 1, ver));
    VSX_TRY(sqlite3_bind_int64(stmt, 2, mark));
    return vsx_write(stmt);
}

int vsx_remove_mark(VsxVector *v) {
    VSX_TRY(vsx_write_with(v, VSX_SQL_LOG_REMOVE, v->mark_ver));
    v->mark = 0;
    return SQLITE_OK;
}

int vsx_write_log_row(VsxVector *v, const unsigned char *edits, size_t len,
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

VsStatus vsx_write_page(void *ctx, VsPageKind kind, uint32_t page, uint64_t ver,
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

int vsx_write_map(VsxVector *v) {
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

int vsx_trim_log(VsxVector *v) {
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
    return rc == SQLITE_OK && cut >= 0 ? vsx_write_with(v, VSX_SQL_LOG_TRIM, cut) : rc;
}

int vsx_write_model(VsxVector *v) {
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
    rc = rc == SQLITE_OK ? vsx_write_with(v, VSX_SQL_MODEL_TRIM, epoch) : rc;
    if (rc == SQLITE_OK) {
        vs_model_saved(v->graph);
    }
    return rc;
}
