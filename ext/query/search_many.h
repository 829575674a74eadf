/*
 * Many queries at once, for vecsql_search and vecsql_recall.
 */
#ifndef VSX_QUERY_SEARCH_MANY_H
#define VSX_QUERY_SEARCH_MANY_H

#include "ext/query/knn.h"

/* The k nearest rows to each of n queries (vectors of the column's type, one after the
 * other): found[i] of them at results[i * k], by distance and rowid. The column must be
 * what the database says (vsx_refresh). ef 0: that of the column. */
int vsx_search_many(VsxVector *v, const void *queries, size_t n, size_t k, size_t ef,
                    VsxResult *results, size_t *found);

#endif
