/* Whether triggers tell every change, and so whether a search may answer; see content.h. */
#include <string.h>

#include "ext/content/internal.h"
#include "ext/table/shadow.h"
#include "ext/content/content.h"

/* How many of the vital triggers PREFIX_insert and so on the content table has. */
static int count_triggers(const VsxIndex *i, const char *prefix, int *out) {
    char *n = NULL;
    int rc =
        vsx_one_text(i->global->db,
                     sqlite3_mprintf("SELECT count(*) FROM \"%w\".sqlite_schema WHERE "
                                     "type = 'trigger' AND tbl_name = %Q COLLATE NOCASE "
                                     "AND name COLLATE NOCASE IN ('%q_%q', '%q_%q', "
                                     "'%q_%q')",
                                     i->schema, i->def->content, prefix, vsx_events[0],
                                     prefix, vsx_events[1], prefix, vsx_events[2]),
                     &n);
    *out = n != NULL ? n[0] - '0' : 0;
    sqlite3_free(n);
    return rc;
}

/* Whether triggers tell every change: our own; those that `detach` was told of; those that
 * the Python package puts in the place of ours, under a name made of the index's. */
static int look_for_triggers(VsxIndex *i, int *followed) {
    const VsxSchema *def = i->def;
    char *own = sqlite3_mprintf("%s_vecsql", def->triggers == NULL ? "" : def->triggers);
    char *queue = sqlite3_mprintf("%s_queue", i->table);
    const char *other = def->detached == NULL ? queue : def->detached;
    int n = VSX_VITAL, rc = own == NULL || queue == NULL ? SQLITE_NOMEM : SQLITE_OK;
    if (rc == SQLITE_OK && (def->detached == NULL || *def->detached != '\0')) {
        rc = def->detached == NULL ? count_triggers(i, own, &n) : SQLITE_OK;
        rc = rc == SQLITE_OK && (def->detached != NULL || n < VSX_VITAL)
                 ? count_triggers(i, other, &n)
                 : rc;
    }
    *followed = n == VSX_VITAL;
    sqlite3_free(own);
    sqlite3_free(queue);
    return rc;
}

int vsx_content_followed(VsxIndex *index, int *followed) {
    sqlite3_stmt *stmt = NULL;
    sqlite3_int64 cookie = 0;
    int rc = vsx_row_stmt(index, VSX_ROW_COOKIE, &stmt);
    rc = vsx_number(stmt, rc, &cookie);
    if (rc == SQLITE_OK && (!index->looked || index->cookie != cookie)) {
        rc = look_for_triggers(index, &index->followed);
        index->looked = rc == SQLITE_OK;
        index->cookie = cookie;
    }
    *followed = index->followed;
    return rc;
}

/* An error, and why, if the content table is gone or the configuration is. */
static int examine_index(const VsxIndex *i, char **why) {
    if (i->def->config_lost) {
        *why = sqlite3_mprintf(
            "%s.%s: its configuration is damaged; the rows are kept: INSERT INTO "
            "%s(%s) VALUES('rebuild') makes the index anew as it is declared",
            i->schema, i->table, i->table, i->table);
        return SQLITE_CORRUPT_VTAB;
    }
    if (i->def->content_lost) {
        *why = sqlite3_mprintf("%s.%s: its content table %s, or a column that the index "
                               "needs, does not exist any more",
                               i->schema, i->table, i->def->content);
        return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

int vsx_index_searchable(VsxIndex *i, char **why) {
    int followed = 1, rc = examine_index(i, why);
    if (rc == SQLITE_OK && i->def->content != NULL) {
        rc = vsx_content_followed(i, &followed);
    }
    if (rc == SQLITE_OK && !followed) {
        *why = sqlite3_mprintf("%s.%s has missed changes of %s, which lost its triggers "
                               "(a migration makes a table anew): INSERT INTO %s(%s) "
                               "VALUES('rebuild') indexes its rows and makes them again",
                               i->schema, i->table, i->def->content, i->table, i->table);
        rc = SQLITE_ERROR;
    }
    return rc;
}

static int refuse(VsxTable *t, int rc, char *why) {
    if (why != NULL) {
        sqlite3_free(t->base.zErrMsg);
        t->base.zErrMsg = why;
    }
    return rc;
}

int vsx_usable(VsxTable *t) {
    char *why = NULL;
    int rc = examine_index(t->index, &why);
    return refuse(t, rc, why);
}

int vsx_searchable(VsxTable *t) {
    char *why = NULL;
    int rc = vsx_index_searchable(t->index, &why);
    return refuse(t, rc, why);
}
