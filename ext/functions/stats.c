/*
 * vecsql_stats(table [, schema]): figures about an index, one row each.
 *
 *     SELECT name, value FROM vecsql_stats('docs_vec') WHERE vector = 'embedding'
 *
 * Sizes on disk are sums of stored bytes, read from the shadow tables when asked for.
 * recall_estimate is computed when its value is read: it costs a pass over all rows.
 */
#include "csrc/graph/fit.h"
#include "ext/table/index.h"
#include "ext/query/search_many.h"
#include "ext/functions/table_function.h"
#include "ext/table/vector_cache.h"
#include "ext/table/shadow.h"
#include "ext/table/errors.h"
#include "ext/table/models.h"
#include "ext/txn/txn.h"
#include "ext/content/content.h"
#include "ext/query/visit.h"
#include "ext/functions/functions.h"

enum { FIGURES = 8 + 29 };

typedef enum Kind { NUMBER, WORD, MODEL, RECALL } Kind;

typedef struct Figure {
    const char *name;
    Kind kind;
    sqlite3_int64 number;
    const char *word;
} Figure;

typedef struct StatsCursor {
    VsxFunctionCursor base;
    VsxIndex *index; /* counted */
    int vector;      /* whose figures these are */
    Figure figure[FIGURES];
    size_t figures;
} StatsCursor;

enum { STATS_VECTOR, STATS_NAME, STATS_VALUE, STATS_TABLE, STATS_SCHEMA };

static void stats_clear(VsxFunctionCursor *base) {
    StatsCursor *c = (StatsCursor *)base;
    if (c->index != NULL) {
        vsx_index_release(c->index);
        c->index = NULL;
    }
}

/* ---- the figures ---------------------------------------------------------------- */

static int count(VsxVector *v, const char *what, const char *suffix, sqlite3_int64 *out) {
    const VsxIndex *i = v->index;
    return vsx_ask_number(i->global->db,
                          sqlite3_mprintf("SELECT %s FROM \"%w\".\"%w_%s%d\"", what,
                                          i->schema, i->table, suffix, v->number),
                          out);
}

static void add(StatsCursor *c, const char *name, sqlite3_int64 number) {
    c->figure[c->figures++] = (Figure){name, NUMBER, number, NULL};
}

static void add_word(StatsCursor *c, const char *name, const char *word) {
    c->figure[c->figures++] = (Figure){name, WORD, 0, word};
}

static void add_late(StatsCursor *c, const char *name, Kind kind) {
    c->figure[c->figures++] = (Figure){name, kind, 0, NULL};
}

/* Pages in memory, their bytes, and those of them that other graphs can find. */
static sqlite3_int64 resident(const VsGraph *g, sqlite3_int64 *bytes,
                              sqlite3_int64 *shared) {
    sqlite3_int64 pages = 0;
    *bytes = *shared = 0;
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        sqlite3_int64 size = (sqlite3_int64)vs_page_memory(&g->geo[k]);
        for (uint32_t p = 0; p < g->table[k].n_leaves * VS_LEAF_PAGES; p++) {
            unsigned char *page = vs_table_get(&g->table[k], p);
            if (page != NULL) {
                pages++;
                *bytes += size;
                *shared += vs_page_is_listed(page) ? size : 0;
            }
        }
    }
    return pages;
}

static int collect(StatsCursor *c, int vector) {
    VsxVector *v = &c->index->vector[vector];
    sqlite3_int64 pages = 0, page_bytes = 0, log_rows = 0, log_bytes = 0;
    sqlite3_int64 bytes = 0, shared = 0;
    VSX_TRY(vsx_refresh(v));
    VSX_TRY(vsx_code(c->index, vs_model_ready(v->graph)));
    VSX_TRY(count(v, "count(*)", "pages", &pages));
    VSX_TRY(count(v, "sum(length(data))", "pages", &page_bytes));
    VSX_TRY(count(v, "count(*)", "log", &log_rows));
    VSX_TRY(count(v, "sum(length(edits))", "log", &log_bytes));
    const VsGraph *g = v->graph;
    const VsState *s = &g->state;
    VsPageCache *page_cache = g->geo[VS_NODE].page_cache;
    c->vector = vector;
    c->figures = 0;
    add_word(c, "index", g->params.kind == VS_HNSW ? "hnsw" : "flat");
    add_word(c, "codec", g->codec->name);
    add_word(c, "distance_metric", vsx_metric_name(g->params.code.metric));
    add_word(c, "element", vs_element_name(g->params.code.element));
    add(c, "dims", g->params.code.dims);
    add(c, "raw_rows", s->raw_rows);
    add(c, "m", g->params.m);
    add(c, "ef_construction", g->params.ef_construction);
    add(c, "ef_search", s->ef_search);
    add(c, "nav_bits", g->model != NULL ? g->model->nav_bits : 0);
    add(c, "codec_epoch", s->epoch);
    add_late(c, "model", MODEL);
    add_late(c, "recall_estimate", RECALL);
    add(c, "rows", s->n_live);
    add(c, "nodes", s->n_nodes);
    add(c, "deleted", s->n_dead);
    add(c, "seeds", s->n_roots);
    add(c, "max_level", s->max_level);
    add(c, "version", (sqlite3_int64)s->ver);
    add(c, "stamp", (sqlite3_int64)s->stamp);
    add(c, "folded_version", (sqlite3_int64)s->checkpoint_ver);
    add(c, "pages", pages);
    add(c, "page_bytes", page_bytes);
    add(c, "log_rows", log_rows);
    add(c, "log_bytes", log_bytes);
    add(c, "code_bytes_per_row", g->geo[VS_CODE].slot_size);
    add(c, "resident_pages", resident(g, &bytes, &shared));
    add(c, "resident_bytes", bytes);
    add(c, "shared_bytes", shared);
    add(c, "shared_by", page_cache != NULL ? vs_page_cache_users(page_cache) : 1);
    add(c, "vector_cache_bytes", vsx_cache_bytes(v));
    const VsxFigures *last = &v->last_query;
    add_word(c, "last_query_plan", last->plan != NULL ? last->plan : "none");
    add(c, "last_query_admitted", last->admitted);
    add(c, "last_query_evaluations", (sqlite3_int64)last->evaluations);
    add(c, "last_query_batches", (sqlite3_int64)last->batches);
    add(c, "last_query_probes", (sqlite3_int64)last->probes);
    add(c, "last_query_reads", (sqlite3_int64)last->reads);
    return SQLITE_OK;
}

/* ---- the cursor ----------------------------------------------------------------- */

static int fail(StatsCursor *c, const char *table) {
    return vsx_tf_fail(&c->base, SQLITE_ERROR,
                       sqlite3_mprintf("there is no vecsql table %s", table));
}

/* Connects the table if this connection has not touched it yet. */
static int find_index(StatsCursor *c, const char *schema, const char *table) {
    VsxGlobal *global = vsx_tf_data(&c->base);
    int rc = vsx_exec(global->db, "SELECT 1 FROM \"%w\".\"%w\" LIMIT 0", schema, table);
    VsxIndex *found = vsx_index_find(global, schema, table);
    if (rc != SQLITE_OK || found == NULL) {
        return fail(c, table);
    }
    found->refs++;
    c->index = found;
    return SQLITE_OK;
}

static int stats_filter(VsxFunctionCursor *base, int given, sqlite3_value **argv) {
    StatsCursor *c = (StatsCursor *)base;
    const char *table = given & 1 ? (const char *)sqlite3_value_text(argv[0]) : NULL;
    const char *schema = given == 3 ? (const char *)sqlite3_value_text(argv[1]) : NULL;
    if (table == NULL) {
        return fail(c, "NULL; call it as vecsql_stats('table')");
    }
    int rc = find_index(c, schema == NULL ? "main" : schema, table);
    rc = rc == SQLITE_OK ? collect(c, 0) : rc;
    base->n = rc == SQLITE_OK ? c->figures * (size_t)c->index->def->n_vectors : 0;
    return rc;
}

static int model_value(const StatsCursor *c, sqlite3_context *ctx) {
    const VsxSchema *def = c->index->def;
    char *model = NULL;
    int rc = vsx_model_of(c->index, def->column[def->vector[c->vector]].name, &model);
    sqlite3_result_text(ctx, model, -1, sqlite3_free);
    return rc;
}

static int recall_value(const StatsCursor *c, sqlite3_context *ctx) {
    double recall = -1;
    char *why = NULL;
    VsxVisit visit = {0};
    int rc = vsx_visit_index(c->index, &visit);
    rc = rc == SQLITE_OK ? vsx_index_searchable(c->index, &why) : rc;
    if (why != NULL) { /* no search answers: there is nothing to estimate */
        rc = SQLITE_OK;
    } else if (rc == SQLITE_OK) {
        rc = vsx_recall_estimate(&c->index->vector[c->vector], &recall);
    }
    sqlite3_free(why);
    vsx_visit_end(&visit);
    if (rc == SQLITE_OK && recall >= 0) {
        sqlite3_result_double(ctx, recall);
    }
    return rc;
}

static int value(const StatsCursor *c, const Figure *f, sqlite3_context *ctx) {
    switch (f->kind) {
    case MODEL:
        return model_value(c, ctx);
    case RECALL:
        return recall_value(c, ctx);
    case WORD:
        sqlite3_result_text(ctx, f->word, -1, SQLITE_STATIC);
        return SQLITE_OK;
    default:
        sqlite3_result_int64(ctx, f->number);
        return SQLITE_OK;
    }
}

static int stats_column(VsxFunctionCursor *base, sqlite3_context *ctx, int i) {
    StatsCursor *c = (StatsCursor *)base;
    int vector = (int)(base->at / c->figures);
    VSX_TRY(vector == c->vector ? SQLITE_OK : collect(c, vector));
    const Figure *f = &c->figure[base->at % c->figures];
    const VsxSchema *def = c->index->def;
    if (i == STATS_VECTOR) {
        sqlite3_result_text(ctx, def->column[def->vector[c->vector]].name, -1,
                            SQLITE_TRANSIENT);
    } else if (i == STATS_NAME) {
        sqlite3_result_text(ctx, f->name, -1, SQLITE_STATIC);
    } else if (i == STATS_VALUE) {
        return value(c, f, ctx);
    } else {
        sqlite3_result_text(ctx, i == STATS_TABLE ? c->index->table : c->index->schema,
                            -1, SQLITE_TRANSIENT);
    }
    return SQLITE_OK;
}

static const VsxTableFunction vecsql_stats = {
    .name = "vecsql_stats",
    .declaration = "CREATE TABLE x(vector TEXT, name TEXT, value, \"table\" HIDDEN, "
                   "schema HIDDEN)",
    .n_results = STATS_TABLE,
    .n_args = 2,
    .cost = 1000,
    .rows = FIGURES,
    .first_rowid = 1,
    .cursor_size = sizeof(StatsCursor),
    .filter = stats_filter,
    .column = stats_column,
    .clear = stats_clear,
};

int vsx_register_stats(VsxGlobal *global) {
    return vsx_register_table_function(global->db, &vecsql_stats, global);
}
