/*
 * Linking rows that wait.
 */
#ifndef VSX_TXN_LINKING_H
#define VSX_TXN_LINKING_H

#include "ext/table/index.h"

/* Links the pending rows, all of them / if so many wait that it is due. The graph must be
 * what the database says (vsx_refresh); they mark it (vsx_mark). */
int vsx_link(VsxVector *v);
int vsx_link_due(VsxVector *v);
/* Those of all columns, before a commit. Rows can wait though nothing is unflushed: a
 * savepoint flushed them, and a rollback to it may have taken others back. So the state
 * row is asked first. Where it cannot be read and nothing is unflushed, they go on
 * waiting: what others have written in the transaction commits. */
int vsx_link_all(VsxIndex *index);
/* Commands: threads=n, progress=function (empty: none), warm. */
int vsx_set_threads(VsxTable *t, const char *text);
int vsx_set_progress(VsxTable *t, const char *name);
int vsx_warm(VsxTable *t);

#endif
