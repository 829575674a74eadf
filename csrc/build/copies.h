/*
 * Copies: rows that stand at distance 0 from an older row.
 *
 * The heuristic (choose.h) keeps one of many equal rows in a list, and the invariant of
 * graph.h wants an older link to each. Linked like others, 1,000 copies of one row take
 * all places in the lists around it, and a walk that meets one of them meets all: its beam
 * is full of them and goes nowhere else.
 *
 * So the first of them stands in the graph, and the others stand behind it in a chain:
 * each is linked to by the one before it and by nobody else. A walk that passes by meets
 * one more copy a step, beside the other nodes that it expands, and a query that wants
 * them finds as many as it asks for. The first also links to the last, so that one more
 * is put behind it at once. A copy links back, and to a few nodes around it: that is how
 * a walk that begins at it leaves. Few, for the nodes around are the same for all copies,
 * and a node has room for 65,534 links to it.
 *
 * A search takes two nodes of one code for copies. A chain is made of rows whose vectors are
 * equal: the others of one code part when they become raw (raw.h), or the model changes.
 *
 * Rows of one batch (linker.h) do not see each other: copies of a row that is not linked yet
 * may start a chain each. Batches begin with one row, so that they are few.
 */
#ifndef VS_BUILD_COPIES_H
#define VS_BUILD_COPIES_H

#include "csrc/build/linker.h"

/* Links in layer 0 that a copy has when it comes; one leads back in its chain. */
#define VS_COPY_LINKS 4

/* Looks at the vectors of the newcomers that have a twin: where codes lose something, equal
 * codes are no equal rows. These have no twin then. */
VsStatus vs_copies_confirm(VsBatch *b);

/* Puts the live `node` behind the last copy of `twin`, which links to it then. *last is
 * that copy; VS_NIL if it can link to no more nodes, and nothing is changed. */
VsStatus vs_copies_append(VsGraph *g, uint32_t node, uint32_t twin, uint32_t *last);

#endif
