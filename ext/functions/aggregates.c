/*
 * The aggregates vec_sum and vec_avg, of float32, float16 and int8 vectors; the result is
 * float32. NULLs are skipped; of no vector at all the result is NULL.
 *
 * Sums are kept in two doubles an element (Neumaier's variant of Kahan's sum, 1974), so
 * that what a window function takes out again leaves no trace: 1e30 + 1 - 1e30 is 1.
 */
#include <math.h>
#include <string.h>

#include "ext/functions/functions.h"

typedef struct Sum {
    size_t n;
    sqlite3_int64 count;
    double *total; /* n of them, then n corrections */
} Sum;

static void add(double *total, double *correction, double x) {
    double sum = *total + x;
    *correction += fabs(*total) >= fabs(x) ? (*total - sum) + x : (x - sum) + *total;
    *total = sum;
}

/* Adds a vector, or takes it out. Returns 0 after it has set the error. */
static int take(sqlite3_context *ctx, Sum *sum, const VsxVec *vec, int sign) {
    if (vec->element == VS_BIT) {
        vsx_function_fail(ctx, "%s(): expected float32, float16 or int8 vectors, got bit",
                          vsx_function_of(ctx)->name);
        return 0;
    }
    if (sum->total == NULL) {
        sum->n = vec->n;
        sum->total = sqlite3_malloc64(2 * vec->n * sizeof *sum->total);
        if (sum->total == NULL) {
            sqlite3_result_error_nomem(ctx);
            return 0;
        }
        memset(sum->total, 0, 2 * vec->n * sizeof *sum->total);
    }
    if (sum->n != vec->n) {
        vsx_function_fail(ctx, "%s(): expected %lld dimensions, as before, got %lld",
                          vsx_function_of(ctx)->name, (sqlite3_int64)sum->n,
                          (sqlite3_int64)vec->n);
        return 0;
    }
    for (size_t i = 0; i < vec->n; i++) {
        float x;
        const unsigned char *bytes = vec->v;
        vs_element_to_f32(vec->element, bytes + vs_element_bytes(vec->element, i), &x, 1);
        add(&sum->total[i], &sum->total[sum->n + i], sign * (double)x);
    }
    sum->count += sign;
    return 1;
}

static void change(sqlite3_context *ctx, sqlite3_value **argv, int sign) {
    VsxVec vec = {0};
    char *err = NULL;
    Sum *sum = sqlite3_aggregate_context(ctx, sizeof *sum);
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL) {
        return;
    }
    int rc = sum == NULL ? SQLITE_NOMEM : vsx_vector_borrow(argv[0], &vec, &err);
    if (rc != SQLITE_OK) {
        vsx_function_failed(ctx, rc, "", err);
        return;
    }
    (void)take(ctx, sum, &vec, sign);
    vsx_vector_free(&vec);
}

static void step(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    (void)argc;
    change(ctx, argv, 1);
}

static void inverse(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    (void)argc;
    change(ctx, argv, -1);
}

static void value(sqlite3_context *ctx) {
    const Sum *sum = sqlite3_aggregate_context(ctx, 0);
    if (sum == NULL || sum->count == 0) {
        sqlite3_result_null(ctx);
        return;
    }
    double parts = vsx_function_of(ctx)->operation == VSX_OP_AVG ? (double)sum->count : 1;
    float *out = vsx_result_room(ctx, VS_F32, sum->n);
    for (size_t i = 0; out != NULL && i < sum->n; i++) {
        double x = (sum->total[i] + sum->total[sum->n + i]) / parts;
        out[i] = (float)x;
    }
    if (out != NULL) {
        vsx_result_f32(ctx, out, sum->n);
    }
}

static void final(sqlite3_context *ctx) {
    Sum *sum = sqlite3_aggregate_context(ctx, 0);
    value(ctx);
    if (sum != NULL) {
        sqlite3_free(sum->total);
        sum->total = NULL;
    }
}

static const VsxFunction aggregates[] = {
    {"vec_sum", VSX_BOTH, 1, 0, VSX_OP_SUM, NULL},
    {"vec_avg", VSX_BOTH, 1, 0, VSX_OP_AVG, NULL},
};

int vsx_register_aggregates(sqlite3 *db) {
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS | SQLITE_SUBTYPE |
                SQLITE_RESULT_SUBTYPE;
    for (size_t i = 0; i < sizeof aggregates / sizeof *aggregates; i++) {
        const VsxFunction *f = &aggregates[i];
        VSX_TRY(sqlite3_create_window_function(db, f->name, f->n_args, flags, (void *)f,
                                               step, final, value, inverse, NULL));
    }
    return SQLITE_OK;
}
