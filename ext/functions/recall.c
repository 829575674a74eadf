/*
 * vecsql_recall(table, column [, sample [, k]]): how many of the true neighbours the index
 * finds, one row per ef.
 *
 *     SELECT ef, recall FROM vecsql_recall('docs_vec', 'embedding', 100, 10)
 *
 * The queries are rows of the table itself, spread evenly over the nodes (the same ones
 * every time); each asks for its k nearest other rows. The truth is one exact scan of the
 * stored vectors for all of them. A row counts as found if it is no farther than the k-th
 * nearest: among rows of equal distance any choice is right. `evaluations` is the mean
 * number of distances that the index computed for a query.
 */
#include <math.h>
#include <string.h>

#include "csrc/base/sort.h"
#include "ext/query/search_many.h"
#include "ext/functions/table_function.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/loader.h"
#include "ext/txn/txn.h"
#include "ext/query/filter.h"
#include "ext/query/visit.h"
#include "ext/functions/functions.h"

enum { RECALL_EF, RECALL_RECALL, RECALL_EVALUATIONS, RECALL_QUERIES, RECALL_TABLE };
enum { ARGUMENTS = 4 }; /* table, column, sample, k: hidden columns from RECALL_TABLE */

#define SAMPLE 100
#define ESTIMATE 20
#define SAMPLE_MAX 10000
#define K 10
#define K_MAX 1000
#define MARGIN 1e-6 /* of a distance: the truth is rounded in another order */

static const size_t efs[] = {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512};
enum { EFS = sizeof efs / sizeof *efs };

typedef struct Line {
    size_t ef;
    double recall, evaluations;
} Line;

typedef struct RecallCursor {
    VsxFunctionCursor base;
    sqlite3_value *argument[ARGUMENTS];
    Line line[EFS + 1];
    size_t queries;
} RecallCursor;

/* A sample of rows, and their true neighbours. */
typedef struct Sample {
    VsxVector *v;
    size_t n, k, stride;
    unsigned char *query;
    sqlite3_int64 *rowid;
    double *nearest; /* k + 1 for each, sorted: distances of the nearest other rows */
    size_t *n_nearest;
} Sample;

/* ---- the sample -------------------------------------------------------------------- */

static int copy_vector(Sample *s, const VsNode *node) {
    VsxVec vec;
    int rc = vsx_row_vector(s->v, node->rowid, &vec, NULL);
    if (vec.n > 0) {
        memcpy(s->query + s->n * s->stride, vec.v, s->stride);
        s->rowid[s->n++] = node->rowid;
    }
    vsx_vector_free(&vec);
    return rc;
}

/* Takes the first live node at or after each of `want` places. */
static int draw(Sample *s, size_t want) {
    VsGraph *g = s->v->graph;
    uint32_t next = 0;
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < want; i++) {
        uint32_t place = (uint32_t)((uint64_t)g->state.n_nodes * i / want);
        for (next = next > place ? next : place; next < g->state.n_nodes; next++) {
            const VsNode *node = NULL;
            rc = vsx_code(s->v->index, vs_node(g, next, &node));
            if (rc == SQLITE_OK && (node->flags & VS_STATUS_MASK) == VS_LIVE) {
                VsNode copy = *node;
                rc = copy_vector(s, &copy);
                next++;
                break;
            }
            if (rc != SQLITE_OK) {
                break;
            }
        }
    }
    return rc;
}

/* One pass over all rows. */
static int scan(Sample *s) {
    VsxFilter none = {0};
    sqlite3_stmt *stmt = NULL;
    unsigned polled = 0;
    int rc = vsx_filter_rows(&none, s->v, &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        sqlite3_int64 rowid = sqlite3_column_int64(stmt, 0);
        rc = SQLITE_OK;
        for (size_t i = 0; rc == SQLITE_OK && i < s->n; i++) {
            VsxKnn knn = {.vector = s->v, .query = s->query + i * s->stride};
            double distance = 0;
            if (s->rowid[i] != rowid) {
                rc = vsx_value_distance(&knn, sqlite3_column_value(stmt, 1), &distance);
                s->n_nearest[i] = vs_keep_smallest(s->nearest + i * s->k, s->n_nearest[i],
                                                   s->k, distance);
            }
        }
        if (rc == SQLITE_OK && ++polled % 64 == 0 && vsx_poll(s->v)) {
            rc = SQLITE_INTERRUPT;
        }
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? final : rc;
}

/* ---- measuring ----------------------------------------------------------------------- */

/* Of one query: found among its true neighbours, and how many there are. */
static size_t count_found(const Sample *s, size_t i, const VsxResult *results, size_t n) {
    size_t found = 0, most = s->n_nearest[i];
    double limit = most == 0 ? 0 : s->nearest[i * s->k + most - 1];
    limit += fabs(limit) * MARGIN;
    for (size_t j = 0; j < n && found < most; j++) {
        found += results[j].rowid != s->rowid[i] && results[j].distance <= limit;
    }
    return found;
}

static int measure(const Sample *s, size_t ef, Line *out) {
    size_t k = s->k + 1, found = 0, wanted = 0; /* a row finds itself too */
    uint64_t before = vs_evaluations(s->v->graph);
    VsxResult *results = sqlite3_malloc64((s->n * k + 1) * sizeof *results);
    size_t *n = sqlite3_malloc64((s->n + 1) * sizeof *n);
    int rc = results == NULL || n == NULL
                 ? SQLITE_NOMEM
                 : vsx_search_many(s->v, s->query, s->n, k, ef, results, n);
    for (size_t i = 0; rc == SQLITE_OK && i < s->n; i++) {
        found += count_found(s, i, results + i * k, n[i]);
        wanted += s->n_nearest[i];
    }
    sqlite3_free(results);
    sqlite3_free(n);
    *out = (Line){ef, wanted == 0 ? 1 : (double)found / (double)wanted,
                  (double)(vs_evaluations(s->v->graph) - before) / (double)s->n};
    return rc;
}

static int measure_all(RecallCursor *c, Sample *s) {
    size_t own = s->v->graph->state.ef_search, *n = &c->base.n;
    c->queries = s->n;
    for (int i = 0; s->n > 0 && i < EFS; i++) {
        size_t next = efs[i], last = *n == 0 ? 0 : c->line[*n - 1].ef;
        if (own >= s->k && own > last && own < next) {
            VSX_TRY(measure(s, own, &c->line[(*n)++]));
        }
        if (next >= s->k) {
            VSX_TRY(measure(s, next, &c->line[(*n)++]));
        }
    }
    return SQLITE_OK;
}

static void sample_close(Sample *s) {
    sqlite3_free(s->query);
    sqlite3_free(s->rowid);
    sqlite3_free(s->nearest);
    sqlite3_free(s->n_nearest);
}

/* Up to n rows and what is nearest to them. The caller closes *s whatever comes of it. */
static int sample_open(VsxVector *v, size_t n, size_t k, Sample *s) {
    const VsCodecParams *code = &v->graph->params.code;
    *s = (Sample){.v = v, .k = k, .stride = vs_element_bytes(code->element, code->dims)};
    VSX_TRY(vsx_refresh(v));
    uint32_t live = v->graph->state.n_live;
    n = n < live ? n : live;
    s->query = sqlite3_malloc64(n * s->stride + 1);
    s->rowid = sqlite3_malloc64(n * sizeof *s->rowid + 1);
    s->nearest = sqlite3_malloc64(n * k * sizeof *s->nearest + 1);
    s->n_nearest = sqlite3_malloc64(n * sizeof *s->n_nearest + 1);
    if (s->query == NULL || s->rowid == NULL || s->nearest == NULL ||
        s->n_nearest == NULL) {
        return SQLITE_NOMEM;
    }
    memset(s->n_nearest, 0, n * sizeof *s->n_nearest);
    VSX_TRY(draw(s, n));
    return scan(s);
}

static int run(RecallCursor *c, VsxVector *v, size_t sample, size_t k) {
    Sample s = {0};
    int rc = sample_open(v, sample, k, &s);
    rc = rc == SQLITE_OK ? measure_all(c, &s) : rc;
    sample_close(&s);
    return rc;
}

int vsx_recall_estimate(VsxVector *v, double *out) {
    Sample s = {0};
    Line line = {0};
    int rc = sample_open(v, ESTIMATE, K, &s);
    if (rc == SQLITE_OK && s.n > 0) {
        size_t own = v->graph->state.ef_search;
        rc = measure(&s, own > K + 1 ? own : K + 1, &line);
    }
    *out = s.n > 0 ? line.recall : -1;
    sample_close(&s);
    return rc;
}

/* ---- the table-valued function --------------------------------------------------------- */

static void recall_clear(VsxFunctionCursor *base) {
    RecallCursor *c = (RecallCursor *)base;
    for (int i = 0; i < ARGUMENTS; i++) {
        sqlite3_value_free(c->argument[i]);
        c->argument[i] = NULL;
    }
}

static int recall_filter(VsxFunctionCursor *base, int given, sqlite3_value **argv) {
    RecallCursor *c = (RecallCursor *)base;
    VsxVisit visit = {0};
    VsxVector *v = NULL;
    char *err = NULL;
    for (int i = 0, n = 0; i < ARGUMENTS; i++) {
        if (given & 1 << i) {
            c->argument[i] = sqlite3_value_dup(argv[n++]);
            if (c->argument[i] == NULL) {
                return SQLITE_NOMEM;
            }
        }
    }
    sqlite3_value **a = c->argument;
    const char *table = a[0] == NULL ? NULL : (const char *)sqlite3_value_text(a[0]);
    const char *column = a[1] == NULL ? NULL : (const char *)sqlite3_value_text(a[1]);
    sqlite3_int64 sample = a[2] == NULL ? SAMPLE : sqlite3_value_int64(a[2]);
    sqlite3_int64 k = a[3] == NULL ? K : sqlite3_value_int64(a[3]);
    if (table == NULL) {
        return vsx_tf_fail(
            base, SQLITE_ERROR,
            sqlite3_mprintf("call it as vecsql_recall('table', 'column')"));
    }
    if (sample < 1 || sample > SAMPLE_MAX || k < 1 || k > K_MAX) {
        return vsx_tf_fail(
            base, SQLITE_ERROR,
            sqlite3_mprintf("sample must be from 1 to %d and k from 1 to %d, not "
                            "%lld and %lld",
                            SAMPLE_MAX, K_MAX, sample, k));
    }
    int rc = vsx_visit(vsx_tf_data(base), table, &visit, &err);
    rc = rc == SQLITE_OK ? vsx_find_vector(visit.index, column, &v, &err) : rc;
    rc = rc == SQLITE_OK ? run(c, v, (size_t)sample, (size_t)k) : rc;
    if (rc != SQLITE_OK && err == NULL && visit.index != NULL) {
        err = vsx_reason(visit.index, rc);
    }
    vsx_visit_end(&visit);
    return rc == SQLITE_OK ? rc : vsx_tf_fail(base, rc, err);
}

static int recall_column(VsxFunctionCursor *base, sqlite3_context *ctx, int i) {
    const RecallCursor *c = (const RecallCursor *)base;
    const Line *line = &c->line[base->at];
    if (i == RECALL_EF) {
        sqlite3_result_int64(ctx, (sqlite3_int64)line->ef);
    } else if (i == RECALL_RECALL) {
        sqlite3_result_double(ctx, line->recall);
    } else if (i == RECALL_EVALUATIONS) {
        sqlite3_result_double(ctx, line->evaluations);
    } else if (i == RECALL_QUERIES) {
        sqlite3_result_int64(ctx, (sqlite3_int64)c->queries);
    } else if (c->argument[i - RECALL_TABLE] != NULL) {
        sqlite3_result_value(ctx, c->argument[i - RECALL_TABLE]);
    }
    return SQLITE_OK;
}

static const VsxTableFunction vecsql_recall = {
    .name = "vecsql_recall",
    .declaration =
        "CREATE TABLE x(ef INTEGER, recall REAL, evaluations REAL, queries INTEGER, "
        "\"table\" HIDDEN, \"column\" HIDDEN, sample HIDDEN, k HIDDEN)",
    .n_results = RECALL_TABLE,
    .n_args = ARGUMENTS,
    .cost = 1e9,
    .rows = EFS,
    .first_rowid = 1,
    .cursor_size = sizeof(RecallCursor),
    .filter = recall_filter,
    .column = recall_column,
    .clear = recall_clear,
};

int vsx_register_recall(VsxGlobal *global) {
    return vsx_register_table_function(global->db, &vecsql_recall, global);
}
