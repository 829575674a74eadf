/*
 * The table-valued function vec_each(vector): a row per element, rowid from 0.
 *
 *     CREATE TABLE x(value, vector HIDDEN)
 *
 * Bits come in the order of vec_to_json and vec_quantize_binary, the lowest of each byte
 * first. sqlite-vec gives the highest first here; under its name so do we.
 */
#include <string.h>

#include "functions.h"

#ifndef SQLITE_VTAB_INNOCUOUS
#define SQLITE_VTAB_INNOCUOUS 2
#endif

enum { EACH_VALUE, EACH_VECTOR };

typedef struct EachTable {
    sqlite3_vtab base;
    int high_bit_first;
} EachTable;

typedef struct EachCursor {
    sqlite3_vtab_cursor base;
    VsxVec vec;
    size_t at;
} EachCursor;

static int each_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **err) {
    (void)argc;
    (void)argv;
    (void)err;
    EachTable *t = sqlite3_malloc64(sizeof *t);
    int rc = t == NULL ? SQLITE_NOMEM
                       : sqlite3_declare_vtab(db, "CREATE TABLE x(value, vector HIDDEN)");
    rc = rc == SQLITE_OK ? sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS) : rc;
    if (rc != SQLITE_OK) {
        sqlite3_free(t);
        return rc;
    }
    memset(t, 0, sizeof *t);
    t->high_bit_first = aux != NULL;
    *out = &t->base;
    return SQLITE_OK;
}

static int each_disconnect(sqlite3_vtab *base) {
    sqlite3_free(base);
    return SQLITE_OK;
}

static int each_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    (void)base;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        if (c->iColumn == EACH_VECTOR && c->op == SQLITE_INDEX_CONSTRAINT_EQ &&
            c->usable) {
            info->aConstraintUsage[i].argvIndex = 1;
            info->aConstraintUsage[i].omit = 1;
            info->estimatedCost = 100;
            info->estimatedRows = 100;
            info->orderByConsumed = info->nOrderBy == 1 &&
                                    info->aOrderBy[0].iColumn == -1 &&
                                    !info->aOrderBy[0].desc;
            return SQLITE_OK;
        }
    }
    return SQLITE_CONSTRAINT; /* the argument is missing, or of a table further out */
}

static int each_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out) {
    (void)base;
    EachCursor *c = sqlite3_malloc64(sizeof *c);
    if (c == NULL) {
        return SQLITE_NOMEM;
    }
    memset(c, 0, sizeof *c);
    *out = &c->base;
    return SQLITE_OK;
}

static int each_close(sqlite3_vtab_cursor *base) {
    vsx_vector_free(&((EachCursor *)base)->vec);
    sqlite3_free(base);
    return SQLITE_OK;
}

static int each_filter(sqlite3_vtab_cursor *base, int num, const char *plan, int argc,
                       sqlite3_value **argv) {
    EachCursor *c = (EachCursor *)base;
    char *err = NULL;
    (void)num;
    (void)plan;
    (void)argc;
    vsx_vector_free(&c->vec);
    c->at = 0;
    int rc = vsx_vector_read(argv[0], &c->vec, &err);
    if (rc == SQLITE_ERROR) {
        sqlite3_free(base->pVtab->zErrMsg);
        base->pVtab->zErrMsg = sqlite3_mprintf("vec_each: %s", err);
    }
    sqlite3_free(err);
    return rc;
}

static int each_next(sqlite3_vtab_cursor *base) {
    ((EachCursor *)base)->at++;
    return SQLITE_OK;
}

static int each_eof(sqlite3_vtab_cursor *base) {
    const EachCursor *c = (const EachCursor *)base;
    return c->at >= c->vec.n;
}

static int each_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int column) {
    const EachCursor *c = (const EachCursor *)base;
    const unsigned char *bytes = c->vec.v;
    VsElement element = c->vec.element;
    if (column != EACH_VALUE) {
        return SQLITE_OK;
    }
    if (element == VS_BIT) {
        int high = ((const EachTable *)base->pVtab)->high_bit_first;
        size_t bit = high ? 7 - c->at % 8 : c->at % 8;
        sqlite3_result_int(ctx, bytes[c->at / 8] >> bit & 1);
    } else if (element == VS_INT8) {
        sqlite3_result_int(ctx, (int8_t)bytes[c->at]);
    } else {
        float x;
        vs_element_to_f32(element, bytes + vs_element_bytes(element, c->at), &x, 1);
        sqlite3_result_double(ctx, (double)x);
    }
    return SQLITE_OK;
}

static int each_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    *rowid = (sqlite3_int64)((const EachCursor *)base)->at;
    return SQLITE_OK;
}

static const sqlite3_module each_module = {
    .xConnect = each_connect, /* no xCreate: a table-valued function only */
    .xBestIndex = each_best_index,
    .xDisconnect = each_disconnect,
    .xOpen = each_open,
    .xClose = each_close,
    .xFilter = each_filter,
    .xNext = each_next,
    .xEof = each_eof,
    .xColumn = each_column,
    .xRowid = each_rowid,
};

int vsx_register_vec_each(sqlite3 *db, int entry) {
    void *high_bit_first = entry & VSX_VEC0 ? (void *)db : NULL;
    return sqlite3_create_module_v2(db, "vec_each", &each_module, high_bit_first, NULL);
}
