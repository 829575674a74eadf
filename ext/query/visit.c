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

int vsx_visit(VsxGlobal *global, const char *name, VsxVisit *out, char **err) {
    *out = (VsxVisit){0};
    VsxIndex *index = try_schema(global, "main", name);
    index = index == NULL ? try_schema(global, "temp", name) : index;
    const char *dot = strchr(name, '.');
    if (index == NULL && dot != NULL) {
        char *schema = sqlite3_mprintf("%.*s", (int)(dot - name), name);
        if (schema == NULL) {
            return SQLITE_NOMEM;
        }
        index = try_schema(global, schema, dot + 1);
        sqlite3_free(schema);
    }
    if (index == NULL) {
        *err = sqlite3_mprintf("there is no vecsql table %s", name);
        return SQLITE_ERROR;
    }
    int rc = vsx_visit_index(index, out);
    return rc == SQLITE_OK ? vsx_index_searchable(index, err) : rc;
}

int vsx_visit_index(VsxIndex *index, VsxVisit *out) {
    int rc = SQLITE_OK;
    index->refs++;
    out->index = index;
    out->snapshot = vsx_prepare(
        index, &rc,
        sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_schema LIMIT 1", index->schema));
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(out->snapshot); /* and is not reset until the end */
        rc = rc == SQLITE_ROW ? SQLITE_OK : vsx_reset(out->snapshot, rc);
    }
    return rc;
}

void vsx_visit_end(VsxVisit *visit) {
    sqlite3_finalize(visit->snapshot); /* a failed step was reported when it was made */
    if (visit->index != NULL) {
        vsx_index_release(visit->index);
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
