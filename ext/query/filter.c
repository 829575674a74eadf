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

#include "ext/table/index.h"
#include "ext/base/rowmap.h"
#include "ext/table/shadow.h"
#include "ext/query/filter.h"

static int add_value(VsxTerm *t, sqlite3_value *value) {
    if ((t->n_values & (t->n_values - 1)) == 0) { /* a power of two: full */
        sqlite3_uint64 cap = t->n_values == 0 ? 1 : 2 * (sqlite3_uint64)t->n_values;
        sqlite3_value **grown = sqlite3_realloc64(t->value, cap * sizeof *grown);
        if (grown == NULL) {
            return SQLITE_NOMEM;
        }
        t->value = grown;
    }
    sqlite3_value *copy = sqlite3_value_dup(value);
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
    size_t op = strcspn(word, "!@| ");
    if (op == 0 || op >= sizeof t->op || word + op > end) {
        return SQLITE_ERROR;
    }
    memcpy(t->op, word, op);
    word += op;
    t->literal = word < end && *word == '!';
    word += t->literal;
    if (word < end && (*word == '@' || *word == '|')) {
        t->either = *word == '|';
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

/* A long IN has one parameter, a pointer to its term, whose values vecsql_list gives: SQLite
 * has room for some 32,000 parameters, and a statement for so many is long to parse. */
enum { MOST_PARAMETERS = 100 };

#define LIST "vecsql-list"

static int is_long(const VsxTerm *t) {
    return t->n_values > MOST_PARAMETERS;
}

int vsx_filter_is_long(const VsxFilter *f) {
    int n = 0;
    for (int i = 0; i < f->n_terms; i++) {
        n |= is_long(&f->term[i]);
    }
    return n;
}

/* vecsql_list(list): how many values; vecsql_list(list, i): one of them. NULL for what is no
 * list, as everything is that a program can give. */
static void list_value(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const VsxTerm *t = sqlite3_value_pointer(argv[0], LIST);
    sqlite3_int64 i = argc > 1 ? sqlite3_value_int64(argv[1]) : 0;
    if (t != NULL && argc == 1) {
        sqlite3_result_int(ctx, t->n_values);
    } else if (t != NULL && i >= 0 && i < t->n_values) {
        sqlite3_result_value(ctx, t->value[i]);
    }
}

int vsx_register_list(sqlite3 *db) {
    int rc = SQLITE_OK;
    for (int n = 1; rc == SQLITE_OK && n <= 2; n++) {
        rc = sqlite3_create_function_v2(db, "vecsql_list", n,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, list_value,
                                        NULL, NULL, NULL);
    }
    return rc;
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

int vsx_filter_is_ambiguous(const VsxFilter *f, const VsxSchema *def) {
    int ambiguous = 0;
    for (int i = 0; i < f->n_terms; i++) {
        const VsxTerm *t = &f->term[i];
        for (int j = 0; j < t->n_values; j++) {
            ambiguous |= is_ambiguous(term_column(def, t), t, t->value[j]);
        }
    }
    return ambiguous;
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
    if (s->term->either) { /* of `x = a OR x = b` SQLite makes an IN of one collation */
        sqlite3_str_appendf(s->sql, " OR r.%s BETWEEN ?%d AND ?%d", s->name, s->bound,
                            s->bound);
    }
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

/* The values of an IN, as a list, or as rows of numbers, which is how a column of a numeric
 * type would compare. */
static void append_values(const TermSql *s, int first, int numbers) {
    const VsxTerm *t = s->term;
    const char *before = numbers ? "VALUES " : "";
    for (int i = 0; i < t->n_values; i++) {
        if (!numbers || is_ambiguous(s->column, t, t->value[i])) {
            sqlite3_str_appendf(s->sql, numbers ? "%s(CAST(?%d AS NUMERIC))" : "%s?%d",
                                before, first + i);
            before = ",";
        }
    }
}

/* The same of a long one. */
static void append_list(const TermSql *s, int list, int numbers) {
    sqlite3_str_appendf(
        s->sql,
        "WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n "
        "WHERE i + 1 < vecsql_list(?%d)) SELECT ",
        list);
    sqlite3_str_appendf(s->sql,
                        numbers ? "CAST(vecsql_list(?%d, i) AS NUMERIC) FROM n WHERE "
                                  "typeof(vecsql_list(?%d, i)) IN ('integer', 'real')"
                                : "vecsql_list(?%d, i) FROM n",
                        list, list);
}

/* "r.c1 IN (?3, ?4)", and what other readings admit. */
static void append_in(TermSql *s) {
    const VsxTerm *t = s->term;
    int first = s->bound + 1, ambiguous = 0;
    for (int i = 0; i < t->n_values; i++) {
        ambiguous |= is_ambiguous(s->column, t, t->value[i]);
    }
    sqlite3_str_appendall(s->sql, "(");
    for (int numbers = 0; numbers <= ambiguous; numbers++) {
        sqlite3_str_appendall(s->sql, numbers ? " OR " : "");
        append_column(s);
        sqlite3_str_appendall(s->sql, " IN (");
        (is_long(t) ? append_list : append_values)(s, first, numbers);
        sqlite3_str_appendall(s->sql, ")");
    }
    sqlite3_str_appendall(s->sql, ")");
    s->bound += is_long(t) ? 1 : t->n_values;
}

static int takes_value(const VsxTerm *t) {
    return strcmp(t->op, "-null") != 0 && strcmp(t->op, "-notnull") != 0;
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
        if (rc == SQLITE_OK && is_long(t)) {
            rc = sqlite3_bind_pointer(stmt, first++, &f->term[i], LIST, NULL);
            continue;
        }
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
