/*
 * Many queries at once, for vecsql_search and vecsql_recall.
 */
#ifndef VSX_QUERY_SEARCH_MANY_H
#define VSX_QUERY_SEARCH_MANY_H

#include "ext/query/knn.h"

/* A table that a function reads. The statement that called the function holds no read
 * transaction on it, so a visit does: everything until its end sees one snapshot, and no
 * read takes locks of its own. */
typedef struct VsxVisit {
    VsxIndex *index;
    sqlite3_stmt *snapshot;
} VsxVisit;

/* Visits a table by the name that a user gives: of main or temp, or schema.table. It is
 * connected if it was not. SQLITE_ERROR and a message (sqlite3_mprintf) if there is none.
 * *out is to be closed in any case. */
int vsx_visit(VsxGlobal *global, const char *name, VsxVisit *out, char **err);
int vsx_visit_index(VsxIndex *index, VsxVisit *out);
void vsx_visit_end(VsxVisit *visit);

/* Its vector column by name; NULL: the only one. SQLITE_ERROR and a message likewise. */
int vsx_find_vector(VsxIndex *index, const char *name, VsxVector **out, char **err);

/* The k nearest rows to each of n queries (vectors of the column's type, one after the
 * other): found[i] of them at results[i * k], by distance and rowid. The column must be
 * what the database says (vsx_refresh). ef 0: that of the column. */
int vsx_search_many(VsxVector *v, const void *queries, size_t n, size_t k, size_t ef,
                    VsxResult *results, size_t *found);

/* search_sql.c: registers vecsql_search. recall.c: vecsql_recall. */
int vsx_register_search(VsxGlobal *global);
int vsx_register_recall(VsxGlobal *global);

/* recall.c: recall@10 of 20 rows at the ef_search of a query that names none, by one pass
 * over all rows; -1 if there are none. */
int vsx_recall_estimate(VsxVector *v, double *out);

#endif
