/*
 * The table of the scalar SQL functions, and what they share: reading arguments, giving
 * results, failing. See functions.h.
 */
#include "ext/functions/functions.h"

#include <stdarg.h>
#include <string.h>

#include "csrc/vector/text.h"

/* ---- errors and arguments ------------------------------------------------------- */

const VsxFunction *vsx_function_of(sqlite3_context *ctx) {
    return sqlite3_user_data(ctx);
}

void vsx_function_fail(sqlite3_context *ctx, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *message = sqlite3_vmprintf(format, args);
    va_end(args);
    if (message == NULL) {
        sqlite3_result_error_nomem(ctx);
    } else {
        sqlite3_result_error(ctx, message, -1);
    }
    sqlite3_free(message);
}

void vsx_function_failed(sqlite3_context *ctx, int rc, const char *before, char *err) {
    if (rc == SQLITE_NOMEM) {
        sqlite3_result_error_nomem(ctx);
    } else {
        vsx_function_fail(ctx, "%s%s", before, err);
    }
    sqlite3_free(err);
}

static int open_arg(sqlite3_context *ctx, sqlite3_value **argv, int i, const char *before,
                    VsxArg *arg) {
    VsxVec *known = sqlite3_get_auxdata(ctx, i);
    char *err = NULL;
    arg->cached = known != NULL;
    if (known != NULL) {
        arg->vec = *known;
        return 1;
    }
    int rc = vsx_vector_borrow(argv[i], &arg->vec, &err);
    if (rc != SQLITE_OK) {
        vsx_function_failed(ctx, rc, before, err);
    }
    return rc == SQLITE_OK;
}

int vsx_arg_open(sqlite3_context *ctx, sqlite3_value **argv, int i, VsxArg *arg) {
    return open_arg(ctx, argv, i, "", arg);
}

static void free_known(void *known) {
    vsx_vector_free(known);
    sqlite3_free(known);
}

/*
 * Parsed text goes to SQLite, which keeps it for the next row if the argument is a
 * constant and frees it at once if not. A BLOB is borrowed: nothing to keep.
 */
void vsx_arg_close(sqlite3_context *ctx, sqlite3_value **argv, int i, VsxArg *arg) {
    (void)argv;
    if (arg->cached || arg->vec.borrowed) {
        return;
    }
    VsxVec *keep = sqlite3_malloc64(sizeof *keep);
    if (keep == NULL) {
        vsx_vector_free(&arg->vec);
        return;
    }
    *keep = arg->vec;
    sqlite3_set_auxdata(ctx, i, keep, free_known); /* may have freed it already */
}

int vsx_pair_open(sqlite3_context *ctx, sqlite3_value **argv, VsxArg *a, VsxArg *b) {
    if (!open_arg(ctx, argv, 0, "Error reading 1st vector: ", a)) {
        return 0;
    }
    if (!open_arg(ctx, argv, 1, "Error reading 2nd vector: ", b)) {
        vsx_arg_close(ctx, argv, 0, a);
        return 0;
    }
    if (a->vec.element == b->vec.element && a->vec.n == b->vec.n) {
        return 1;
    }
    if (a->vec.element != b->vec.element) {
        vsx_function_fail(ctx,
                          "Vector type mistmatch. First vector has type %s, while the "
                          "second has type %s.",
                          vs_element_name(a->vec.element),
                          vs_element_name(b->vec.element));
    } else {
        vsx_function_fail(ctx,
                          "Vector dimension mistmatch. First vector has %lld dimensions, "
                          "while the second has %lld dimensions.",
                          (sqlite3_int64)a->vec.n, (sqlite3_int64)b->vec.n);
    }
    vsx_pair_close(ctx, argv, a, b);
    return 0;
}

void vsx_pair_close(sqlite3_context *ctx, sqlite3_value **argv, VsxArg *a, VsxArg *b) {
    vsx_arg_close(ctx, argv, 0, a);
    vsx_arg_close(ctx, argv, 1, b);
}

/* ---- results -------------------------------------------------------------------- */

void *vsx_result_room(sqlite3_context *ctx, VsElement element, size_t n) {
    void *v = sqlite3_malloc64(vs_element_bytes(element, n));
    if (v == NULL) {
        sqlite3_result_error_nomem(ctx);
    }
    return v;
}

void vsx_result_vector(sqlite3_context *ctx, void *v, VsElement element, size_t n) {
    sqlite3_result_blob64(ctx, v, vs_element_bytes(element, n), sqlite3_free);
    sqlite3_result_subtype(ctx, vsx_subtype(element));
}

void vsx_result_f32(sqlite3_context *ctx, float *v, size_t n) {
    size_t bad = vs_vec_first_nonfinite(v, n);
    if (bad < n) {
        vsx_function_fail(ctx, "%s(): the result leaves float32's range at index %d",
                          vsx_function_of(ctx)->name, (int)bad);
        sqlite3_free(v);
    } else {
        vsx_result_vector(ctx, v, VS_F32, n);
    }
}

/* ---- the version ------------------------------------------------------------------ */

static void vecsql_version(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    (void)argc;
    (void)argv;
    sqlite3_result_text(ctx, VECSQL_VERSION, -1, SQLITE_STATIC);
}

/* ---- registration --------------------------------------------------------------- */

#define READS SQLITE_SUBTYPE /* reads the subtype of an argument */
#define MAKES (SQLITE_SUBTYPE | SQLITE_RESULT_SUBTYPE) /* and sets that of its result */
#define METRIC(metric) (VSX_OP_METRIC + (metric))

static const VsxFunction functions[] = {
    {"vec_f32", VSX_BOTH, 1, MAKES, VS_F32, vsx_vec_make},
    {"vec_f16", VSX_BOTH, 1, MAKES, VS_F16, vsx_vec_make},
    {"vec_int8", VSX_BOTH, 1, MAKES, VS_INT8, vsx_vec_make},
    {"vec_bit", VSX_BOTH, 1, MAKES, VS_BIT, vsx_vec_make},
    {"vec_to_json", VSX_NATIVE, 1, MAKES, VSX_OP_NONE, vsx_vec_to_json},
    {"vec_to_json", VSX_VEC0, 1, MAKES, VSX_OP_NONE, vsx_vec_to_json_fixed},
    {"vec_length", VSX_BOTH, 1, READS, VSX_OP_NONE, vsx_vec_length},
    {"vec_type", VSX_BOTH, 1, READS, VSX_OP_NONE, vsx_vec_type},
    {"vec_add", VSX_BOTH, 2, MAKES, VSX_OP_ADD, vsx_vec_arithmetic},
    {"vec_sub", VSX_BOTH, 2, MAKES, VSX_OP_SUB, vsx_vec_arithmetic},
    {"vec_normalize", VSX_BOTH, 1, MAKES, VSX_OP_NONE, vsx_vec_normalize},
    {"vec_slice", VSX_BOTH, 3, MAKES, VSX_OP_NONE, vsx_vec_slice},
    {"vec_quantize_int8", VSX_BOTH, 2, MAKES, VSX_OP_NONE, vsx_vec_quantize_int8},
    {"vec_quantize_binary", VSX_BOTH, 1, MAKES, VSX_OP_NONE, vsx_vec_quantize_binary},
    {"vec_distance_l2", VSX_NATIVE, 2, READS, METRIC(VS_L2), vsx_vec_distance},
    {"vec_distance_l2", VSX_VEC0, 2, READS, METRIC(VS_L2), vsx_vec_distance},
    {"vec_distance_l1", VSX_NATIVE, 2, READS, METRIC(VS_L1), vsx_vec_distance},
    {"vec_distance_l1", VSX_VEC0, 2, READS, METRIC(VS_L1), vsx_vec_distance},
    {"vec_distance_cosine", VSX_NATIVE, 2, READS, METRIC(VS_COSINE), vsx_vec_distance},
    {"vec_distance_cosine", VSX_VEC0, 2, READS, METRIC(VS_COSINE), vsx_vec_distance},
    {"vec_distance_hamming", VSX_BOTH, 2, READS, METRIC(VS_HAMMING), vsx_vec_distance},
    {"vec_distance_jaccard", VSX_BOTH, 2, READS, METRIC(VS_JACCARD), vsx_vec_distance},
    {"vec_dot", VSX_BOTH, 2, READS, METRIC(VS_DOT), vsx_vec_distance},
    {"vecsql_version", VSX_BOTH, 0, 0, VSX_OP_NONE, vecsql_version},
};

int vsx_register_functions(sqlite3 *db, int entry) {
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const VsxFunction *f = &functions[i];
        int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS | f->flags;
        if (f->entry & entry) {
            VSX_TRY(sqlite3_create_function_v2(db, f->name, f->n_args, flags, (void *)f,
                                               f->call, NULL, NULL, NULL));
        }
    }
    VSX_TRY(vsx_register_aggregates(db));
    return vsx_register_vec_each(db, entry);
}
