/* The dialect of the module vecsql; see dialect.h. */
#include "ext/table/dialect.h"

#include "ext/table/errors.h"

static int vector(VsxTable *t, const VsxColumn *c, VsxUse use, sqlite3_value *value,
                  VsxVec *out) {
    char *err = NULL;
    if (sqlite3_value_type(value) == SQLITE_NULL) {
        return SQLITE_OK;
    }
    int rc = vsx_vector_given(value, &c->params.code, out, &err);
    if (rc == SQLITE_ERROR) {
        rc = vsx_fail(t, rc, use == VSX_QUERIED ? "%s.%s: query vector: %s" : "%s.%s: %s",
                      t->index->table, c->name, err);
    }
    sqlite3_free(err);
    return rc;
}

static int conflict(VsxTable *t, const VsxColumn *c) {
    return vsx_fail(t, SQLITE_CONSTRAINT, "UNIQUE constraint failed: %s.%s",
                    t->index->table, c != NULL ? c->name : "rowid");
}

const VsxDialect vsx_vecsql = {
    .declaration = vsx_schema_declaration,
    .vector = vector,
    .conflict = conflict,
};
