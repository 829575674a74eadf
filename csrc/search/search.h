/*
 * Search: the beam search of HNSW (Malkov & Yashunin 2018, algorithms 2 and 5) and the
 * exact scan.
 *
 * Differences from the paper, each because it measured better or because a table must not
 * lose rows: one sorted pool holds both candidates and results (as Glass and NSG do);
 * upper layers are walked greedily; layer 0 begins at the seeds too, so that every live
 * row can be reached (graph.h); of copies (copies.h) the pool holds one, and the results
 * have the others behind it: a beam is as long as if no row had copies.
 */
#ifndef VS_SEARCH_SEARCH_H
#define VS_SEARCH_SEARCH_H

#include "csrc/graph/graph.h"

/* Sorts hits nearest first, equal ones newer node first. */
void vs_hits_sort(VsHit *hits, size_t n);

/* Prepares v (of the element type) as the query of the next searches. */
VsStatus vs_query_set(VsGraph *g, const void *v, VsQuery *out);
/* The same from a node's code: for building. `by` is &g->params.code or &g->apart.
 * `which` 0 or 1: two queries can be held at once. */
VsStatus vs_query_of_node(VsGraph *g, const VsCodecParams *by, uint32_t node, int which,
                          VsQuery *out);

/* Order of a node relative to a query. */
VsStatus vs_order(VsGraph *g, const VsQuery *q, uint32_t node, float *out);

/* The up to k nearest live nodes by their codes, nearest first (equal: newer node first),
 * at hits[0..]. Walks the graph with a beam of max(ef, k); returns min(k, live) rows
 * always: what the walk does not find, or would find at more cost than a scan, comes from
 * the scan. */
VsStatus vs_search(VsGraph *g, const VsQuery *q, size_t k, size_t ef, VsHit *hits,
                   size_t *n);

/* Room in the pool (vs_walk_reserve) of such a search: with it, and k up to
 * VS_SCAN_SORTED, a search allocates nothing. */
size_t vs_search_room(const VsGraph *g, size_t k, size_t ef);

/* 1 if scanning `codes` codes costs no more than a walk: the table is flat, or the beam
 * would hold a good part of as many. A walk computes some 14 distances for each place of
 * its beam, at random; in a scan, where codes come one after another, one costs a third.
 * An exact answer (scan.h) costs little more. */
#define VS_SCAN_FACTOR 32
int vs_search_scans(const VsGraph *g, size_t k, size_t ef, size_t codes);

/* The same by looking at every code. From VS_SCAN_SORTED on it is cheaper to sort
 * everything once than to keep the nearest sorted. */
#define VS_SCAN_SORTED 512
VsStatus vs_scan(VsGraph *g, const VsQuery *q, size_t k, VsHit *hits, size_t *n);

/* Candidates for the links of a new node: from `entry` down to `layer`. hits must hold
 * ef. The pool is left in hits, DEAD nodes included. With the copies that it
 * met it is in scratch->pool. */
VsStatus vs_search_layer(VsGraph *g, const VsQuery *q, uint32_t layer,
                         const uint32_t *entries, size_t n_entries, size_t ef,
                         VsHit *hits, size_t *n);
/* Greedy walk from the entry point down to just above `layer`. */
VsStatus vs_descend(VsGraph *g, const VsQuery *q, uint32_t layer, uint32_t *entry);

/* The seeds, in scratch memory that lasts until the next call. */
VsStatus vs_seeds(VsGraph *g, const uint32_t **out, size_t *n);

/* Distance evaluations since the graph was opened: the hardware-free cost of a search. */
uint64_t vs_evaluations(const VsGraph *g);

#endif
