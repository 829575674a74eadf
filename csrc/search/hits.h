/*
 * Hits: nodes with their order relative to a query. The nearest come first; of equal ones the
 * newer node.
 */
#ifndef VS_SEARCH_HITS_H
#define VS_SEARCH_HITS_H

#include "csrc/graph/graph.h"

void vs_hits_sort(VsHit *hits, size_t n);

#endif
