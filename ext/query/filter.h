/*
 * Which rows a query admits.
 */
#ifndef VSX_QUERY_FILTER_H
#define VSX_QUERY_FILTER_H

#include "ext/base/rowmap.h"
#include "ext/table/index.h"

#define VSX_COLLATION_MAX 64

typedef struct VsxTerm {
    int stored;                        /* column of the row table, 0: the rowid */
    char op[12];                       /* of the plan word: ">=" */
    int literal;                       /* the other side has no affinity */
    char collation[VSX_COLLATION_MAX]; /* "": the column's */
    int either;                        /* that or the column's */
    sqlite3_value **value;             /* the argument, or all values of an IN */
    int n_values;
} VsxTerm;

/* The arguments of a plan, kept for as long as the cursor may search again. */
typedef struct VsxFilter {
    VsxTerm *term;
    int n_terms;
    VsxRowmap *rowids; /* of rowid-in; NULL if there is none */
} VsxFilter;

/* Registers vecsql_list, by which our statements read the values of a long IN. */
int vsx_register_list(sqlite3 *db);
/* 1 if an IN has so many values that a statement should run once, not once a row. */
int vsx_filter_is_long(const VsxFilter *f);
/* 1 if `column = value` depends on the affinity of what the value came from. */
int vsx_affinity_matters(const VsxColumn *column);
/* 1 if a comparison can be read in several ways: the filter admits what any of them does. */
int vsx_filter_is_ambiguous(const VsxFilter *f, const VsxSchema *def);
/* Adds the predicate of a plan word; SQLITE_OK also for values that admit nothing. */
int vsx_filter_add(VsxFilter *f, const char *word, size_t len, sqlite3_value *arg);
void vsx_filter_clear(VsxFilter *f);
int vsx_filter_is_empty(const VsxFilter *f);
/* The terms as SQL on the row table `r`, " AND (r.c1 = ?3) ", parameters from ?first on;
 * NULL: no memory. vsx_filter_bind binds their values. */
char *vsx_filter_terms(const VsxFilter *f, const VsxIndex *index, int first);
int vsx_filter_bind(const VsxFilter *f, sqlite3_stmt *stmt, int first);
/* A statement that gives (rowid, vector) of every admitted row with a vector. rowid-in is
 * not part of it: ask vsx_filter_has. The caller finalises it. */
int vsx_filter_rows(const VsxFilter *f, VsxVector *v, sqlite3_stmt **out);
int vsx_filter_has(const VsxFilter *f, sqlite3_int64 rowid);
/* A statement that gives the next `limit` rowids that pass from `from` on (that one
 * included), upwards or downwards. The caller finalises it. */
int vsx_filter_scan(const VsxFilter *f, VsxIndex *index, int down, sqlite3_int64 from,
                    int limit, sqlite3_stmt **out);

#endif
