/* Syncing: the index takes over what the content table holds under a rowid; see content.h. */
#include "ext/content/internal.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/table/doubts.h"
#include "ext/txn/vector.h"
#include "ext/content/content.h"

/* Both columns or none. */
static int sync_row(VsxIndex *i, sqlite3_int64 rowid, const VsxVector **at, char **bad) {
    VsxVec vector[VSX_MAX_VECTORS] = {{0}};
    int rc = SQLITE_OK, n = i->def->n_vectors;
    for (int v = 0; rc == SQLITE_OK && v < n; v++) {
        *at = &i->vector[v];
        rc = vsx_row_vector(&i->vector[v], rowid, &vector[v], bad);
    }
    for (int v = 0; rc == SQLITE_OK && v < n; v++) {
        rc = vsx_set_vector(&i->vector[v], rowid, &vector[v]);
    }
    for (int v = 0; v < n; v++) {
        vsx_vector_free(&vector[v]);
    }
    return rc;
}

/* Rows that were about to be replaced when a trigger said so: which of them have gone?
 * They stay in the list until the transaction ends, for a rollback may bring their entries
 * back without the rows. */
int vsx_content_settle(VsxIndex *i) {
    VsxDoubts *d = i->doubts;
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && d->settled < d->n) {
        const VsxVector *at = NULL;
        char *bad = NULL;
        rc = sync_row(i, d->row[d->settled], &at, &bad);
        rc = bad != NULL ? SQLITE_OK : rc; /* it is there: a trigger's statement fails */
        sqlite3_free(bad);
        d->settled += rc == SQLITE_OK;
    }
    return rc;
}

int vsx_content_sync(VsxTable *t, sqlite3_value *rowid) {
    VSX_TRY(vsx_usable(t));
    VSX_TRY(vsx_content_settle(t->index));
    if (sqlite3_value_type(rowid) != SQLITE_INTEGER) {
        return vsx_fail(t, SQLITE_MISMATCH, "%s: vecsql_sync needs an integer rowid",
                        t->index->table);
    }
    const VsxVector *at = NULL;
    char *bad = NULL;
    int rc = sync_row(t->index, sqlite3_value_int64(rowid), &at, &bad);
    if (bad != NULL) {
        rc =
            vsx_fail(t, SQLITE_ERROR, "row %lld of %s.%s: %s", sqlite3_value_int64(rowid),
                     t->index->def->content, vsx_column_of(at)->name, bad);
    }
    sqlite3_free(bad);
    return rc;
}
