/*
 * Predicates that a plan pushed down: kept as values, run by SQLite on the row table.
 *
 * The words are those of plan.c. A predicate on column I becomes the same predicate on
 * that column of the row table, where SQLite's own b-trees, affinities and operators
 * decide; the result is a bitmap of nodes for the walk, or a statement for the scan.
 */
#include <stdlib.h>
#include <string.h>

#include "ext.h"
#include "rowmap.h"

static int add_value(VsxTerm *t, sqlite3_value *value) {
    sqlite3_value **grown =
        sqlite3_realloc64(t->value, ((sqlite3_uint64)t->n_values + 1) * sizeof *grown);
    sqlite3_value *copy = grown == NULL ? NULL : sqlite3_value_dup(value);
    if (grown != NULL) {
        t->value = grown;
    }
    if (copy == NULL) {
        return SQLITE_NOMEM;
    }
    t->value[t->n_values++] = copy;
    return SQLITE_OK;
}

/* All values of an IN. They come unsorted. */
static int each_value(sqlite3_value *list, int (*use)(void *ctx, sqlite3_value *value),
                      void *ctx) {
    sqlite3_value *value = NULL;
    int rc = sqlite3_vtab_in_first(list, &value);
    while (rc == SQLITE_OK && value != NULL) {
        rc = use(ctx, value);
        rc = rc == SQLITE_OK ? sqlite3_vtab_in_next(list, &value) : rc;
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int use_term_value(void *ctx, sqlite3_value *value) {
    return add_value(ctx, value);
}

int vsx_rowid_value(sqlite3_value *value, sqlite3_int64 *out) {
    int type = sqlite3_value_numeric_type(value);
    *out = sqlite3_value_int64(value);
    return type == SQLITE_INTEGER ||
           (type == SQLITE_FLOAT && (double)*out == sqlite3_value_double(value));
}

static int put_rowid(VsxRowmap *set, sqlite3_int64 rowid) {
    int rc = vsx_rowmap_reserve(set, 1);
    if (rc == SQLITE_OK) {
        vsx_rowmap_put(set, rowid, 0);
    }
    return rc;
}

static int use_rowid(void *ctx, sqlite3_value *value) {
    sqlite3_int64 rowid; /* what is no rowid admits nothing */
    return vsx_rowid_value(value, &rowid) ? put_rowid(ctx, rowid) : SQLITE_OK;
}

/* A second rowid-in: what is in both. */
static int intersect(VsxRowmap **set, const VsxRowmap *other) {
    size_t n = vsx_rowmap_count(*set);
    VsxRowmap *both = vsx_rowmap_new();
    VsxRowmapEntry *all = vsx_rowmap_sorted(*set);
    int rc = both == NULL || all == NULL ? SQLITE_NOMEM : SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        if (vsx_rowmap_get(other, all[i].rowid) != NULL) {
            rc = put_rowid(both, all[i].rowid);
        }
    }
    sqlite3_free(all);
    if (rc != SQLITE_OK) {
        vsx_rowmap_free(both);
        return rc;
    }
    vsx_rowmap_free(*set);
    *set = both;
    return SQLITE_OK;
}

static int add_rowids(VsxFilter *f, sqlite3_value *list) {
    VsxRowmap *set = vsx_rowmap_new();
    int rc = set == NULL ? SQLITE_NOMEM : each_value(list, use_rowid, set);
    if (rc == SQLITE_OK && f->rowids != NULL) {
        rc = intersect(&set, f->rowids);
    }
    if (rc != SQLITE_OK) {
        vsx_rowmap_free(set);
        return rc;
    }
    vsx_rowmap_free(f->rowids);
    f->rowids = set;
    return SQLITE_OK;
}

int vsx_filter_add(VsxFilter *f, const char *word, size_t len, sqlite3_value *arg) {
    VsxTerm *t = &f->term[f->n_terms];
    if (f->n_terms == VSX_MAX_TERMS || len >= sizeof t->word) {
        return SQLITE_ERROR;
    }
    if (strncmp(word, "rowid-in", len) == 0) {
        return add_rowids(f, arg);
    }
    memset(t, 0, sizeof *t);
    memcpy(t->word, word, len);
    f->n_terms++;
    return len > 3 && strcmp(t->word + len - 3, "-in") == 0
               ? each_value(arg, use_term_value, t)
               : add_value(t, arg);
}

void vsx_filter_clear(VsxFilter *f) {
    for (int i = 0; i < f->n_terms; i++) {
        for (int j = 0; j < f->term[i].n_values; j++) {
            sqlite3_value_free(f->term[i].value[j]);
        }
        sqlite3_free(f->term[i].value);
    }
    vsx_rowmap_free(f->rowids);
    memset(f, 0, sizeof *f);
}

int vsx_filter_is_empty(const VsxFilter *f) {
    return f->n_terms == 0 && f->rowids == NULL;
}

int vsx_filter_has(const VsxFilter *f, sqlite3_int64 rowid) {
    return f->rowids == NULL || vsx_rowmap_get(f->rowids, rowid) != NULL;
}

/* ---- SQL
 * -------------------------------------------------------------------------------------
 */

/* A long IN is written out: SQLite has room for some 32,000 parameters only. */
enum { MOST_PARAMETERS = 1000 };

static void append_literal(sqlite3_str *sql, sqlite3_value *value) {
    const unsigned char *blob;
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        sqlite3_str_appendf(sql, "%lld", sqlite3_value_int64(value));
        break;
    case SQLITE_FLOAT:
        sqlite3_str_appendf(sql, "%!.20g", sqlite3_value_double(value));
        break;
    case SQLITE_TEXT:
        sqlite3_str_appendf(sql, "%Q", sqlite3_value_text(value));
        break;
    case SQLITE_BLOB:
        blob = sqlite3_value_blob(value);
        sqlite3_str_appendall(sql, "x'");
        for (int i = 0; i < sqlite3_value_bytes(value); i++) {
            sqlite3_str_appendf(sql, "%02x", blob[i]);
        }
        sqlite3_str_appendall(sql, "'");
        break;
    default:
        sqlite3_str_appendall(sql, "NULL");
    }
}

static void append_in(sqlite3_str *sql, const VsxTerm *t) {
    sqlite3_str_appendall(sql, " IN (");
    for (int i = 0; i < t->n_values; i++) {
        sqlite3_str_appendall(sql, i == 0 ? "" : ",");
        if (t->n_values > MOST_PARAMETERS) {
            append_literal(sql, t->value[i]);
        } else {
            sqlite3_str_appendall(sql, "?");
        }
    }
    sqlite3_str_appendall(sql, ")");
}

static const char *column_name(const VsxSchema *def, const VsxTerm *t) {
    for (int i = 0; *t->word == 'c' && i < def->n_columns; i++) {
        if (def->column[i].role != VSX_KEY &&
            def->column[i].stored == atoi(t->word + 1)) {
            return def->column[i].source;
        }
    }
    return vsx_rowid_name(def);
}

/* " AND r.c3 >= ?" for the word "c3>="; the argument is bound later, in order. */
static void append_term(sqlite3_str *sql, const VsxSchema *def, const VsxTerm *t) {
    static const struct {
        const char *word, *sql;
    } forms[] = {
        {"-isnot", " IS NOT ?"}, {"-is", " IS ?"},      {"-like", " LIKE ?"},
        {"-glob", " GLOB ?"},    {"-null", " IS NULL"}, {"-notnull", " IS NOT NULL"},
        {"<>", " <> ?"},         {"<=", " <= ?"},       {">=", " >= ?"},
        {"<", " < ?"},           {">", " > ?"},         {"=", " = ?"}};
    size_t name = strcspn(t->word, "-<>=");
    const char *op = t->word + name;
    sqlite3_str_appendf(sql, " AND r.%s", column_name(def, t));
    if (strcmp(op, "-in") == 0) {
        append_in(sql, t);
        return;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(op, forms[i].word) == 0) {
            sqlite3_str_appendall(sql, forms[i].sql);
            return;
        }
    }
}

static int takes_value(const VsxTerm *t) {
    return strstr(t->word, "-null") == NULL && strstr(t->word, "-notnull") == NULL &&
           t->n_values <= MOST_PARAMETERS;
}

/* Prepares `head` (a SELECT ... WHERE ..., taken over) with the terms added and bound. */
static int prepare_terms(const VsxFilter *f, VsxVector *v, char *head,
                         sqlite3_stmt **out) {
    int rc = SQLITE_NOMEM, at = 0;
    sqlite3_str *sql = sqlite3_str_new(v->index->global->db);
    if (head != NULL) {
        sqlite3_str_appendall(sql, head);
        sqlite3_free(head);
        for (int i = 0; i < f->n_terms; i++) {
            append_term(sql, v->index->def, &f->term[i]);
        }
    }
    *out = vsx_prepare(v->index, &rc, sqlite3_str_finish(sql));
    for (int i = 0; rc == SQLITE_OK && i < f->n_terms; i++) {
        for (int j = 0;
             rc == SQLITE_OK && takes_value(&f->term[i]) && j < f->term[i].n_values;
             j++) {
            rc = sqlite3_bind_value(*out, ++at, f->term[i].value[j]);
        }
    }
    if (rc != SQLITE_OK) {
        sqlite3_finalize(*out);
        *out = NULL;
    }
    return rc;
}

int vsx_filter_rows(const VsxFilter *f, VsxVector *v, sqlite3_stmt **out) {
    const VsxIndex *i = v->index;
    const char *column = i->def->column[i->def->vector[v->number]].source;
    return prepare_terms(
        f, v,
        sqlite3_mprintf("SELECT r.%s, r.%s FROM %s r WHERE r.%s IS NOT NULL",
                        vsx_rowid_name(i->def), column, i->rows, column),
        out);
}

/* ---- nodes ---------------------------------------------------------------------- */

static void admit_node(VsAdmit *admit, uint64_t *words, uint32_t node) {
    uint64_t bit = (uint64_t)1 << (node & 63);
    if (node < admit->n_nodes && (words[node >> 6] & bit) == 0) {
        words[node >> 6] |= bit;
        admit->count++;
    }
}

static int admit_by_rowid(const VsxFilter *f, VsxVector *v, VsAdmit *admit,
                          uint64_t *words) {
    size_t n = vsx_rowmap_count(f->rowids);
    VsxRowmapEntry *rowids = vsx_rowmap_sorted(f->rowids);
    int rc = rowids == NULL ? SQLITE_NOMEM : SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        uint32_t node = VS_NIL;
        rc = vsx_node_of(v, rowids[i].rowid, &node);
        admit_node(admit, words, node);
    }
    sqlite3_free(rowids);
    return rc;
}

static int admit_by_terms(const VsxFilter *f, VsxVector *v, VsAdmit *admit,
                          uint64_t *words) {
    sqlite3_stmt *stmt = NULL;
    const VsxIndex *i = v->index;
    const char *key = vsx_rowid_name(i->def);
    int rc =
        prepare_terms(f, v,
                      sqlite3_mprintf("SELECT r.%s, m.node FROM %s r LEFT JOIN "
                                      "\"%w\".\"%w_map%d\" m ON m.rowid = r.%s WHERE 1",
                                      key, i->rows, i->schema, i->table, v->number, key),
                      &stmt);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        sqlite3_int64 rowid = sqlite3_column_int64(stmt, 0);
        uint32_t node = VS_NIL;
        rc = vsx_filter_has(f, rowid) ? vsx_map_entry(v, rowid, stmt, 1, &node)
                                      : SQLITE_OK;
        admit_node(admit, words, node);
    }
    int final = sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? final : rc;
}

int vsx_filter_nodes(const VsxFilter *f, VsxVector *v, VsAdmit *admit) {
    uint32_t n = v->graph->state.n_nodes;
    uint64_t *words = sqlite3_malloc64(((size_t)n / 64 + 1) * sizeof *words);
    if (words == NULL) {
        return SQLITE_NOMEM;
    }
    memset(words, 0, ((size_t)n / 64 + 1) * sizeof *words);
    *admit = (VsAdmit){words, n, 0};
    int rc = f->n_terms == 0 ? admit_by_rowid(f, v, admit, words)
                             : admit_by_terms(f, v, admit, words);
    if (rc != SQLITE_OK) {
        sqlite3_free(words);
        admit->words = NULL;
    }
    return rc;
}
