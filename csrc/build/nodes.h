/*
 * Changing the set of nodes: insertion, deletion, consolidation.
 *
 * All of them work on the running statement (vs_begin): when they fail the caller calls
 * vs_undo and the graph is what it was.
 */
#ifndef VS_BUILD_NODES_H
#define VS_BUILD_NODES_H

#include "csrc/graph/graph.h"

/* Inserts v (of the graph's element type, finite) for `rowid`; *node is its id. VS_RANGE: 2^31 nodes or
 * 2^32 insertions are used up (rebuild). The caller makes sure that the rowid is not
 * there yet. */
VsStatus vs_insert(VsGraph *g, int64_t rowid, const void *v, uint32_t *node);

/* Deletes a live node (VS_CORRUPT if it is none): it is never returned again. Its
 * neighbours that link to it get another link in its place; it stays as a tombstone until
 * nothing links to it. While many are dead it consolidates a few nodes besides. */
VsStatus vs_delete(VsGraph *g, uint32_t node);

/* Looks at the next `budget` nodes and takes links to tombstones out of their lists,
 * choosing others from the tombstones' own (FreshDiskANN, Singh et al. 2021, algorithm
 * 4). After one round over all nodes every tombstone that was there at its beginning is
 * free. */
VsStatus vs_consolidate(VsGraph *g, uint32_t budget);

#endif
