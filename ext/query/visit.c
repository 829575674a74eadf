/* Finding a table by the name that a user gives; see visit.h. */
#include "ext/query/visit.h"

#include <string.h>

#include "ext/table/shadow.h"
#include "ext/content/content.h"

static VsxIndex *try_schema(VsxGlobal *global, const char *schema, const char *table) {
    /* an unknown table is no error that the user should see twice */
    return vsx_exec(global->db, "SELECT 1 FROM \"%w\".\"%w\" LIMIT 0", schema, table) ==
                   SQLITE_OK
               ? vsx_index_find(global, schema, table)
               : NULL;
}

/* The statement was prepared for this schema, and SQLite did not have to do it again: its
 * table is the one that was found by name before. */
static int is_settled(const VsxVisit *visit) {
    return sqlite3_stmt_status(visit->snapshot, SQLITE_STMTSTATUS_REPREPARE, 0) == 0;
}

/* A table of main that was visited before, if the schema is as it was then. */
static int visit_again(VsxGlobal *global, const char *name, VsxVisit *out) {
    VsxIndex *index = vsx_index_find(global, "main", name);
    if (index == NULL || index->row_stmt[VSX_ROW_SNAPSHOT] == NULL) {
        return 0;
    }
    if (vsx_visit_index(index, out) == SQLITE_OK && is_settled(out)) {
        return 1;
    }
    vsx_visit_end(out);
    return 0;
}

static int find_index(VsxGlobal *global, const char *name, VsxIndex **out, char **err) {
    const char *dot = strchr(name, '.');
    *out = try_schema(global, "main", name);
    *out = *out == NULL ? try_schema(global, "temp", name) : *out;
    if (*out == NULL && dot != NULL) {
        char *schema = sqlite3_mprintf("%.*s", (int)(dot - name), name);
        if (schema == NULL) {
            return SQLITE_NOMEM;
        }
        *out = try_schema(global, schema, dot + 1);
        sqlite3_free(schema);
    }
    if (*out == NULL) {
        *err = sqlite3_mprintf("there is no vecsql table %s", name);
        return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

int vsx_visit(VsxGlobal *global, const char *name, VsxVisit *out, char **err) {
    VsxIndex *index = NULL;
    int rc = SQLITE_OK;
    *out = (VsxVisit){0};
    if (!visit_again(global, name, out)) {
        rc = find_index(global, name, &index, err);
        rc = rc == SQLITE_OK ? vsx_visit_index(index, out) : rc;
    }
    return rc == SQLITE_OK ? vsx_index_searchable(out->index, err) : rc;
}

int vsx_visit_index(VsxIndex *index, VsxVisit *out) {
    int rc = vsx_row_stmt(index, VSX_ROW_SNAPSHOT, &out->snapshot);
    index->refs++;
    out->index = index;
    index->row_stmt[VSX_ROW_SNAPSHOT] = NULL; /* a visit within this one has its own */
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(out->snapshot); /* and is not reset until the end */
        rc = rc == SQLITE_ROW ? SQLITE_OK : vsx_reset(out->snapshot, rc);
    }
    return rc;
}

void vsx_visit_end(VsxVisit *visit) {
    VsxIndex *index = visit->index;
    if (index != NULL && visit->snapshot != NULL && !index->dropped &&
        index->row_stmt[VSX_ROW_SNAPSHOT] == NULL && is_settled(visit)) {
        sqlite3_reset(visit->snapshot); /* likewise */
        index->row_stmt[VSX_ROW_SNAPSHOT] = visit->snapshot;
        visit->snapshot = NULL;
    }
    sqlite3_finalize(visit->snapshot); /* a failed step was reported when it was made */
    if (index != NULL) {
        vsx_index_release(index);
    }
    *visit = (VsxVisit){0};
}

int vsx_find_vector(VsxIndex *index, const char *name, VsxVector **out, char **err) {
    const VsxSchema *def = index->def;
    for (int i = 0; i < def->n_vectors; i++) {
        const char *column = def->column[def->vector[i]].name;
        if (name == NULL ? def->n_vectors == 1 : sqlite3_stricmp(column, name) == 0) {
            *out = &index->vector[i];
            return SQLITE_OK;
        }
    }
    *err = name == NULL
               ? sqlite3_mprintf("%s has %d vector columns; name one", index->table,
                                 def->n_vectors)
               : sqlite3_mprintf("%s has no vector column %s", index->table, name);
    return SQLITE_ERROR;
}
