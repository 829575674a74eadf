/*
 * The table-valued function vec_each(vector): a row per element, rowid from 0.
 *
 *     CREATE TABLE x(value, vector HIDDEN)
 *
 * Bits come in the order of vec_to_json and vec_quantize_binary, the lowest of each byte
 * first. sqlite-vec gives the highest first here; under its name so do we.
 */
#include "ext/functions/functions.h"
#include "ext/functions/table_function.h"

enum { EACH_VALUE, EACH_VECTOR };

typedef struct EachCursor {
    sqlite3_vtab_cursor base;
    VsxVec vec;
    size_t at;
} EachCursor;

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
    return rc == SQLITE_OK ? rc : vsx_tf_fail(base, rc, err);
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
        int high = ((const VsxFunctionTable *)base->pVtab)->data != NULL;
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
    .xConnect = vsx_tf_connect, /* no xCreate: a table-valued function only */
    .xBestIndex = vsx_tf_best_index,
    .xDisconnect = vsx_tf_disconnect,
    .xOpen = vsx_tf_open,
    .xClose = each_close,
    .xFilter = each_filter,
    .xNext = each_next,
    .xEof = each_eof,
    .xColumn = each_column,
    .xRowid = each_rowid,
};

static const VsxTableFunction vec_each = {
    .name = "vec_each",
    .declaration = "CREATE TABLE x(value, vector HIDDEN)",
    .n_results = EACH_VECTOR,
    .n_args = 1,
    .n_needed = 1,
    .innocuous = 1,
    .cost = 100,
    .rows = 100,
    .cursor_size = sizeof(EachCursor),
};

int vsx_register_vec_each(sqlite3 *db, int entry) {
    void *high_bit_first = entry & VSX_VEC0 ? (void *)db : NULL;
    return vsx_register_table_function(db, &vec_each, &each_module, high_bit_first);
}
