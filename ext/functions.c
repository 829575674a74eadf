/*
 * The scalar SQL functions on vectors. One table at the end names them all; the distances
 * are those of the tables (vs_metric_distance), so vec_distance_l2(v, q) equals
 * `distance` bit for bit.
 */
#include "functions.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "../csrc/codec.h"
#include "../csrc/kernels.h"
#include "../csrc/vec.h"
#include "value.h"

#ifndef VECSQL_VERSION
#define VECSQL_VERSION "0.1.0"
#endif

/* What one implementation does under several names. */
typedef enum Operation {
    OP_NONE,
    OP_L2,
    OP_L1,
    OP_COSINE,
    OP_DOT,
    OP_ADD,
    OP_SUB
} Operation;

typedef struct Function {
    const char *name;
    int n_args;
    int flags; /* beyond those that all have */
    Operation operation;
    void (*call)(sqlite3_context *ctx, int argc, sqlite3_value **argv);
} Function;

/* ---- errors and arguments ------------------------------------------------------- */

static const Function *function_of(sqlite3_context *ctx) {
    return sqlite3_user_data(ctx);
}

/* Ends the call with "name(): message". */
static void fail(sqlite3_context *ctx, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *reason = sqlite3_vmprintf(format, args);
    va_end(args);
    char *message = reason == NULL
                        ? NULL
                        : sqlite3_mprintf("%s(): %s", function_of(ctx)->name, reason);
    if (message == NULL) {
        sqlite3_result_error_nomem(ctx);
    } else {
        sqlite3_result_error(ctx, message, -1);
    }
    sqlite3_free(message);
    sqlite3_free(reason);
}

/* A vector argument. */
typedef struct Arg {
    VsxFloats vec;
    int cached; /* the elements belong to SQLite's cache of constant arguments */
} Arg;

/* Reads argument i. Returns 0 after it has set the error. */
static int open_arg(sqlite3_context *ctx, sqlite3_value **argv, int i, Arg *arg) {
    VsxFloats *known = sqlite3_get_auxdata(ctx, i);
    if (known != NULL) {
        arg->vec = *known;
        arg->cached = 1;
        return 1;
    }
    char *err = NULL;
    arg->cached = 0;
    int rc = vsx_vector_read(argv[i], &arg->vec, &err);
    if (rc == SQLITE_OK) {
        return 1;
    }
    if (rc == SQLITE_NOMEM) {
        sqlite3_result_error_nomem(ctx);
    } else {
        fail(ctx, "argument %d: %s", i + 1, err);
    }
    sqlite3_free(err);
    return 0;
}

static void free_known(void *known) {
    vsx_vector_free(known);
    sqlite3_free(known);
}

/*
 * Ends the use of argument i: the last thing done with it. Parsed text goes to SQLite,
 * which keeps it for the next row if the argument is a constant and frees it at once if
 * not. A BLOB does not: reading one costs no more than the bookkeeping for the argument
 * that is not constant.
 */
static void close_arg(sqlite3_context *ctx, sqlite3_value **argv, int i, Arg *arg) {
    if (arg->cached) {
        return;
    }
    VsxFloats *keep = NULL;
    if (sqlite3_value_type(argv[i]) == SQLITE_TEXT) {
        keep = sqlite3_malloc64(sizeof *keep);
    }
    if (keep == NULL) {
        vsx_vector_free(&arg->vec);
        return;
    }
    *keep = arg->vec;
    sqlite3_set_auxdata(ctx, i, keep, free_known); /* may have freed it already */
}

/* Reads arguments 0 and 1, of equal dimension. Returns 0 after it has set the error. */
static int open_pair(sqlite3_context *ctx, sqlite3_value **argv, Arg *a, Arg *b) {
    if (!open_arg(ctx, argv, 0, a)) {
        return 0;
    }
    if (!open_arg(ctx, argv, 1, b)) {
        close_arg(ctx, argv, 0, a);
        return 0;
    }
    if (a->vec.n == b->vec.n) {
        return 1;
    }
    fail(ctx, "dimensions differ: %d and %d", (int)a->vec.n, (int)b->vec.n);
    close_arg(ctx, argv, 0, a);
    close_arg(ctx, argv, 1, b);
    return 0;
}

static void close_pair(sqlite3_context *ctx, sqlite3_value **argv, Arg *a, Arg *b) {
    close_arg(ctx, argv, 0, a);
    close_arg(ctx, argv, 1, b);
}

/* ---- results -------------------------------------------------------------------- */

/* Returns v, which SQLite frees, as a vector. */
static void result_vector(sqlite3_context *ctx, float *v, size_t n) {
    sqlite3_result_blob64(ctx, v, (sqlite3_uint64)(n * sizeof *v), sqlite3_free);
    sqlite3_result_subtype(ctx, VSX_SUBTYPE_FLOAT32);
}

/* Room for the result; NULL after the error has been set. */
static float *new_vector(sqlite3_context *ctx, size_t n) {
    float *v = vs_alloc(&vsx_alloc, n, sizeof *v);
    if (v == NULL) {
        sqlite3_result_error_nomem(ctx);
    }
    return v;
}

/* ---- the functions -------------------------------------------------------------- */

static void vec_f32(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    (void)argc;
    if (!open_arg(ctx, argv, 0, &a)) {
        return;
    }
    /* No function of one argument is called twice for a constant, so nothing here is
     * cached. */
    result_vector(ctx, a.vec.v, a.vec.n);
}

static void vec_to_json(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    char *text;
    size_t len;
    (void)argc;
    if (!open_arg(ctx, argv, 0, &a)) {
        return;
    }
    if (vs_vec_format(&vsx_alloc, a.vec.v, a.vec.n, &text, &len) == VS_OK) {
        sqlite3_result_text64(ctx, text, len, sqlite3_free, SQLITE_UTF8);
        sqlite3_result_subtype(ctx, VSX_SUBTYPE_JSON);
    } else {
        sqlite3_result_error_nomem(ctx);
    }
    close_arg(ctx, argv, 0, &a);
}

static void vec_length(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    (void)argc;
    if (open_arg(ctx, argv, 0, &a)) {
        sqlite3_result_int64(ctx, (sqlite3_int64)a.vec.n);
        close_arg(ctx, argv, 0, &a);
    }
}

static void vec_type(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    (void)argc;
    if (open_arg(ctx, argv, 0, &a)) {
        sqlite3_result_text(ctx, "float32", -1, SQLITE_STATIC);
        close_arg(ctx, argv, 0, &a);
    }
}

static void vec_normalize(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    (void)argc;
    if (!open_arg(ctx, argv, 0, &a)) {
        return;
    }
    float *out = new_vector(ctx, a.vec.n);
    if (out != NULL) {
        vs_vec_normalize(a.vec.v, out, a.vec.n);
        result_vector(ctx, out, a.vec.n);
    }
    close_arg(ctx, argv, 0, &a);
}

/* No table has this metric, so the function has the whole of it. */
static double distance_l1(const float *a, const float *b, size_t n) {
    double sum = (double)vs_kernels()->l1_f32(a, b, n);
    if (isfinite(sum)) {
        return sum;
    }
    sum = 0.0; /* out of float32's range, not of double's */
    for (size_t i = 0; i < n; i++) {
        sum += fabs((double)a[i] - (double)b[i]);
    }
    return sum;
}

static double measure(Operation operation, const float *a, const float *b, size_t n) {
    switch (operation) {
    case OP_L2:
        return vs_metric_distance(VS_L2, VS_F32, a, b, n);
    case OP_COSINE:
        return vs_metric_distance(VS_COSINE, VS_F32, a, b, n);
    case OP_DOT:
        return 0.0 -
               vs_metric_distance(VS_DOT, VS_F32, a, b, n); /* 0 - x: no negative zero */
    default:
        return distance_l1(a, b, n);
    }
}

static void vec_distance(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    Arg b;
    (void)argc;
    if (open_pair(ctx, argv, &a, &b)) {
        Operation operation = function_of(ctx)->operation;
        sqlite3_result_double(ctx, measure(operation, a.vec.v, b.vec.v, a.vec.n));
        close_pair(ctx, argv, &a, &b);
    }
}

static void vec_arithmetic(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    Arg b;
    (void)argc;
    if (!open_pair(ctx, argv, &a, &b)) {
        return;
    }
    size_t n = a.vec.n;
    float *out = new_vector(ctx, n);
    if (out != NULL) {
        /* a - b is a + -b, to the bit. */
        float sign = function_of(ctx)->operation == OP_SUB ? -1.0f : 1.0f;
        for (size_t i = 0; i < n; i++) {
            out[i] = a.vec.v[i] + sign * b.vec.v[i];
        }
        size_t bad = vs_vec_first_nonfinite(out, n);
        if (bad < n) {
            fail(ctx, "the result leaves float32's range at index %d", (int)bad);
            sqlite3_free(out);
        } else {
            result_vector(ctx, out, n);
        }
    }
    close_pair(ctx, argv, &a, &b);
}

/* Reads an integer argument; text and REAL that are integers will do, as for SQLite's own
 * functions. Returns 0 after it has set the error. */
static int read_index(sqlite3_context *ctx, sqlite3_value **argv, int i, const char *name,
                      sqlite3_int64 *out) {
    int type = sqlite3_value_numeric_type(argv[i]);
    if (type == SQLITE_INTEGER ||
        (type == SQLITE_FLOAT &&
         sqlite3_value_double(argv[i]) == (double)sqlite3_value_int64(argv[i]))) {
        *out = sqlite3_value_int64(argv[i]);
        return 1;
    }
    static const char *const names[] = {"",       "an INTEGER", "a REAL",
                                        "a TEXT", "a BLOB",     "NULL"};
    fail(ctx, "argument %d (%s): expected an integer, got %s", i + 1, name, names[type]);
    return 0;
}

/* vec_slice(v, start, end): elements start to end - 1, counted from 0. */
static void vec_slice(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Arg a;
    sqlite3_int64 start;
    sqlite3_int64 end;
    (void)argc;
    if (!read_index(ctx, argv, 1, "start", &start) ||
        !read_index(ctx, argv, 2, "end", &end) || !open_arg(ctx, argv, 0, &a)) {
        return;
    }
    sqlite3_int64 n = (sqlite3_int64)a.vec.n;
    if (start < 0 || start >= n) {
        fail(ctx, "argument 2 (start): expected 0 to %lld, got %lld", n - 1, start);
    } else if (end <= start || end > n) {
        fail(ctx, "argument 3 (end): expected %lld to %lld, got %lld", start + 1, n, end);
    } else {
        size_t kept = (size_t)(end - start);
        float *out = new_vector(ctx, kept);
        if (out != NULL) {
            memcpy(out, a.vec.v + start, kept * sizeof *out);
            result_vector(ctx, out, kept);
        }
    }
    close_arg(ctx, argv, 0, &a);
}

static void vecsql_version(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    (void)argc;
    (void)argv;
    sqlite3_result_text(ctx, VECSQL_VERSION, -1, SQLITE_STATIC);
}

/* embed(text) and vecsql_embed(text, model, checksum) come from the host program, which
 * has the models. Until it registers them, they say how. */
static void no_embedder(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const void *model = argc > 1 ? sqlite3_value_text(argv[1]) : NULL;
    char *message = sqlite3_mprintf(
        "this connection has no embedder%s%s: in Python, vecsql.register_embedder(db)",
        model == NULL ? "" : " for the model ", model == NULL ? "" : model);
    if (message == NULL) {
        sqlite3_result_error_nomem(ctx);
    } else {
        sqlite3_result_error(ctx, message, -1);
    }
    sqlite3_free(message);
}

/* ---- registration --------------------------------------------------------------- */

#define READS SQLITE_SUBTYPE /* reads the subtype of an argument */
#define MAKES (SQLITE_SUBTYPE | SQLITE_RESULT_SUBTYPE) /* and sets that of its result */

static const Function functions[] = {
    {"vec_f32", 1, MAKES, OP_NONE, vec_f32},
    {"vec_to_json", 1, MAKES, OP_NONE, vec_to_json},
    {"vec_length", 1, READS, OP_NONE, vec_length},
    {"vec_type", 1, READS, OP_NONE, vec_type},
    {"vec_distance_l2", 2, READS, OP_L2, vec_distance},
    {"vec_distance_l1", 2, READS, OP_L1, vec_distance},
    {"vec_distance_cosine", 2, READS, OP_COSINE, vec_distance},
    {"vec_dot", 2, READS, OP_DOT, vec_distance},
    {"vec_add", 2, MAKES, OP_ADD, vec_arithmetic},
    {"vec_sub", 2, MAKES, OP_SUB, vec_arithmetic},
    {"vec_normalize", 1, MAKES, OP_NONE, vec_normalize},
    {"vec_slice", 3, MAKES, OP_NONE, vec_slice},
    {"vecsql_version", 0, 0, OP_NONE, vecsql_version},
};

/* Registers a function unless the connection has one of its name and arguments (probe
 * calls it). */
static int register_missing(sqlite3 *db, const char *name, int n_args,
                            const char *probe) {
    sqlite3_stmt *stmt = NULL;
    int known = sqlite3_prepare_v2(db, probe, -1, &stmt, NULL) == SQLITE_OK;
    sqlite3_finalize(stmt);
    if (known) {
        return SQLITE_OK;
    }
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    int rc = sqlite3_create_function_v2(db, name, n_args, flags, NULL, no_embedder, NULL,
                                        NULL, NULL);
    /* An automatic extension must not leave the error of the probe: sqlite3_open would
     * return it. */
    stmt = NULL;
    rc = rc == SQLITE_OK ? sqlite3_prepare_v2(db, "SELECT 1", -1, &stmt, NULL) : rc;
    sqlite3_finalize(stmt);
    return rc;
}

int vsx_register_functions(sqlite3 *db) {
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const Function *f = &functions[i];
        int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS | f->flags;
        int rc = sqlite3_create_function_v2(db, f->name, f->n_args, flags, (void *)f,
                                            f->call, NULL, NULL, NULL);
        if (rc != SQLITE_OK) {
            return rc;
        }
    }
    int rc = register_missing(db, "embed", 1, "SELECT embed(NULL)");
    return rc == SQLITE_OK ? register_missing(db, "vecsql_embed", 3,
                                              "SELECT vecsql_embed(NULL, NULL, NULL)")
                           : rc;
}
