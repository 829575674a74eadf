/*
 * The hooks of a graph: pages, models and vectors come from the shadow tables and the rows.
 */
#ifndef VSX_TABLE_LOADER_H
#define VSX_TABLE_LOADER_H

#include "ext/table/index.h"

VsHooks vsx_hooks(VsxVector *v);
/* Hook of the graph: 1 if the running work is to end. */
int vsx_poll(void *vector);
/* A stored value as the vector of a column, to be freed. SQLITE_CORRUPT_VTAB if it is none;
 * *bad, if not NULL, then says what is wrong with it. */
int vsx_stored_vector(const VsxVector *v, sqlite3_value *value, VsxVec *out, char **bad);
/* The vector that a row holds now; n = 0: there is no such row, or its vector is NULL. */
int vsx_row_vector(VsxVector *v, sqlite3_int64 rowid, VsxVec *out, char **bad);

#endif
