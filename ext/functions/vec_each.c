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
    VsxFunctionCursor base;
    VsxVec vec;
} EachCursor;

static void each_clear(VsxFunctionCursor *base) {
    vsx_vector_free(&((EachCursor *)base)->vec);
}

static int each_filter(VsxFunctionCursor *base, int given, sqlite3_value **argv) {
    VsxVec *vec = &((EachCursor *)base)->vec;
    char *err = NULL;
    (void)given;
    int rc = vsx_vector_read(argv[0], vec, &err);
    base->n = vec->n;
    return rc == SQLITE_OK ? rc : vsx_tf_fail(base, rc, err);
}

static int each_column(VsxFunctionCursor *base, sqlite3_context *ctx, int column) {
    const VsxVec *vec = &((const EachCursor *)base)->vec;
    const unsigned char *bytes = vec->v;
    size_t at = base->at;
    if (column != EACH_VALUE) {
        return SQLITE_OK;
    }
    if (vec->element == VS_BIT) {
        int high = vsx_tf_data(base) != NULL;
        size_t bit = high ? 7 - at % 8 : at % 8;
        sqlite3_result_int(ctx, bytes[at / 8] >> bit & 1);
    } else if (vec->element == VS_INT8) {
        sqlite3_result_int(ctx, (int8_t)bytes[at]);
    } else {
        float x;
        vs_element_to_f32(vec->element, bytes + vs_element_bytes(vec->element, at), &x,
                          1);
        sqlite3_result_double(ctx, (double)x);
    }
    return SQLITE_OK;
}

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
    .filter = each_filter,
    .column = each_column,
    .clear = each_clear,
};

int vsx_register_vec_each(sqlite3 *db, int entry) {
    void *high_bit_first = entry & VSX_VEC0 ? (void *)db : NULL;
    return vsx_register_table_function(db, &vec_each, high_bit_first);
}
