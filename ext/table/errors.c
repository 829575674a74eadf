/*
 * From what went wrong to what the user reads: the one place that maps a VsStatus to an
 * SQLite code and words the message with schema, table and column.
 */
#include <stdarg.h>

#include "ext/table/index.h"
#include "ext/table/errors.h"

int vsx_code(const VsxIndex *index, VsStatus st) {
    switch (st) {
    case VS_OK:
        return SQLITE_OK;
    case VS_NOMEM:
        return SQLITE_NOMEM;
    case VS_CORRUPT:
        return SQLITE_CORRUPT_VTAB;
    case VS_RANGE:
        return VSX_USED_UP;
    case VS_INTERRUPT:
        return SQLITE_INTERRUPT;
    case VS_IO:
        return index->load_rc != SQLITE_OK ? index->load_rc : SQLITE_IOERR;
    default:
        return SQLITE_ERROR;
    }
}

int vsx_fail(VsxTable *t, int rc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sqlite3_free(t->base.zErrMsg);
    t->base.zErrMsg = sqlite3_vmprintf(format, args);
    va_end(args);
    return rc;
}

/* What SQLite says; where nested statements went well it says nothing. */
static const char *sqlite_text(sqlite3 *db, int rc) {
    int last = sqlite3_errcode(db);
    return last == SQLITE_OK || last == SQLITE_ROW || last == SQLITE_DONE
               ? sqlite3_errstr(rc)
               : sqlite3_errmsg(db);
}

char *vsx_reason(VsxIndex *i, int rc) {
    const char *refused = i->refused == rc ? sqlite3_errstr(rc) : NULL;
    i->refused = SQLITE_OK;
    if (refused != NULL && rc != SQLITE_OK) {
        return sqlite3_mprintf(
            "%s.%s: an earlier change of its index failed half way (%s): ROLLBACK, or "
            "INSERT INTO %s(%s) VALUES('rebuild') makes it anew",
            i->schema, i->table, refused, i->table, i->table);
    }
    if (rc == SQLITE_OK || rc == SQLITE_NOMEM || rc == SQLITE_INTERRUPT) {
        return NULL;
    }
    if ((rc & 0xFF) == SQLITE_CORRUPT) {
        return sqlite3_mprintf(
            "the index of %s.%s is damaged; the rows are kept: INSERT INTO %s(%s) "
            "VALUES('rebuild') makes it anew",
            i->schema, i->table, i->table, i->table);
    }
    if (rc == VSX_USED_UP) {
        return sqlite3_mprintf("the index of %s.%s has used up its node numbers: INSERT "
                               "INTO %s(%s) VALUES('rebuild') gives new ones",
                               i->schema, i->table, i->table, i->table);
    }
    const char *text = sqlite_text(i->global->db, rc);
    return i->def->content != NULL
               ? sqlite3_mprintf("%s.%s, an index over %s: %s", i->schema, i->table,
                                 i->def->content, text)
               : sqlite3_mprintf("%s.%s: %s", i->schema, i->table, text);
}

int vsx_explain(VsxTable *t, int rc) {
    if (t->base.zErrMsg == NULL) {
        t->base.zErrMsg = vsx_reason(t->index, rc);
    }
    return rc == VSX_USED_UP ? SQLITE_TOOBIG : rc;
}
