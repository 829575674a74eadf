/*
 * The scalar SQL functions on vectors.
 */
#ifndef VSX_FUNCTIONS_H
#define VSX_FUNCTIONS_H

#include "sqlite_api.h"

/* Registers them on a connection. SQLITE_OK, or the code of the first that SQLite
 * refused. */
int vsx_register_functions(sqlite3 *db);

#endif
