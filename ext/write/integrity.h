/*
 * xIntegrity, and the check behind it.
 */
#ifndef VSX_WRITE_INTEGRITY_H
#define VSX_WRITE_INTEGRITY_H

#include "ext/table/index.h"

int vsx_integrity(sqlite3_vtab *base, const char *schema, const char *table, int flags,
                  char **err);
/* Checks and returns in *report the first thing wrong, NULL if all is well. */
int vsx_check(VsxIndex *index, int quick, char **report);

#endif
