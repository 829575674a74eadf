/*
 * The look for values of a content table that are no vector, before a rebuild.
 */
#ifndef VSX_WRITE_CONTENT_CHECK_H
#define VSX_WRITE_CONTENT_CHECK_H

#include "ext/table/index.h"

/* An error that names the rows of the content table whose value is neither NULL nor a
 * vector of its column. SQLITE_OK for a table with rows of its own. */
int vsx_content_check(VsxTable *t);

#endif
