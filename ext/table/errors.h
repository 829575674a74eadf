/*
 * Codes and messages that the user reads.
 */
#ifndef VSX_TABLE_ERRORS_H
#define VSX_TABLE_ERRORS_H

#include "ext/table/index.h"

/* SQLite's code for a status of the core. VS_RANGE: no node number or age is left. SQLite
 * says SQLITE_TOOBIG where a limit of the connection stops a statement. */
#define VSX_USED_UP (SQLITE_TOOBIG | 1 << 8)
int vsx_code(const VsxIndex *index, VsStatus st);
/* Sets the message of the virtual table and returns rc. */
int vsx_fail(VsxTable *t, int rc, const char *format, ...);
/* What a code means to the user, to be freed; NULL: the code says it all. */
char *vsx_reason(VsxIndex *index, int rc);
/* Adds a message to a code that has none yet (SQLITE_CORRUPT_VTAB and the like). */
int vsx_explain(VsxTable *t, int rc);

#endif
