/*
 * Queries for a graph: a vector, or the row of a node, made ready to be compared with codes.
 */
#ifndef VS_SEARCH_QUERY_H
#define VS_SEARCH_QUERY_H

#include "csrc/graph/graph.h"

/* Prepares v (of the element type) as the query of the next searches. */
VsStatus vs_query_set(VsGraph *g, const void *v, VsQuery *out);
/* The same from a node's code: for building. `by` is &g->params.code or &g->apart.
 * `which` 0 or 1: two queries can be held at once. */
VsStatus vs_query_of_node(VsGraph *g, const VsCodecParams *by, uint32_t node, int which,
                          VsQuery *out);

/* Order of a node relative to a query. */
VsStatus vs_order(VsGraph *g, const VsQuery *q, uint32_t node, float *out);

/* Distance evaluations since the graph was opened: the hardware-free cost of a search. */
uint64_t vs_evaluations(const VsGraph *g);

#endif
