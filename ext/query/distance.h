/*
 * The distances of a table, and the order of equal ones.
 */
#ifndef VSX_QUERY_DISTANCE_H
#define VSX_QUERY_DISTANCE_H

#include "ext/table/dialect.h"

/* Distance of the query from a stored vector, as the table's module gives it. */
double vsx_distance(const VsxVector *v, const void *query, const void *stored);
/* 1 and that distance if an order tells it, where the code is the stored vector. */
int vsx_order_distance(const VsxVector *v, float order, double *out);
int vsx_ties_open(VsxIndex *index, VsxTies *out);
sqlite3_uint64 vsx_tie(const VsxTies *ties, sqlite3_int64 rowid);

#endif
