/*
 * The end of a transaction.
 */
#ifndef VSX_WRITE_COMMIT_H
#define VSX_WRITE_COMMIT_H

#include "ext/table/index.h"

/* xSync: links the rows that wait and writes everything. */
int vsx_commit(VsxIndex *index);
/* xCommit and xRollback: the transaction is over. */
void vsx_ended(VsxIndex *index, int committed);

#endif
