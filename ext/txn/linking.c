/*
 * Linking the rows that wait (csrc/build/pending.h), and what the owner may say about it:
 *
 *     INSERT INTO t(t) VALUES('threads=2')        threads for linking and vecsql_search
 *     INSERT INTO t(t) VALUES('progress=report')  call the SQL function
 *                                                 report(table, done, total) meanwhile
 *
 * Both are settings of the connection, for all its tables: nothing that is written depends
 * on them.
 *
 * Rows are linked when so many wait that it is due, before the next row comes in, and at
 * every commit. That a savepoint begins, or a query asks, changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "csrc/build/pending.h"
#include "csrc/search/readers.h"
#include "ext/table/index.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/txn/txn.h"
#include "ext/txn/linking.h"

/* ---- linking --------------------------------------------------------------------- */

/* Asks the owner's function. Whatever it fails with ends the work. */
static int report(void *ctx, uint64_t done, uint64_t total) {
    VsxIndex *index = ctx;
    sqlite3_stmt *stmt = index->progress;
    int rc = sqlite3_bind_text(stmt, 1, index->table, -1, SQLITE_TRANSIENT);
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 2, (sqlite3_int64)done) : rc;
    rc = rc == SQLITE_OK ? sqlite3_bind_int64(stmt, 3, (sqlite3_int64)total) : rc;
    rc = rc == SQLITE_OK ? sqlite3_step(stmt) : rc;
    rc = vsx_reset(stmt, rc);
    if (rc != SQLITE_OK) {
        index->load_rc = rc;
    }
    return rc;
}

int vsx_link(VsxVector *v) {
    VsxIndex *index = v->index;
    int wait = 0, rc = vsx_code(index, vs_any_pending(v->graph, &wait));
    rc = rc == SQLITE_OK && wait ? vsx_mark(v) : rc;
    if (rc != SQLITE_OK || !wait) {
        return rc;
    }
    if (index->global->progress != NULL && index->progress == NULL) {
        index->progress = vsx_prepare(
            index, &rc,
            sqlite3_mprintf("SELECT \"%w\"(?1, ?2, ?3)", index->global->progress));
        if (rc != SQLITE_OK) {
            return rc;
        }
    }
    VsBuild build = {.threads = index->global->threads,
                     .progress = index->progress == NULL ? NULL : report,
                     .ctx = index};
    index->linking++;
    index->load_rc = SQLITE_OK;
    VsStatus st = vs_link_pending(v->graph, &build);
    index->linking--;
    return st == VS_INTERRUPT && index->load_rc != SQLITE_OK ? index->load_rc
                                                             : vsx_code(index, st);
}

int vsx_link_all(VsxIndex *index) {
    int rc = SQLITE_OK;
    index->writing++;
    for (int i = 0; rc == SQLITE_OK && i < index->def->n_vectors; i++) {
        VsxVector *v = &index->vector[i];
        rc = vsx_refresh(v);
        if ((rc == SQLITE_ERROR || (rc & 0xFF) == SQLITE_CORRUPT) && v->mark == 0 &&
            v->poison == SQLITE_OK) {
            rc = SQLITE_OK; /* nothing of ours would be lost */
        } else if (rc == SQLITE_OK) {
            rc = vsx_link(v);
        }
    }
    index->writing--;
    return rc;
}

int vsx_link_due(VsxVector *v) {
    return vs_pending_due(v->graph) ? vsx_link(v) : SQLITE_OK;
}

/* ---- commands -------------------------------------------------------------------- */

int vsx_set_threads(VsxTable *t, const char *text) {
    char *end = NULL;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || n < 1 || n > VS_MAX_THREADS) {
        return vsx_fail(t, SQLITE_ERROR, "%s: threads must be from 1 to %d, not '%s'",
                        t->index->table, VS_MAX_THREADS, text);
    }
    t->index->global->threads = (unsigned)n;
    return SQLITE_OK;
}

int vsx_set_progress(VsxTable *t, const char *name) {
    VsxIndex *index = t->index;
    VsxGlobal *global = index->global;
    int rc = SQLITE_OK;
    char *copy = *name == '\0' ? NULL : sqlite3_mprintf("%s", name);
    if (copy != NULL) { /* is there such a function? */
        sqlite3_finalize(
            vsx_prepare(index, &rc, sqlite3_mprintf("SELECT \"%w\"(?1, ?2, ?3)", name)));
    }
    if (*name != '\0' && copy == NULL) {
        rc = SQLITE_NOMEM;
    }
    if (rc != SQLITE_OK) {
        sqlite3_free(copy);
        return rc != SQLITE_ERROR
                   ? rc
                   : vsx_fail(t, rc, "%s: no function %s(table, done, total)",
                              index->table, name);
    }
    for (VsxIndex *i = global->first; i != NULL; i = i->next) {
        sqlite3_finalize(i->progress);
        i->progress = NULL;
    }
    sqlite3_free(global->progress);
    global->progress = copy;
    return SQLITE_OK;
}

int vsx_warm(VsxTable *t) {
    VsxIndex *index = t->index;
    for (int i = 0; i < index->def->n_vectors; i++) {
        VSX_TRY(vsx_refresh(&index->vector[i]));
        VSX_TRY(vsx_code(index, vs_load_all(index->vector[i].graph)));
    }
    return SQLITE_OK;
}
