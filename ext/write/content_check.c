/* Values of a content table that are no vector; see content_check.h. */
#include "ext/write/content_check.h"

#include "ext/query/filter.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"

#define NAMED_ROWS 10 /* of those that are wrong */

/* Adds a row to the message; the reason of the first only. */
static int name_row(VsxTable *t, const VsxVector *v, sqlite3_int64 rowid, int n,
                    const char *err) {
    if (n == 1) {
        vsx_fail(t, SQLITE_ERROR, "row %lld of %s.%s: %s", rowid, t->index->def->content,
                 vsx_column_of(v)->name, err);
    } else if (n <= NAMED_ROWS) {
        char *more = sqlite3_mprintf(n == 2 ? "%s; also rows %lld" : "%s, %lld",
                                     t->base.zErrMsg, rowid);
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = more;
    }
    return t->base.zErrMsg == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int check_column(VsxTable *t, VsxVector *v) {
    sqlite3_stmt *stmt = NULL;
    VsxFilter none = {0};
    int bad = 0, rc = vsx_filter_rows(&none, v, &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        VsxVec vector = {0};
        char *err = NULL;
        rc = vsx_stored_vector(v, sqlite3_column_value(stmt, 1), &vector, &err);
        vsx_vector_free(&vector);
        if (rc == SQLITE_CORRUPT_VTAB) {
            rc = name_row(t, v, sqlite3_column_int64(stmt, 0), ++bad, err);
        }
        sqlite3_free(err);
    }
    int final = sqlite3_finalize(stmt);
    rc = rc == SQLITE_DONE ? final : rc;
    if (rc == SQLITE_OK && bad > NAMED_ROWS) {
        char *more = sqlite3_mprintf("%s and %d more", t->base.zErrMsg, bad - NAMED_ROWS);
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = more;
    }
    return rc == SQLITE_OK && bad > 0 ? SQLITE_ERROR : rc;
}

int vsx_content_check(VsxTable *t) {
    const VsxSchema *def = t->index->def;
    int rc = SQLITE_OK;
    for (int i = 0; def->content != NULL && !def->content_lost && rc == SQLITE_OK &&
                    i < def->n_vectors;
         i++) {
        rc = check_column(t, &t->index->vector[i]);
    }
    return rc;
}
