/*
 * Search: the beam search of HNSW (Malkov & Yashunin 2018, algorithms 2 and 5) and the
 * exact scan.
 *
 * Differences from the paper, each because it measured better or because a table must not
 * lose rows: one sorted pool holds both candidates and results (as Glass and NSG do);
 * upper layers are walked greedily; layer 0 begins at the roots too, so that every live
 * row can be reached (graph.h); of copies (copies.h) the pool holds one, and the results
 * have the others behind it: a beam is as long as if no row had copies.
 */
#ifndef VS_SEARCH_SEARCH_H
#define VS_SEARCH_SEARCH_H

#include "csrc/search/query.h"
#include "csrc/search/scan.h"

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

#endif
