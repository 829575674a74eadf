/*
 * Commands of a content table that read all its rows.
 */
#ifndef VSX_WRITE_CONTENT_COMMANDS_H
#define VSX_WRITE_CONTENT_COMMANDS_H

#include "ext/table/index.h"

/* The command `attach`: undoes `detach`, and brings the index up to date. */
int vsx_content_take_back(VsxTable *t);
/* An error that names the rows of the content table whose value is neither NULL nor a
 * vector of its column. SQLITE_OK for a table with rows of its own. */
int vsx_content_check(VsxTable *t);

#endif
