/*
 * Cursors: the plan of plan.c carried out, one row at a time.
 *
 * A cursor holds no statement and no pointer into the graph between two calls: the
 * columns that a query uses are copied when it first asks for one of a row.
 */
#include <limits.h>
#include <string.h>

#include "ext/query/knn.h"
#include "ext/table/dialect.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/models.h"
#include "ext/content/content.h"
#include "ext/query/filter.h"
#include "ext/query/cursor.h"

/* A scan reads its rowids ahead, in batches that grow: a filter whose rows a b-tree gives
 * in another order is sorted for each. */
enum { FIRST_BATCH = 64, LARGEST_BATCH = 1 << 16 };

enum { MATCHED = 'm' }; /* subtype of the vector in a row of a search */

typedef enum CursorKind { CURSOR_SCAN, CURSOR_POINT, CURSOR_KNN } CursorKind;

typedef struct Cursor {
    sqlite3_vtab_cursor base;
    CursorKind kind;
    unsigned used; /* mask of columns that xColumn will ask for (plan.c) */
    int eof;
    sqlite3_int64 rowid;
    sqlite3_int64 *batch; /* of a scan: rowids to come */
    int n_batch, at, batch_size, down;
    VsxFilter filter; /* of a scan */
    VsxKnn knn;
    sqlite3_int64 limit;   /* of limit=; < 0: none */
    int recheck;           /* SQLite calls match() (plan.c) */
    sqlite3_value **value; /* stored columns of the current row; NULL: not used */
    int have_values;
} Cursor;

static VsxTable *table_of(const Cursor *c) {
    return (VsxTable *)c->base.pVtab;
}

int vsx_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out) {
    const VsxSchema *def = ((VsxTable *)base)->index->def;
    Cursor *c = sqlite3_malloc64(sizeof *c);
    size_t size = (size_t)def->n_stored * sizeof(sqlite3_value *);
    sqlite3_value **value = sqlite3_malloc64(size);
    if (c == NULL || value == NULL) {
        sqlite3_free(c);
        sqlite3_free(value);
        return SQLITE_NOMEM;
    }
    memset(c, 0, sizeof *c);
    memset(value, 0, size);
    c->value = value;
    c->eof = 1;
    *out = &c->base;
    return SQLITE_OK;
}

static void forget_values(Cursor *c) {
    for (int i = 0; c->have_values && i < table_of(c)->index->def->n_stored; i++) {
        sqlite3_value_free(c->value[i]);
        c->value[i] = NULL;
    }
    c->have_values = 0;
}

int vsx_close(sqlite3_vtab_cursor *base) {
    Cursor *c = (Cursor *)base;
    forget_values(c);
    vsx_knn_clear(&c->knn);
    vsx_filter_clear(&c->filter);
    sqlite3_free(c->batch);
    sqlite3_free(c->value);
    sqlite3_free(c);
    return SQLITE_OK;
}

/* ---- rows in order of rowid ----------------------------------------------------- */

static int read_batch(Cursor *c, sqlite3_int64 from) {
    sqlite3_stmt *stmt = NULL;
    c->n_batch = c->at = 0;
    sqlite3_int64 *grown =
        sqlite3_realloc64(c->batch, (sqlite3_uint64)c->batch_size * sizeof *grown);
    if (grown == NULL) {
        return SQLITE_NOMEM;
    }
    c->batch = grown;
    int rc = vsx_filter_scan(&c->filter, table_of(c)->index, c->down, from, c->batch_size,
                             &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        c->batch[c->n_batch++] = sqlite3_column_int64(stmt, 0);
        rc = SQLITE_OK;
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? final : rc;
}

static int scan_next(Cursor *c) {
    int rc = SQLITE_OK;
    if (c->at == c->n_batch && c->n_batch == c->batch_size) {
        sqlite3_int64 last = c->batch[c->n_batch - 1],
                      end = c->down ? LLONG_MIN : LLONG_MAX;
        c->n_batch = c->at = 0;
        c->batch_size *= c->batch_size < LARGEST_BATCH ? 4 : 1;
        rc = last != end ? read_batch(c, c->down ? last - 1 : last + 1) : SQLITE_OK;
    }
    c->eof = rc != SQLITE_OK || c->at == c->n_batch;
    c->rowid = c->eof ? 0 : c->batch[c->at++];
    return rc;
}

/* ---- xFilter -------------------------------------------------------------------- */

static int word_is(const char *word, size_t len, const char *what) {
    return strlen(what) == len && memcmp(word, what, len) == 0;
}

static const VsxColumn *knn_column(const VsxKnn *knn) {
    const VsxSchema *def = knn->vector->index->def;
    return &def->column[def->vector[knn->vector->number]];
}

static int take_query(Cursor *c, sqlite3_value *value) {
    VsxTable *t = table_of(c);
    const VsxColumn *column = knn_column(&c->knn);
    VsxVec v = {0};
    char *err = NULL;
    int rc = t->index->def->dialect->vector(t, column, VSX_QUERIED, value, &v);
    if (rc == SQLITE_OK && v.v == NULL) {
        c->knn.nothing = 1; /* as of any comparison with NULL */
        return SQLITE_OK;
    }
    if (rc == SQLITE_OK) {
        c->knn.query = v.v; /* freed with the search */
        rc = vsx_check_embedder(t->index, column->name, value, &err);
    }
    if (err != NULL) {
        rc = vsx_fail(t, rc, "%s.%s: query vector: %s", t->index->table, column->name,
                      err);
    }
    sqlite3_free(err);
    return rc;
}

/* No more than n rows are asked for. */
static void take_count(Cursor *c, sqlite3_int64 n) {
    sqlite3_uint64 want = (sqlite3_uint64)n;
    if (n >= 0 && want < c->knn.want) {
        c->knn.want = (size_t)want;
    }
}

/* The values of k, ef_search and exact. */
static int take_setting(Cursor *c, const char *word, size_t len, sqlite3_value *value) {
    VsxTable *t = table_of(c);
    sqlite3_int64 n = 0;
    int is_null = sqlite3_value_type(value) == SQLITE_NULL;
    const VsxDialect *dialect = t->index->def->dialect;
    if (dialect->k != NULL && word_is(word, len, "k=")) {
        int rc = dialect->k(t, value, &c->knn.k);
        take_count(c, rc == SQLITE_OK ? c->knn.k : -1);
        return rc;
    }
    if (!is_null && !vsx_rowid_value(value, &n)) {
        return vsx_fail(t, SQLITE_ERROR, "%s: %.*s must be a whole number, not '%s'",
                        t->index->table, (int)len - 1, word, sqlite3_value_text(value));
    }
    if (word_is(word, len, "k=")) {
        if (n < 0) {
            return vsx_fail(t, SQLITE_ERROR, "%s: k must not be negative, got %lld",
                            t->index->table, n);
        }
        c->knn.k = is_null ? 0 : n;
        take_count(c, c->knn.k);
    } else if (word_is(word, len, "exact=")) {
        c->knn.exact = n != 0;
    } else if (!is_null) {
        if (n < 1) {
            return vsx_fail(t, SQLITE_ERROR, "%s: ef_search must be at least 1, got %lld",
                            t->index->table, n);
        }
        c->knn.ef = n < INT_MAX ? (size_t)n : INT_MAX; /* no table has more rows */
    }
    return SQLITE_OK;
}

/* LIMIT or OFFSET of a search that may not end at LIMIT: how far it will be read. */
static void take_hint(Cursor *c, sqlite3_int64 n) {
    if (n > 0 && n < 1 << 20) {
        c->knn.hint += (size_t)n;
    }
}

/* A bound of the distance. SQLite compares it again, so what is no number may be left
 * out. sqlite-vec takes any value for a number, and that for a float32. */
static void take_bound(Cursor *c, const char *word, size_t len, sqlite3_value *value) {
    VsxBounds *b = &c->knn.bounds;
    double d = sqlite3_value_double(value);
    int type = sqlite3_value_type(value),
        float32 = table_of(c)->index->def->dialect->float32,
        strict = len == 2 && word[1] != '=';
    c->knn.nothing |= type == SQLITE_NULL;
    if (type != SQLITE_INTEGER && type != SQLITE_FLOAT && !float32) {
        return;
    }
    d = float32 ? (double)(float)d : d;
    if (word[1] != '<' && (d > b->low || (d == b->low && strict))) {
        b->low = d;
        b->above = strict;
    }
    if (word[1] != '>' && (d < b->high || (d == b->high && strict))) {
        b->high = d;
        b->below = strict;
    }
}

/* One word of the plan with its argument. */
static int take_word(Cursor *c, const char *word, size_t len, sqlite3_value *value) {
    if (word_is(word, len, "match")) {
        return take_query(c, value);
    }
    if (word_is(word, len, "k=") || word_is(word, len, "ef=") ||
        word_is(word, len, "exact=")) {
        return take_setting(c, word, len, value);
    }
    if (word_is(word, len, "limit=")) {
        c->limit = sqlite3_value_int64(value);
        return SQLITE_OK;
    }
    if (word_is(word, len, "limit") || word_is(word, len, "offset")) {
        take_hint(c, sqlite3_value_int64(value));
        return SQLITE_OK;
    }
    if (*word == 'd') {
        take_bound(c, word, len, value);
        return SQLITE_OK;
    }
    c->knn.single |= word_is(word, len, "rowid=");
    c->knn.exact |= c->knn.single;
    return vsx_filter_add(&c->knn.filter, word, len, value);
}

/* Hands every word of the plan from `word` on to `take` with its argument. */
static int each_word(Cursor *c, const char *word, int argc, sqlite3_value **argv,
                     int (*take)(Cursor *, const char *, size_t, sqlite3_value *)) {
    int rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < argc; i++) {
        word += strspn(word, " ");
        size_t len = strcspn(word, " ");
        rc = take(c, word, len, argv[i]);
        word += len;
    }
    c->recheck = strncmp(word, " recheck", 8) == 0;
    return rc;
}

static int start_knn(Cursor *c, const char *plan, int argc, sqlite3_value **argv) {
    VsxTable *t = table_of(c);
    int number = plan[4] - '0';
    const char *word = plan + 5;
    if (*word >= '0' && *word <= '9') {
        number = number * 10 + *word++ - '0';
    }
    c->knn.vector = &t->index->vector[number];
    c->limit = -1;
    int rc = each_word(c, word, argc, argv, take_word);
    if (c->limit >= 0 && vsx_filter_is_ambiguous(&c->knn.filter, t->index->def)) {
        take_hint(c, c->limit); /* SQLite drops some of the rows */
    } else {
        take_count(c, c->limit);
    }
    return rc == SQLITE_OK ? vsx_knn_more(&c->knn) : rc;
}

static int take_scan_word(Cursor *c, const char *word, size_t len, sqlite3_value *value) {
    return vsx_filter_add(&c->filter, word, len, value);
}

static int start_scan(Cursor *c, const char *plan, int argc, sqlite3_value **argv) {
    c->batch_size = FIRST_BATCH;
    c->down = strncmp(plan, "scan-desc", 9) == 0;
    int rc = each_word(c, plan + strcspn(plan, " "), argc, argv, take_scan_word);
    rc = rc == SQLITE_OK ? read_batch(c, c->down ? LLONG_MAX : LLONG_MIN) : rc;
    return rc == SQLITE_OK ? scan_next(c) : rc;
}

static int start_point(Cursor *c, sqlite3_value *rowid) {
    sqlite3_stmt *stmt = NULL;
    if (!vsx_rowid_value(rowid, &c->rowid)) {
        return SQLITE_OK;
    }
    int rc = vsx_row_stmt(table_of(c)->index, VSX_ROW_GET, &stmt);
    if (rc == SQLITE_OK) {
        rc = vsx_step_with(stmt, c->rowid);
        c->eof = rc != SQLITE_ROW;
        rc = vsx_reset(stmt, rc);
    }
    return rc;
}

/* Rows are found some time before they are given: one that we have deleted since is left
 * out. */
static int knn_next(Cursor *c) {
    int rc = SQLITE_OK, gone = 1;
    VsxKnn *knn = &c->knn;
    while (rc == SQLITE_OK && gone) {
        double distance;
        gone = 0;
        rc = knn->at == knn->result.n ? vsx_knn_more(knn) : SQLITE_OK;
        c->eof = rc != SQLITE_OK || knn->at == knn->result.n;
        c->rowid = c->eof ? 0 : knn->result.at[knn->at++].rowid;
        if (!c->eof && vsx_knn_moved(knn)) {
            rc = vsx_stored_distance(knn, c->rowid, &distance, &gone);
            vsx_reader_rest(&knn->reader);
        }
    }
    return rc;
}

int vsx_filter(sqlite3_vtab_cursor *base, int num, const char *plan, int argc,
               sqlite3_value **argv) {
    Cursor *c = (Cursor *)base;
    int rc = SQLITE_OK;
    forget_values(c);
    vsx_knn_clear(&c->knn);
    vsx_filter_clear(&c->filter);
    c->used = (unsigned)num;
    c->eof = 1;
    if (plan == NULL) {
        return SQLITE_NOMEM;
    }
    rc = vsx_searchable(table_of(c));
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (strncmp(plan, "knn:", 4) == 0) {
        c->kind = CURSOR_KNN;
        rc = start_knn(c, plan, argc, argv);
        rc = rc == SQLITE_OK ? knn_next(c) : rc;
    } else if (strncmp(plan, "point", 5) == 0) {
        c->kind = CURSOR_POINT;
        rc = start_point(c, argv[0]);
    } else {
        c->kind = CURSOR_SCAN;
        rc = start_scan(c, plan, argc, argv);
    }
    return vsx_explain(table_of(c), rc);
}

int vsx_next(sqlite3_vtab_cursor *base) {
    Cursor *c = (Cursor *)base;
    forget_values(c);
    if (c->kind == CURSOR_POINT) {
        c->eof = 1;
        return SQLITE_OK;
    }
    return vsx_explain(table_of(c), c->kind == CURSOR_KNN ? knn_next(c) : scan_next(c));
}

int vsx_eof(sqlite3_vtab_cursor *base) {
    return ((Cursor *)base)->eof;
}

int vsx_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    *rowid = ((Cursor *)base)->rowid;
    return SQLITE_OK;
}

/* ---- xColumn -------------------------------------------------------------------- */

static int is_used(const Cursor *c, int column) {
    return (c->used >> (column < 30 ? column : 30) & 1) != 0;
}

/* Copies the used columns of the current row. A row that is gone by now has none. */
static int read_values(Cursor *c) {
    VsxIndex *index = table_of(c)->index;
    const VsxSchema *def = index->def;
    sqlite3_stmt *stmt = NULL;
    int rc = vsx_row_stmt(index, VSX_ROW_GET, &stmt);
    if (rc != SQLITE_OK) {
        return rc;
    }
    c->have_values = 1;
    rc = vsx_step_with(stmt, c->rowid);
    for (int i = 0; rc == SQLITE_ROW && i < def->n_columns; i++) {
        int stored = def->column[i].stored;
        if (stored > 0 && is_used(c, i)) {
            c->value[stored] = sqlite3_value_dup(sqlite3_column_value(stmt, stored));
            rc = c->value[stored] == NULL ? SQLITE_NOMEM : rc;
        }
    }
    return vsx_reset(stmt, rc);
}

static void hidden_column(const Cursor *c, sqlite3_context *ctx, int hidden) {
    if (c->kind == CURSOR_KNN && hidden == VSX_DISTANCE && !c->eof) {
        sqlite3_result_double(ctx, c->knn.result.at[c->knn.at - 1].distance);
    } else if (c->kind == CURSOR_KNN && hidden == VSX_K && c->knn.k >= 0 &&
               !table_of(c)->index->def->dialect->limit_is_k) {
        sqlite3_result_int64(ctx, c->knn.k);
    } else if (c->kind == CURSOR_KNN && hidden == VSX_EF_SEARCH) {
        sqlite3_result_int64(ctx, (sqlite3_int64)c->knn.ef);
    } else if (c->kind == CURSOR_KNN && hidden == VSX_EXACT) {
        sqlite3_result_int(ctx, c->knn.exact);
    }
}

int vsx_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int i) {
    Cursor *c = (Cursor *)base;
    VsxTable *t = table_of(c);
    const VsxSchema *def = t->index->def;
    if (i >= def->n_columns) {
        hidden_column(c, ctx, i - def->n_columns);
        return SQLITE_OK;
    }
    const VsxColumn *column = &def->column[i];
    if (column->role == VSX_KEY) {
        sqlite3_result_int64(ctx, c->rowid);
        return SQLITE_OK;
    }
    if (sqlite3_vtab_nochange(ctx)) {
        return SQLITE_OK; /* an UPDATE that leaves it alone does not read it */
    }
    if (!c->have_values) {
        int rc = read_values(c);
        if (rc != SQLITE_OK) {
            return vsx_explain(t, rc);
        }
    }
    sqlite3_value *value = c->value[column->stored];
    if (value != NULL) {
        sqlite3_result_value(ctx, value);
    }
    const VsCodecParams *code = &column->params.code;
    if (value != NULL && column->role == VSX_VECTOR &&
        sqlite3_value_type(value) == SQLITE_BLOB &&
        (size_t)sqlite3_value_bytes(value) ==
            vs_element_bytes(code->element, code->dims)) {
        sqlite3_result_subtype(ctx, vsx_subtype(code->element));
    }
    if (c->recheck && c->kind == CURSOR_KNN && column->role == VSX_VECTOR) {
        sqlite3_result_subtype(ctx, MATCHED);
    }
    return SQLITE_OK;
}

/* ---- match() -------------------------------------------------------------------- */

/* `vector MATCH query` as an expression: true for the rows of a search, whose cursor says
 * so by the subtype of the vector. Anywhere else SQLite could not use the index. */
static void match_function(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    if (argc == 2 && sqlite3_value_subtype(argv[1]) == MATCHED) {
        sqlite3_result_int(ctx, 1);
    } else {
        sqlite3_result_error(ctx, "unable to use function MATCH in the requested context",
                             -1);
    }
}

/* The function that SQLite lets a table overload has the flags of the one that the
 * connection knows by that name: without INNOCUOUS no view could search while
 * trusted_schema is off. SQLite refuses to replace a function while a statement
 * runs, and SELECT load_extension() is one: then all works but such views. */
int vsx_register_match(sqlite3 *db) {
    int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_SUBTYPE;
    int rc = sqlite3_create_function_v2(db, "match", 2, flags, NULL, match_function, NULL,
                                        NULL, NULL);
    return rc == SQLITE_BUSY ? SQLITE_OK : rc;
}

int vsx_find_function(sqlite3_vtab *base, int argc, const char *name,
                      void (**function)(sqlite3_context *, int, sqlite3_value **),
                      void **arg) {
    (void)base;
    if (argc != 2 || sqlite3_stricmp(name, "match") != 0) {
        return 0;
    }
    *function = match_function;
    *arg = NULL;
    return 1;
}
