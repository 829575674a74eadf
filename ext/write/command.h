/*
 * Commands: INSERT INTO t(t) VALUES (...).
 */
#ifndef VSX_WRITE_COMMAND_H
#define VSX_WRITE_COMMAND_H

#include "ext/table/index.h"

int vsx_command(VsxTable *t, sqlite3_value *command);

#endif
