/*
 * The command `attach`: an index that was detached is brought up to date.
 */
#ifndef VSX_WRITE_ATTACH_H
#define VSX_WRITE_ATTACH_H

#include "ext/table/index.h"

/* The command `attach`: undoes `detach`, and brings the index up to date. */
int vsx_content_take_back(VsxTable *t);

#endif
