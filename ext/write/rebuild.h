/*
 * Building an index anew.
 */
#ifndef VSX_WRITE_REBUILD_H
#define VSX_WRITE_REBUILD_H

#include "ext/table/index.h"

/* Builds the index of every vector column anew from the row table. */
int vsx_rebuild(VsxTable *t);
/* The same of one vector column; the caller flushes. */
int vsx_rebuild_vector(VsxVector *v);

#endif
