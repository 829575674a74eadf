/*
 * Pending rows, and linking many of them at once.
 *
 * A pending row has its place in the graph, its code and empty lists. It is live, and it
 * is a root (graph.h): so every invariant holds as it stands, every search looks at it
 * exactly, it can be deleted, undone and flushed like any other. Nobody links to it.
 *
 * Linking many rows at once is what threads can share, and it gives the same graph
 * whatever came between the insertions: the owner links when vs_pending_due says so, which
 * counts rows, and before it commits. Never because of a read or a savepoint.
 *
 * They are linked in an order that a hash of their rowids gives, so that rows which arrive
 * sorted do not meet only their like. Batches begin with one row and double until they
 * have a fiftieth of what is linked: the rows of a batch do not see each other.
 */
#ifndef VS_BUILD_PENDING_H
#define VS_BUILD_PENDING_H

#include "csrc/graph/graph.h"

typedef struct VsBuild {
    unsigned threads; /* changes nothing but time */
    /* Told after each batch, on the caller's thread; may be NULL. Not 0: VS_INTERRUPT. */
    int (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
} VsBuild;

/* Inserts like vs_insert (nodes.h), but leaves the row pending. The first row of an empty
 * graph has nothing to be linked to and is not; nor is a row of a flat index. */
VsStatus vs_insert_pending(VsGraph *g, int64_t rowid, const void *v, uint32_t *node);

/* Whether rows wait. */
VsStatus vs_any_pending(VsGraph *g, int *out);

/* 1 when so many rows wait that they should be linked now. */
int vs_pending_due(const VsGraph *g);

/* Links all pending rows. A statement of its own (vs_begin .. vs_done for each batch): call
 * it between statements. When it fails the batches before stay linked, the rest pending. */
VsStatus vs_link_pending(VsGraph *g, const VsBuild *build);

/* Links the row that vs_insert_pending has just inserted, within the running statement. */
VsStatus vs_link_newest(VsGraph *g);

#endif
