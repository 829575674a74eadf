/*
 * Predicates that a plan pushed down: kept as values, run by SQLite on the row table.
 *
 * The words are those of plan.c. A predicate on column I becomes the same predicate on
 * that column of the row table, where SQLite's own b-trees, affinities and operators
 * decide. What a query makes of that is in admit.c.
 *
 * `column = value` depends on the affinity of the expression that the value came from: in
 * a plain table '05' = 5 is false if the 5 is a literal (it becomes '5') and true if it
 * is an INTEGER column of another table ('05' becomes 5). A virtual table sees the 5 only.
 * Where that matters the SQL here admits what either reading admits.
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

/* "c3>=!@NOCASE" or "rowid>=": see plan.c. */
static int parse_term(const char *word, size_t len, VsxTerm *t) {
    const char *end = word + len;
    memset(t, 0, sizeof *t);
    if (*word == 'c') {
        char *after = NULL;
        t->stored = (int)strtol(word + 1, &after, 10);
        word = after;
    } else {
        word += strlen("rowid");
    }
    size_t op = strcspn(word, "!@ ");
    if (op == 0 || op >= sizeof t->op || word + op > end) {
        return SQLITE_ERROR;
    }
    memcpy(t->op, word, op);
    word += op;
    t->literal = word < end && *word == '!';
    word += t->literal;
    if (word < end && *word == '@') {
        size_t name = (size_t)(end - ++word);
        if (name >= sizeof t->collation) {
            return SQLITE_ERROR;
        }
        memcpy(t->collation, word, name);
    }
    return SQLITE_OK;
}

int vsx_filter_add(VsxFilter *f, const char *word, size_t len, sqlite3_value *arg) {
    if (len == 8 && strncmp(word, "rowid-in", len) == 0) {
        return add_rowids(f, arg);
    }
    VsxTerm *grown =
        sqlite3_realloc64(f->term, ((sqlite3_uint64)f->n_terms + 1) * sizeof *grown);
    if (grown == NULL) {
        return SQLITE_NOMEM;
    }
    f->term = grown;
    VsxTerm *t = &f->term[f->n_terms];
    int rc = parse_term(word, len, t);
    if (rc != SQLITE_OK) {
        return rc;
    }
    f->n_terms++;
    return strcmp(t->op, "-in") == 0 ? each_value(arg, use_term_value, t)
                                     : add_value(t, arg);
}

void vsx_filter_clear(VsxFilter *f) {
    for (int i = 0; i < f->n_terms; i++) {
        for (int j = 0; j < f->term[i].n_values; j++) {
            sqlite3_value_free(f->term[i].value[j]);
        }
        sqlite3_free(f->term[i].value);
    }
    sqlite3_free(f->term);
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
        /* none for want of memory: then the statement fails anyway */
        for (int i = 0; blob != NULL && i < sqlite3_value_bytes(value); i++) {
            sqlite3_str_appendf(sql, "%02x", blob[i]);
        }
        sqlite3_str_appendall(sql, "'");
        break;
    default:
        sqlite3_str_appendall(sql, "NULL");
    }
}

static const VsxColumn *term_column(const VsxSchema *def, const VsxTerm *t) {
    for (int i = 0; t->stored > 0 && i < def->n_columns; i++) {
        if (def->column[i].role != VSX_KEY && def->column[i].stored == t->stored) {
            return &def->column[i];
        }
    }
    return NULL;
}

/* How SQLite derives the affinity of a column from its declared type (datatype3.html 3.1):
 * is it TEXT, BLOB (none), or one of the numeric ones? */
typedef enum Affinity { AFFINITY_BLOB, AFFINITY_TEXT, AFFINITY_NUMERIC } Affinity;

static int type_has(const char *type, const char *part) {
    size_t n = strlen(part);
    for (; *type != '\0'; type++) {
        if (sqlite3_strnicmp(type, part, (int)n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* NULL: the rowid. */
static Affinity affinity_of(const VsxColumn *column) {
    const char *type = column == NULL ? "INTEGER" : column->type;
    if (type_has(type, "INT")) {
        return AFFINITY_NUMERIC;
    }
    if (type_has(type, "CHAR") || type_has(type, "CLOB") || type_has(type, "TEXT")) {
        return AFFINITY_TEXT;
    }
    return *type == '\0' || type_has(type, "BLOB") ? AFFINITY_BLOB : AFFINITY_NUMERIC;
}

int vsx_affinity_matters(const VsxColumn *column) {
    return affinity_of(column) != AFFINITY_NUMERIC;
}

static int tests_equality(const VsxTerm *t) {
    return strcmp(t->op, "=") == 0 || strcmp(t->op, "-in") == 0 ||
           strcmp(t->op, "-is") == 0;
}

/* Can the comparison with a value be read in several ways? (sqlite3CompareAffinity: a
 * number from a numeric column makes numbers of our texts; one from a column without type
 * is compared as it is; one without affinity becomes a text beside a TEXT column.) */
static int is_ambiguous(const VsxColumn *column, const VsxTerm *t, sqlite3_value *value) {
    int type = sqlite3_value_type(value);
    return !t->literal && affinity_of(column) != AFFINITY_NUMERIC &&
           (type == SQLITE_INTEGER || type == SQLITE_FLOAT);
}

typedef struct TermSql {
    sqlite3_str *sql;
    const VsxTerm *term;
    const char *name;        /* of the column, quoted */
    const VsxColumn *column; /* NULL: the rowid */
    int bound;               /* parameters so far */
} TermSql;

static void append_column(const TermSql *s) {
    sqlite3_str_appendf(s->sql, "r.%s", s->name);
    if (*s->term->collation != '\0') {
        sqlite3_str_appendf(s->sql, " COLLATE \"%w\"", s->term->collation);
    }
}

/* "r.c1 >= ?3", and what other readings admit. */
static void append_comparison(TermSql *s, const char *op) {
    s->bound++;
    sqlite3_str_appendall(s->sql, "(");
    append_column(s);
    sqlite3_str_appendf(s->sql, " %s ?%d", op, s->bound);
    if (is_ambiguous(s->column, s->term, s->term->value[0])) {
        sqlite3_str_appendall(s->sql, " OR ");
        append_column(s);
        sqlite3_str_appendf(s->sql, " %s CAST(?%d AS NUMERIC)", op, s->bound);
        if (!tests_equality(s->term)) { /* a text never equals a number as it is */
            sqlite3_str_appendall(s->sql, " OR +");
            append_column(s);
            sqlite3_str_appendf(s->sql, " %s ?%d", op, s->bound);
        }
    }
    sqlite3_str_appendall(s->sql, ")");
}

static int is_written_out(const VsxTerm *t) {
    return t->n_values > MOST_PARAMETERS;
}

static void append_in_value(TermSql *s, int i, int number) {
    if (is_written_out(s->term)) {
        append_literal(s->sql, s->term->value[i]);
    } else {
        sqlite3_str_appendf(s->sql, "?%d", number);
    }
}

/* "r.c1 IN (?3, ?4)", and what other readings admit. */
static void append_in(TermSql *s) {
    const VsxTerm *t = s->term;
    int first = s->bound + 1;
    sqlite3_str_appendall(s->sql, "(");
    append_column(s);
    sqlite3_str_appendall(s->sql, " IN (");
    for (int i = 0; i < t->n_values; i++) {
        sqlite3_str_appendall(s->sql, i == 0 ? "" : ",");
        append_in_value(s, i, first + i);
    }
    sqlite3_str_appendall(s->sql, ")");
    for (int i = 0; i < t->n_values; i++) {
        if (is_ambiguous(s->column, t, t->value[i])) {
            sqlite3_str_appendall(s->sql, " OR ");
            append_column(s);
            sqlite3_str_appendall(s->sql, " = CAST(");
            append_in_value(s, i, first + i);
            sqlite3_str_appendall(s->sql, " AS NUMERIC)");
        }
    }
    sqlite3_str_appendall(s->sql, ")");
    s->bound += is_written_out(t) ? 0 : t->n_values;
}

static int takes_value(const VsxTerm *t) {
    return strcmp(t->op, "-null") != 0 && strcmp(t->op, "-notnull") != 0 &&
           !is_written_out(t);
}

static void append_term(TermSql *s) {
    static const struct {
        const char *word, *sql;
    } forms[] = {
        {"-isnot", "IS NOT"}, {"-is", "IS"}, {"-like", "LIKE"}, {"-glob", "GLOB"}};
    const char *op = s->term->op;
    if (strcmp(op, "-in") == 0) {
        append_in(s);
    } else if (!takes_value(s->term)) {
        sqlite3_str_appendf(s->sql, "r.%s %s", s->name,
                            strcmp(op, "-null") == 0 ? "IS NULL" : "IS NOT NULL");
    } else {
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
            op = strcmp(op, forms[i].word) == 0 ? forms[i].sql : op;
        }
        append_comparison(s, op);
    }
}

char *vsx_filter_terms(const VsxFilter *f, const VsxIndex *index, int first) {
    TermSql s = {.sql = sqlite3_str_new(index->global->db), .bound = first - 1};
    sqlite3_str_appendall(s.sql, " ");
    for (int i = 0; i < f->n_terms; i++) {
        s.term = &f->term[i];
        s.column = term_column(index->def, s.term);
        s.name = s.column == NULL ? vsx_rowid_name(index->def) : s.column->source;
        sqlite3_str_appendall(s.sql, "AND ");
        append_term(&s);
        sqlite3_str_appendall(s.sql, " ");
    }
    return sqlite3_str_finish(s.sql);
}

int vsx_filter_bind(const VsxFilter *f, sqlite3_stmt *stmt, int first) {
    int rc = SQLITE_OK;
    for (int i = 0; i < f->n_terms; i++) {
        const VsxTerm *t = &f->term[i];
        for (int j = 0; rc == SQLITE_OK && takes_value(t) && j < t->n_values; j++) {
            rc = sqlite3_bind_value(stmt, first++, t->value[j]);
        }
    }
    return rc;
}

/* Prepares `head` (a SELECT ... WHERE ..., taken over) with the terms added and bound,
 * and `tail` after them. */
static int prepare_terms(const VsxFilter *f, VsxIndex *index, char *head,
                         const char *tail, sqlite3_stmt **out) {
    int rc = SQLITE_NOMEM;
    char *terms = vsx_filter_terms(f, index, 1);
    *out = NULL;
    if (head != NULL && terms != NULL) {
        *out = vsx_prepare(index, &rc, sqlite3_mprintf("%s%s%s", head, terms, tail));
    }
    sqlite3_free(head);
    sqlite3_free(terms);
    rc = rc == SQLITE_OK ? vsx_filter_bind(f, *out, 1) : rc;
    if (rc != SQLITE_OK) {
        sqlite3_finalize(*out);
        *out = NULL;
    }
    return rc;
}

int vsx_filter_scan(const VsxFilter *f, VsxIndex *index, int down, sqlite3_int64 from,
                    int limit, sqlite3_stmt **out) {
    const char *key = vsx_rowid_name(index->def);
    char tail[64];
    sqlite3_snprintf(sizeof tail, tail, " ORDER BY 1%s LIMIT %d", down ? " DESC" : "",
                     limit);
    return prepare_terms(f, index,
                         sqlite3_mprintf("SELECT r.%s FROM %s r WHERE r.%s %s %lld", key,
                                         index->rows, key, down ? "<=" : ">=", from),
                         tail, out);
}

int vsx_filter_rows(const VsxFilter *f, VsxVector *v, sqlite3_stmt **out) {
    const VsxIndex *i = v->index;
    const char *column = i->def->column[i->def->vector[v->number]].source;
    return prepare_terms(
        f, v->index,
        sqlite3_mprintf("SELECT r.%s, r.%s FROM %s r WHERE r.%s IS NOT NULL",
                        vsx_rowid_name(i->def), column, i->rows, column),
        "", out);
}
