/* What table-valued functions have in common. See table_function.h. */
#include "ext/functions/table_function.h"

#include <string.h>

#ifndef SQLITE_VTAB_INNOCUOUS
#define SQLITE_VTAB_INNOCUOUS 2
#endif

typedef struct FunctionTable {
    sqlite3_vtab base;
    const VsxTableFunction *function;
    void *data;
} FunctionTable;

static int tf_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                      sqlite3_vtab **out, char **err) {
    const FunctionTable *registered = aux;
    FunctionTable *t = sqlite3_malloc64(sizeof *t);
    (void)argc;
    (void)argv;
    (void)err;
    int rc = t == NULL ? SQLITE_NOMEM
                       : sqlite3_declare_vtab(db, registered->function->declaration);
    if (rc == SQLITE_OK && registered->function->innocuous) {
        rc = sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    }
    if (rc != SQLITE_OK) {
        sqlite3_free(t);
        return rc;
    }
    *t = *registered;
    *out = &t->base;
    return SQLITE_OK;
}

static int tf_disconnect(sqlite3_vtab *base) {
    sqlite3_free(base);
    return SQLITE_OK;
}

static int tf_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    const VsxTableFunction *f = ((FunctionTable *)base)->function;
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

static const VsxTableFunction *function_of(const sqlite3_vtab_cursor *c) {
    return ((const FunctionTable *)c->pVtab)->function;
}

static int tf_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out) {
    size_t size = ((FunctionTable *)base)->function->cursor_size;
    VsxFunctionCursor *c = sqlite3_malloc64(size);
    if (c == NULL) {
        return SQLITE_NOMEM;
    }
    memset(c, 0, size);
    *out = &c->base;
    return SQLITE_OK;
}

static int tf_close(sqlite3_vtab_cursor *base) {
    function_of(base)->clear((VsxFunctionCursor *)base);
    sqlite3_free(base);
    return SQLITE_OK;
}

static int tf_filter(sqlite3_vtab_cursor *base, int num, const char *plan, int argc,
                     sqlite3_value **argv) {
    VsxFunctionCursor *c = (VsxFunctionCursor *)base;
    (void)plan;
    (void)argc;
    function_of(base)->clear(c);
    c->at = c->n = 0;
    return function_of(base)->filter(c, num, argv);
}

static int tf_next(sqlite3_vtab_cursor *base) {
    ((VsxFunctionCursor *)base)->at++;
    return SQLITE_OK;
}

static int tf_eof(sqlite3_vtab_cursor *base) {
    const VsxFunctionCursor *c = (const VsxFunctionCursor *)base;
    return c->at >= c->n;
}

static int tf_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int i) {
    return function_of(base)->column((VsxFunctionCursor *)base, ctx, i);
}

static int tf_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    const VsxFunctionCursor *c = (const VsxFunctionCursor *)base;
    *rowid = (sqlite3_int64)c->at + function_of(base)->first_rowid;
    return SQLITE_OK;
}

static const sqlite3_module module = {
    .xConnect = tf_connect, /* no xCreate: a table-valued function only */
    .xBestIndex = tf_best_index,
    .xDisconnect = tf_disconnect,
    .xOpen = tf_open,
    .xClose = tf_close,
    .xFilter = tf_filter,
    .xNext = tf_next,
    .xEof = tf_eof,
    .xColumn = tf_column,
    .xRowid = tf_rowid,
};

int vsx_register_table_function(sqlite3 *db, const VsxTableFunction *function,
                                void *data) {
    FunctionTable *registered = sqlite3_malloc64(sizeof *registered);
    if (registered == NULL) {
        return SQLITE_NOMEM;
    }
    *registered = (FunctionTable){.function = function, .data = data};
    return sqlite3_create_module_v2(db, function->name, &module, registered,
                                    sqlite3_free);
}

void *vsx_tf_data(const VsxFunctionCursor *c) {
    return ((const FunctionTable *)c->base.pVtab)->data;
}

int vsx_tf_fail(VsxFunctionCursor *c, int rc, char *message) {
    sqlite3_vtab *base = c->base.pVtab;
    sqlite3_free(base->zErrMsg);
    base->zErrMsg = message == NULL
                        ? NULL
                        : sqlite3_mprintf("%s: %s", function_of(&c->base)->name, message);
    sqlite3_free(message);
    return rc;
}
