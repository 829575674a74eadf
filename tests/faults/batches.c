/* See batches.h. */
#include "batches.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define DIMS 3
#define ENTRY 12 /* of the answer: a rowid and a distance */
#define MAX_ROWS 4096
/* Of the neighbours of a batch that a walk has to find: less than is measured (0.8 and
 * more), far more than an index of other rows would give. */
#define RECALL 0.5

typedef struct Row {
    sqlite3_int64 rowid;
    float vector[DIMS];
    double distance;
} Row;

typedef struct Rows {
    Row at[MAX_ROWS];
    size_t n;
} Rows;

static const char *explain(sqlite3 *db, const char *what) {
    static _Thread_local char text[300];
    snprintf(text, sizeof text, "%s: %.200s", what, sqlite3_errmsg(db));
    return text;
}

static const char *read_rows(sqlite3 *db, const char *table, Rows *rows) {
    char sql[128];
    sqlite3_stmt *stmt = NULL;
    snprintf(sql, sizeof sql, "SELECT rowid, embedding FROM %.60s ORDER BY rowid", table);
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    rows->n = 0;
    while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW && rows->n < MAX_ROWS) {
        if (sqlite3_column_bytes(stmt, 1) == sizeof rows->at[0].vector) {
            Row *row = &rows->at[rows->n++];
            row->rowid = sqlite3_column_int64(stmt, 0);
            memcpy(row->vector, sqlite3_column_blob(stmt, 1), sizeof row->vector);
        }
    }
    rc = sqlite3_finalize(stmt);
    return rc == SQLITE_OK ? NULL : explain(db, "rows");
}

static double distance(const float *a, const float *b) {
    double sum = 0;
    for (int i = 0; i < DIMS; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static const Row *row_of(const Rows *rows, sqlite3_int64 rowid) {
    size_t low = 0, high = rows->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (rows->at[mid].rowid < rowid) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < rows->n && rows->at[low].rowid == rowid ? &rows->at[low] : NULL;
}

static int equal(double got, double want) {
    return fabs(got - want) <= 1e-5 * (1 + fabs(want));
}

/* One query's part of the answer. *hits: how many are as near as they must be. */
static const char *judge_query(Rows *rows, const Batch *b, const float *query,
                               const unsigned char *entry, size_t *hits) {
    static _Thread_local double want[MAX_ROWS];
    size_t n = rows->n < b->k ? rows->n : b->k;
    double before = -1;
    sqlite3_int64 before_id = 0;
    for (size_t i = 0; i < rows->n; i++) {
        want[i] = rows->at[i].distance = distance(rows->at[i].vector, query);
    }
    qsort(want, rows->n, sizeof *want, compare_doubles);
    for (size_t i = 0; i < b->k; i++, entry += ENTRY) {
        sqlite3_int64 rowid;
        float got;
        memcpy(&rowid, entry, 8);
        memcpy(&got, entry + 8, 4);
        if (i >= n) {
            if (rowid != -1 || !isnan(got)) {
                return "more neighbours than rows";
            }
            continue;
        }
        const Row *row = row_of(rows, rowid);
        if (row == NULL) {
            return "a neighbour that is no row";
        }
        if (!equal((double)got, row->distance)) {
            return "the distance is not that of the row";
        }
        if ((double)got < before || ((double)got == before && rowid == before_id)) {
            return "out of order, or twice";
        }
        *hits += equal((double)got, want[i]) || (double)got < want[i];
        before = (double)got;
        before_id = rowid;
    }
    return NULL;
}

/* Small whole numbers, so that distances tie; and now and then a vector so long that its
 * squares leave float32. */
static float *make_queries(size_t n, unsigned *random) {
    float *queries = malloc(n * DIMS * sizeof *queries);
    for (size_t i = 0; queries != NULL && i < n * DIMS; i++) {
        queries[i] = (float)(rand_r(random) % 41) / 2 - 5;
    }
    if (queries != NULL && rand_r(random) % 8 == 0) {
        queries[(size_t)rand_r(random) % n * DIMS] = 1e25f;
    }
    return queries;
}

static const char *judge_answer(const Batch *b, Rows *rows, const float *queries,
                                const unsigned char *answer, size_t bytes) {
    size_t hits = 0, all = b->n * (rows->n < b->k ? rows->n : b->k);
    if (bytes != b->n * b->k * ENTRY) {
        return "an answer of another size";
    }
    for (size_t i = 0; i < b->n; i++) {
        const char *bad =
            judge_query(rows, b, queries + i * DIMS, answer + i * b->k * ENTRY, &hits);
        if (bad != NULL) {
            return bad;
        }
    }
    if (b->walks ? (double)hits < RECALL * (double)all : hits < all) {
        static _Thread_local char text[80];
        snprintf(text, sizeof text, "%zu of %zu neighbours found", hits, all);
        return text;
    }
    return NULL;
}

const char *batch_flaw(sqlite3 *db, const Batch *b, unsigned *random) {
    sqlite3_stmt *stmt = NULL;
    Rows *rows = malloc(sizeof *rows);
    float *queries = make_queries(b->n, random);
    if (rows == NULL || queries == NULL) {
        fixture_fatal("batch", "out of memory");
    }
    const char *bad = read_rows(db, b->table, rows);
    if (bad == NULL &&
        sqlite3_prepare_v2(db, "SELECT vecsql_search(?1, 'embedding', ?2, ?3, ?4)", -1,
                           &stmt, NULL) != SQLITE_OK) {
        bad = explain(db, "vecsql_search");
    }
    if (bad == NULL) {
        sqlite3_bind_text(stmt, 1, b->table, -1, SQLITE_STATIC);
        sqlite3_bind_blob64(stmt, 2, queries, b->n * DIMS * sizeof *queries,
                            SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 3, (sqlite3_int64)b->k);
        sqlite3_bind_int64(stmt, 4, (sqlite3_int64)b->ef);
        bad = sqlite3_step(stmt) != SQLITE_ROW
                  ? explain(db, "vecsql_search")
                  : judge_answer(b, rows, queries, sqlite3_column_blob(stmt, 0),
                                 (size_t)sqlite3_column_bytes(stmt, 0));
    }
    sqlite3_finalize(stmt);
    free(queries);
    free(rows);
    return bad;
}
