/*
 * Rows that may have been replaced: a trigger names them before they go (content.h).
 *
 * Definitions of a table that follow one another in a transaction share the list: any of them
 * may be gone before the next one comes. Rows stay in it until the transaction ends, for a
 * rollback may bring their entries back without the rows.
 */
#ifndef VSX_TABLE_DOUBTS_H
#define VSX_TABLE_DOUBTS_H

#include <stddef.h>

#include "ext/base/sqlite_api.h"

typedef struct VsxDoubts {
    int refs;
    sqlite3_int64 *row;
    size_t n, settled, cap; /* the first `settled` were looked at */
} VsxDoubts;

VsxDoubts *vsx_doubts_new(void);
void vsx_doubts_free(VsxDoubts *doubts);
/* Puts the list of a former definition in the place of *doubts; all are in doubt again. */
void vsx_doubts_take_over(VsxDoubts **doubts, VsxDoubts *former);
/* A row that the running statement may replace. */
int vsx_doubts_add(VsxDoubts *doubts, sqlite3_int64 rowid);
/* All are in doubt again / there are none: the transaction is over. */
void vsx_doubts_rolled_back(VsxDoubts *doubts);
void vsx_doubts_clear(VsxDoubts *doubts);

#endif
