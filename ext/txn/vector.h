/*
 * One vector of one column.
 */
#ifndef VSX_TXN_VECTOR_H
#define VSX_TXN_VECTOR_H

#include "ext/table/index.h"

/* Makes the index hold `vector` (n = 0: nothing) for a rowid, in memory. `old` is the
 * node that it has for it now; vsx_set_vector looks that up. */
int vsx_put_vector(VsxVector *v, sqlite3_int64 rowid, uint32_t old, const VsxVec *vector);
int vsx_set_vector(VsxVector *v, sqlite3_int64 rowid, const VsxVec *vector);

#endif
