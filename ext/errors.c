/*
 * From what went wrong to what the user reads: the one place that maps a VsStatus to an
 * SQLite code and words the message with schema, table and column.
 */
#include <stdarg.h>

#include "ext.h"

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

int vsx_explain(VsxTable *t, int rc) {
    const VsxIndex *i = t->index;
    if (t->base.zErrMsg != NULL || rc == SQLITE_OK || rc == SQLITE_NOMEM ||
        rc == SQLITE_INTERRUPT) {
        return rc;
    }
    const char *repair =
        (rc & 0xFF) == SQLITE_CORRUPT
            ? "the index of %s.%s is damaged; the rows are kept: INSERT INTO "
              "%s(%s) VALUES('rebuild') makes it anew"
            : "the index of %s.%s has used up its node numbers: INSERT INTO "
              "%s(%s) VALUES('rebuild') gives new ones";
    if ((rc & 0xFF) == SQLITE_CORRUPT || rc == VSX_USED_UP) {
        return vsx_fail(t, rc == VSX_USED_UP ? SQLITE_TOOBIG : rc, repair, i->schema,
                        i->table, i->table, i->table);
    }
    if (i->def->content != NULL) {
        return vsx_fail(t, rc, "%s.%s, an index over %s: %s", i->schema, i->table,
                        i->def->content, sqlite3_errmsg(i->global->db));
    }
    return vsx_fail(t, rc, "%s.%s: %s", i->schema, i->table,
                    sqlite3_errmsg(i->global->db));
}
