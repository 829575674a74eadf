/* What table-valued functions have in common. See table_function.h. */
#include "ext/functions/table_function.h"

#include <string.h>

#ifndef SQLITE_VTAB_INNOCUOUS
#define SQLITE_VTAB_INNOCUOUS 2
#endif

typedef struct Registration {
    const VsxTableFunction *function;
    void *data;
} Registration;

int vsx_register_table_function(sqlite3 *db, const VsxTableFunction *function,
                                const sqlite3_module *module, void *data) {
    Registration *r = sqlite3_malloc64(sizeof *r);
    if (r == NULL) {
        return SQLITE_NOMEM;
    }
    *r = (Registration){function, data};
    return sqlite3_create_module_v2(db, function->name, module, r, sqlite3_free);
}

int vsx_tf_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                   sqlite3_vtab **out, char **err) {
    const Registration *r = aux;
    VsxFunctionTable *t = sqlite3_malloc64(sizeof *t);
    (void)argc;
    (void)argv;
    (void)err;
    int rc =
        t == NULL ? SQLITE_NOMEM : sqlite3_declare_vtab(db, r->function->declaration);
    if (rc == SQLITE_OK && r->function->innocuous) {
        rc = sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    }
    if (rc != SQLITE_OK) {
        sqlite3_free(t);
        return rc;
    }
    *t = (VsxFunctionTable){.function = r->function, .data = r->data};
    *out = &t->base;
    return SQLITE_OK;
}

int vsx_tf_disconnect(sqlite3_vtab *base) {
    sqlite3_free(base);
    return SQLITE_OK;
}

int vsx_tf_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    const VsxTableFunction *f = ((VsxFunctionTable *)base)->function;
    int n = 0;
    for (int arg = 0; arg < f->n_args; arg++) {
        for (int i = 0; i < info->nConstraint; i++) {
            const struct sqlite3_index_constraint *c = &info->aConstraint[i];
            if (c->iColumn != f->n_results + arg || c->op != SQLITE_INDEX_CONSTRAINT_EQ ||
                info->idxNum & 1 << arg) {
                continue;
            }
            if (!c->usable) {
                return SQLITE_CONSTRAINT; /* a column of a table further out */
            }
            info->aConstraintUsage[i].argvIndex = ++n;
            info->aConstraintUsage[i].omit = 1;
            info->idxNum |= 1 << arg;
        }
    }
    if (n < f->n_needed) {
        return SQLITE_CONSTRAINT;
    }
    info->estimatedCost = f->cost;
    info->estimatedRows = f->rows;
    info->orderByConsumed =
        info->nOrderBy == 1 && info->aOrderBy[0].iColumn == -1 && !info->aOrderBy[0].desc;
    return SQLITE_OK;
}

int vsx_tf_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out) {
    size_t size = ((VsxFunctionTable *)base)->function->cursor_size;
    sqlite3_vtab_cursor *c = sqlite3_malloc64(size);
    if (c == NULL) {
        return SQLITE_NOMEM;
    }
    memset(c, 0, size);
    *out = c;
    return SQLITE_OK;
}

int vsx_tf_fail(sqlite3_vtab_cursor *cursor, int rc, char *message) {
    sqlite3_vtab *base = cursor->pVtab;
    sqlite3_free(base->zErrMsg);
    base->zErrMsg =
        message == NULL
            ? NULL
            : sqlite3_mprintf("%s: %s", ((VsxFunctionTable *)base)->function->name,
                              message);
    sqlite3_free(message);
    return rc;
}
