/*
 * The hooks of a graph: pages, models and vectors come from the shadow tables and the rows.
 */
#ifndef VSX_TABLE_LOADER_H
#define VSX_TABLE_LOADER_H

#include "ext/table/index.h"

VsHooks vsx_hooks(VsxVector *v);
/* Hook of the graph: 1 if the running work is to end. */
int vsx_poll(void *vector);
/* A stored value as the vector of a column. SQLITE_CORRUPT_VTAB if it is none. */
int vsx_stored_vector(const VsxVector *v, sqlite3_value *value, VsxVec *out);

#endif
