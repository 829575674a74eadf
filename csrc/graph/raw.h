/*
 * Raw rows: nodes whose vector the index keeps beside its code.
 *
 * A code has one step for all dimensions. Where rows lie nearer to each other than a step
 * tells, or outside the range, their codes order at random. Such a row is raw: walks compare its
 * vector. The row keeps its code and its bound too, so a scan by proven bounds need not
 * know.
 *
 *     RAW     slot: owner u32, then dims float32: the vector that the code stands for
 *             (cosine: normalised). A free slot has the top bit of `owner` set, and the next
 *             free slot below it.
 *     RAW_AT  slot of a node: 1 + its RAW slot u32
 *
 * RAW_AT is a hint: a node is raw if that slot names the node as its owner. So a slot of
 * RAW_AT may hold anything, its pages exist only around raw rows, and nothing is cleared
 * when a row goes. A table without raw rows has no page of either kind.
 *
 * A graph with raw rows compares eight bits and floats, in the unit of the codes
 * (VsQuery.scale). A centroid of pq is the middle of many vectors, so squared distances of its codes
 * are too small by the square of what they lose. That is added, or rows that are not raw would come
 * first.
 */
#ifndef VS_GRAPH_RAW_H
#define VS_GRAPH_RAW_H

#include "csrc/graph/graph.h"

/* The vector of a raw node, NULL of any other. */
VsStatus vs_raw(VsGraph *g, uint32_t node, const float **out);

/* 1 if it matters whether codes tell neighbours apart: flat tables and small ones are
 * scanned. */
static inline int vs_raw_judges(const VsGraph *g) {
    enum { LEAST = 256 };
    return g->params.kind == VS_HNSW && g->codec->fit != NULL && g->state.n_live >= LEAST;
}

/* 1 if rows become raw: some per cent of those that were linked of late are blurred. A table
 * where hardly any is keeps the speed of codes. */
static inline int vs_raw_helps(const VsGraph *g) {
    enum { SHARE = 64, FEW = 4 };
    return vs_raw_judges(g) && g->state.blurred > g->state.judged / SHARE + FEW;
}

/* Counts nodes that were linked. */
void vs_raw_count(VsGraph *g, uint32_t judged, uint32_t blurred);

/* Makes a node raw: v has the form of a code's vector (vs_codec_floats). */
VsStatus vs_raw_add(VsGraph *g, uint32_t node, const float *v);
/* Makes a node an ordinary one, if it is raw. */
VsStatus vs_raw_drop(VsGraph *g, uint32_t node);

/* Orders of nodes with their codes in a graph with raw rows: those of the others by `score`,
 * which is q->score or q->full. */
VsStatus vs_raw_score(VsGraph *g, const VsQuery *q, VsScore score, const uint32_t *node,
                      const unsigned char *const *code, uint32_t n, float *order);

/* Makes the query one that compares its floats with what codes stand for. For queries that leave
 * the range, and those of raw nodes: nothing of them is clipped. */
void vs_query_as_floats(VsQuery *q);

/* Orders by all that codes and raw vectors tell, given nodes and codes. */
static inline VsStatus vs_full_orders(VsGraph *g, const VsQuery *q, const uint32_t *node,
                                      const unsigned char *const *code, uint32_t n,
                                      float *order) {
    if (q->meets_raw) {
        return vs_raw_score(g, q, q->full, node, code, n, order);
    }
    q->full(q, code, n, order);
    return VS_OK;
}

/* What share of its bound (vs_bounds) the order of a node that a walk computed can be wrong
 * by, if it is `share` for codes: nothing for a raw row. */
VsStatus vs_share_of(VsGraph *g, uint32_t node, float share, float *out);

#endif
