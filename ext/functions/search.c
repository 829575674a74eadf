/*
 * vecsql_search(table, column, queries, k [, ef]): many queries in one call.
 *
 *     queries   a BLOB of vectors of the column's type, one after the other; float32 for a
 *               float16 column too, unless it was made by vec_f16()
 *     column    may be NULL if the table has one vector column
 *     ef        0 or NULL: the column's ef_search
 *
 * Returns a BLOB: for each query k entries of 12 bytes, nearest first, ties by rowid:
 *
 *     offset 0  rowid     i64, little-endian
 *            8  distance  f32, little-endian
 *
 * Where a query finds fewer than k rows, the entries that are left have rowid -1 and
 * distance NaN: a distance is never NaN otherwise. With numpy:
 *
 *     np.frombuffer(blob, [("rowid", "<i8"), ("distance", "<f4")]).reshape(-1, k)
 */
#include <math.h>
#include <string.h>

#include "ext/functions/functions.h"
#include "ext/query/search_many.h"
#include "ext/table/errors.h"
#include "ext/txn/txn.h"
#include "ext/query/visit.h"

#define ENTRY 12
#define MAX_K 1000000

typedef struct Request {
    VsxVisit visit;
    VsxVector *v;
    const unsigned char *queries;
    unsigned char *converted; /* of a float16 column that was asked in float32 */
    size_t n, k, ef;
} Request;

static void put_entry(unsigned char *p, sqlite3_int64 rowid, float distance) {
    uint32_t bits;
    memcpy(&bits, &distance, 4);
    vs_put_u64(p, (uint64_t)rowid);
    vs_put_u32(p + 8, bits);
}

static int wrong(char **err, char *message) {
    *err = message;
    return message == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
}

/* The queries as vectors of the column's type. */
static int read_queries(Request *r, sqlite3_value *value, char **err) {
    const VsCodecParams *code = &r->v->graph->params.code;
    size_t bytes = (size_t)sqlite3_value_bytes(value);
    int narrow = code->element == VS_F16 && vsx_subtype_of(value) != VSX_SUBTYPE_FLOAT16;
    VsElement element = narrow ? VS_F32 : code->element;
    size_t size = vs_element_bytes(element, code->dims);
    if (sqlite3_value_type(value) != SQLITE_BLOB || bytes % size != 0) {
        return wrong(err, sqlite3_mprintf("queries: expected a BLOB of %s[%u] vectors, "
                                          "%lld bytes each; got %lld bytes",
                                          vs_element_name(element), code->dims,
                                          (sqlite3_int64)size, (sqlite3_int64)bytes));
    }
    r->n = bytes / size;
    r->queries = sqlite3_value_blob(value);
    if (r->queries == NULL && r->n > 0) {
        return SQLITE_NOMEM; /* a zeroblob becomes bytes only now */
    }
    size_t all = r->n * code->dims,
           bad = vs_element_first_nonfinite(element, r->queries, all);
    if (bad < all) {
        return wrong(err, sqlite3_mprintf("queries: query %lld, dimension %lld is NaN or "
                                          "infinite",
                                          (sqlite3_int64)(bad / code->dims),
                                          (sqlite3_int64)(bad % code->dims)));
    }
    if (narrow && r->n > 0) {
        r->converted = sqlite3_malloc64(vs_element_bytes(VS_F16, all));
        float *copy = sqlite3_malloc64(bytes);
        if (r->converted == NULL || copy == NULL) {
            sqlite3_free(copy);
            return SQLITE_NOMEM;
        }
        memcpy(copy, r->queries, bytes); /* a BLOB has no alignment */
        bad = vs_f16_from_f32(copy, r->converted, all);
        sqlite3_free(copy);
        r->queries = r->converted;
        if (bad < all) {
            return wrong(err, sqlite3_mprintf("queries: query %lld leaves the range of "
                                              "float16",
                                              (sqlite3_int64)(bad / code->dims)));
        }
    }
    return SQLITE_OK;
}

static int read_request(VsxGlobal *global, int argc, sqlite3_value **argv, Request *r,
                        char **err) {
    const char *table = (const char *)sqlite3_value_text(argv[0]);
    const char *column = (const char *)sqlite3_value_text(argv[1]);
    sqlite3_int64 k = sqlite3_value_int64(argv[3]);
    sqlite3_int64 ef = argc > 4 ? sqlite3_value_int64(argv[4]) : 0;
    if (table == NULL) {
        return wrong(err, sqlite3_mprintf("the name of a table is NULL"));
    }
    if (k < 0 || k > MAX_K) {
        return wrong(err, sqlite3_mprintf("k must be from 0 to %d, not %lld", MAX_K, k));
    }
    if (ef < 0 || ef > MAX_K) {
        return wrong(err,
                     sqlite3_mprintf("ef must be from 0 to %d, not %lld", MAX_K, ef));
    }
    r->k = (size_t)k;
    r->ef = (size_t)ef;
    VSX_TRY(vsx_visit(global, table, &r->visit, err));
    VSX_TRY(vsx_find_vector(r->visit.index, column, &r->v, err));
    VSX_TRY(vsx_refresh(r->v));
    return read_queries(r, argv[2], err);
}

/* Entries of all queries, in one BLOB that SQLite frees. */
static int answer(sqlite3_context *ctx, const Request *r) {
    size_t entries = r->n * r->k;
    if (r->k > 0 && entries / r->k != r->n) {
        return SQLITE_TOOBIG;
    }
    VsxResult *results = sqlite3_malloc64((entries + 1) * sizeof *results);
    size_t *found = sqlite3_malloc64((r->n + 1) * sizeof *found);
    unsigned char *blob = sqlite3_malloc64(entries * ENTRY + 1);
    int rc = results == NULL || found == NULL || blob == NULL
                 ? SQLITE_NOMEM
                 : vsx_search_many(r->v, r->queries, r->n, r->k, r->ef, results, found);
    for (size_t i = 0; rc == SQLITE_OK && i < entries; i++) {
        const VsxResult *x = &results[i];
        if (i % r->k < found[i / r->k]) {
            put_entry(blob + i * ENTRY, x->rowid, (float)x->distance);
        } else {
            put_entry(blob + i * ENTRY, -1, NAN);
        }
    }
    sqlite3_free(results);
    sqlite3_free(found);
    if (rc == SQLITE_OK) {
        sqlite3_result_blob64(ctx, blob, entries * ENTRY, sqlite3_free);
    } else {
        sqlite3_free(blob);
    }
    return rc;
}

static void search(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    Request r = {0};
    char *err = NULL;
    int rc = read_request(sqlite3_user_data(ctx), argc, argv, &r, &err);
    rc = rc == SQLITE_OK ? answer(ctx, &r) : rc;
    if (rc != SQLITE_OK && err == NULL && r.visit.index != NULL) {
        err = vsx_reason(r.visit.index, rc);
    }
    sqlite3_free(r.converted);
    vsx_visit_end(&r.visit);
    if (err != NULL) {
        char *message = sqlite3_mprintf("vecsql_search: %s", err);
        sqlite3_result_error(ctx, message == NULL ? err : message, -1);
        sqlite3_result_error_code(ctx, rc);
        sqlite3_free(message);
        sqlite3_free(err);
    } else if (rc != SQLITE_OK) {
        sqlite3_result_error_code(ctx, rc);
    }
}

int vsx_register_search(VsxGlobal *global) {
    for (int n = 4; n <= 5; n++) {
        VSX_TRY(sqlite3_create_function_v2(global->db, "vecsql_search", n, SQLITE_UTF8,
                                           global, search, NULL, NULL, NULL));
    }
    return SQLITE_OK;
}
