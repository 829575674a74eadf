/* Which model has embedded the rows of a column; see models.h. */
#include "ext/table/models.h"

#include <string.h>

#include "ext/table/shadow.h"

int vsx_model_of(const VsxIndex *index, const char *column, char **out) {
    sqlite3 *db = index->global->db;
    *out = NULL;
    int rc = sqlite3_table_column_metadata(db, index->schema, "vecsql_indexes", "model",
                                           NULL, NULL, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        return rc == SQLITE_ERROR ? SQLITE_OK : rc; /* nobody keeps models here */
    }
    return vsx_ask_text(
        db,
        sqlite3_mprintf("SELECT model FROM \"%w\".vecsql_indexes WHERE name = %Q AND "
                        "col = %Q AND model IS NOT NULL",
                        index->schema, index->table, column),
        out);
}

int vsx_check_embedder(const VsxIndex *index, const char *column, sqlite3_value *query,
                       char **err) {
    unsigned number = sqlite3_value_subtype(query) - VSX_SUBTYPE_EMBEDDED;
    char *model = NULL;
    if (number >= VSX_MODELS || index->global->model[number] == NULL) {
        return SQLITE_OK;
    }
    int rc = vsx_model_of(index, column, &model);
    const char *given = index->global->model[number];
    if (rc == SQLITE_OK && model != NULL && strcmp(model, given) != 0) {
        *err = sqlite3_mprintf("expected a vector of the model '%s', which the rows are "
                               "of, got one of '%s': register the first under another "
                               "name (vecsql.register_embedder), or move the index to "
                               "the second (vecsql.reembed)",
                               model, given);
        rc = *err == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
    }
    sqlite3_free(model);
    return rc;
}
