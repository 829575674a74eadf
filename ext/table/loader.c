/*
 * The hooks of a graph: pages, models and vectors come from the shadow tables and the rows.
 *
 * Long work is interrupted by sqlite3_interrupt and by a progress handler. Before 3.41
 * nobody tells whether an interrupt is there; but a statement that runs finds out, and it
 * also calls the progress handler.
 */
#include "ext/table/loader.h"

#include <string.h>

#include "ext/table/shadow.h"

/* A statement takes some 10 us: it runs at every so many polls. */
#define POLLS_A_STATEMENT 64

int vsx_poll(void *ctx) {
    VsxVector *v = ctx;
    sqlite3_stmt *stmt = NULL;
    if (vsx_is_interrupted(v->index->global->db)) {
        return 1;
    }
    if (++v->polls % POLLS_A_STATEMENT != 0 || v->polling) {
        return 0;
    }
    v->polling = 1; /* a progress handler that comes back here must not go round */
    int rc = vsx_stmt(v, VSX_SQL_POLL, &stmt);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        rc = vsx_reset(stmt, rc);
    }
    v->polling = 0;
    return rc == SQLITE_INTERRUPT;
}

int vsx_stored_vector(const VsxVector *v, sqlite3_value *value, VsxVec *out, char **bad) {
    char *err = NULL;
    int rc = vsx_vector_stored(value, &v->graph->params.code, out, &err);
    if (bad != NULL) {
        *bad = err;
    } else {
        sqlite3_free(err);
    }
    return rc == SQLITE_ERROR ? SQLITE_CORRUPT_VTAB : rc;
}

int vsx_row_vector(VsxVector *v, sqlite3_int64 rowid, VsxVec *out, char **bad) {
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(v, VSX_SQL_VECTOR, &stmt);
    *out = (VsxVec){0};
    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = vsx_step_with(stmt, rowid);
    if (v->index->def->content == NULL) { /* a content table need not declare a type */
        rc = vsx_seen(stmt, 1, rc);
    }
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        rc = vsx_stored_vector(v, sqlite3_column_value(stmt, 0), out, bad);
    }
    return vsx_reset(stmt, rc);
}

static VsStatus load_page(void *ctx, VsPageKind kind, uint32_t page,
                          const unsigned char **blob, size_t *len, uint64_t *ver) {
    VsxVector *v = ctx;
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(v, VSX_SQL_PAGE, &stmt);
    if (rc == SQLITE_OK) {
        rc = vsx_step_with(stmt, (sqlite3_int64)((uint64_t)kind << 32 | page));
    }
    if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 1) == SQLITE_BLOB) {
        *ver = (uint64_t)sqlite3_column_int64(stmt, 0);
        *blob = sqlite3_column_blob(stmt, 1);
        *len = (size_t)sqlite3_column_bytes(stmt, 1);
        return VS_OK;
    }
    rc = vsx_reset(stmt, rc);
    if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE) {
        *blob = NULL; /* no such row, or not a blob: damage */
        return VS_OK;
    }
    v->index->load_rc = rc;
    return VS_IO;
}

static VsStatus load_model(void *ctx, uint32_t epoch, const unsigned char **blob,
                           size_t *len) {
    VsxVector *v = ctx;
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_stmt(v, VSX_SQL_MODEL, &stmt);
    *blob = NULL; /* if there is no such row: damage */
    if (rc == SQLITE_OK) {
        rc = vsx_step_with(stmt, (sqlite3_int64)epoch);
    }
    if (rc == SQLITE_ROW) {
        *blob = sqlite3_column_blob(stmt, 0);
        *len = (size_t)sqlite3_column_bytes(stmt, 0);
        return VS_OK;
    }
    rc = vsx_reset(stmt, rc);
    v->index->load_rc = rc;
    return rc == SQLITE_OK ? VS_OK : VS_IO;
}

static void load_done(void *ctx) {
    VsxVector *v = ctx;
    sqlite3_reset(v->stmt[VSX_SQL_PAGE]);
    sqlite3_reset(v->stmt[VSX_SQL_MODEL]);
}

/* What a row holds now. A value that is no vector of the column counts as none. */
static VsStatus load_vector(void *ctx, int64_t rowid, void *out, int *found) {
    VsxVector *v = ctx;
    VsxVec vector;
    int rc = vsx_row_vector(v, rowid, &vector, NULL);
    *found = vector.n > 0;
    if (*found) {
        memcpy(out, vector.v, vs_element_bytes(vector.element, vector.n));
    }
    vsx_vector_free(&vector);
    rc = rc == SQLITE_CORRUPT_VTAB ? SQLITE_OK : rc;
    v->index->load_rc = rc;
    return rc == SQLITE_OK ? VS_OK : VS_IO;
}

static unsigned hook_threads(void *ctx) {
    return ((const VsxVector *)ctx)->index->global->threads;
}

VsHooks vsx_hooks(VsxVector *v) {
    return (VsHooks){.load = load_page,
                     .load_done = load_done,
                     .load_model = load_model,
                     .vector = load_vector,
                     .interrupted = vsx_poll,
                     .threads = hook_threads,
                     .ctx = v};
}
