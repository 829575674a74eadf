/*
 * Memory that searches of one graph use again and again.
 */
#ifndef VS_GRAPH_SCRATCH_H
#define VS_GRAPH_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include "csrc/base/alloc.h"

typedef struct VsHit {
    float order; /* codec order, smaller is nearer */
    uint32_t node;
} VsHit;

enum { VS_QUERIES = 3 }; /* the user's, and two of nodes */

typedef struct VsScratch {
    uint64_t *visited; /* a bit per node; all zero between searches */
    size_t cap_visited;
    uint32_t *touched; /* words of `visited` that are not zero */
    size_t n_touched, cap_touched;
    VsHit *pool;
    size_t cap_pool;
    size_t n_copies; /* that the last walk met and left out of its pool */
    size_t n_met;    /* hits in `pool` after vs_search_layer, copies too */
    uint32_t *roots;
    size_t cap_roots;
    void *scan;                       /* scan.c */
    unsigned char *query[VS_QUERIES]; /* prepared, query_size bytes each */
    uint64_t evaluations;             /* distances computed since the graph was opened */
} VsScratch;

/* *out is set even on VS_NOMEM and is then to be freed. */
VsStatus vs_scratch_new(const VsAlloc *a, size_t query_size, VsScratch **out);
void vs_scratch_free(const VsAlloc *a, VsScratch *s);

#endif
