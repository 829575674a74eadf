/*
 * Pages that the connections of this process share.
 */
#ifndef VSX_TABLE_SHELVES_H
#define VSX_TABLE_SHELVES_H

#include "ext/table/index.h"

/* Where they lie: any thread may give back. Tests put faults into it. */
extern VsAlloc vsx_page_cache_alloc;
/* The page cache of the file of `schema` for pages like those of the graph: from now on the
 * graph's. None, if that is no file of a name or there is no memory: all works without. */
void vsx_page_cache_join(const VsxIndex *index, VsGraph *graph);
/* Closes the graph and leaves its page cache. */
void vsx_page_cache_close(VsGraph *graph);

#endif
