/*
 * xUpdate.
 */
#ifndef VSX_WRITE_UPDATE_H
#define VSX_WRITE_UPDATE_H

#include "ext/table/index.h"

int vsx_update(sqlite3_vtab *base, int argc, sqlite3_value **argv, sqlite3_int64 *rowid);

#endif
