/*
 * Which links a node gets: the heuristic of Malkov & Yashunin 2018, algorithm 4, without
 * filling up.
 *
 * Under dot it is applied twice. By inner product the nearest of every row are the longest
 * ones, and no row links to a short one: a graph of these links alone finds what most
 * queries ask for (ip-NSW, Morozov & Babenko 2018), but leads nowhere else. What room they
 * leave in a list goes to links that the same heuristic chooses by l2. These lead to short
 * rows, so that lists of long ones need not (graph.h: an older node links to every node).
 */
#ifndef VS_BUILD_CHOOSE_H
#define VS_BUILD_CHOOSE_H

#include "csrc/search/walk.h"

/* In a hit that goes into vs_prune: this one is kept whatever the heuristic says. */
#define VS_NEEDED 0x80000000u

/* Candidates beyond these are not looked at. */
#define VS_PRUNED 512

/* Keeps up to `cap` of the hits (sorted by the metric of `by`, nearest to `node` first),
 * in place, and returns how many in *n: one is kept if it is nearer to the node than to
 * every one kept before. So a hit equal to one kept is dropped, and duplicates do not fill
 * lists. A copy of the node (copies.h) stands where the node does: it only keeps other
 * copies out. Needed ones are always kept (there are at most `cap`).
 *
 * Each that is kept is compared at once with all that are left, in one batch: the same
 * comparisons as one by one, but a query is prepared per link and not per candidate. */
VsStatus vs_prune(VsGraph *g, const VsCodecParams *by, uint32_t node, VsHit *hits,
                  size_t *n, uint32_t cap);

/* Chooses the list of `node`: hits are sorted by the metric, needed ones marked, 2 * cap
 * at most. */
VsStatus vs_choose(VsGraph *g, uint32_t node, VsHit *hits, size_t *n, uint32_t cap);

/* Drops from hits[0..*n-1] the nodes of `others`. */
void vs_hits_without(VsHit *hits, size_t *n, const VsHit *others, size_t n_others);

/* By how far rows are apart (graph.h). *diverse: the candidate is nearer to the node (candidate->order) than alpha times to
 * each of kept[0..n-1]. Relaxed when lists are repaired, without which they grow sparse
 * under churn (FreshDiskANN, Singh et al. 2021, section 4). */
#define VS_RELAXED 1.2f
VsStatus vs_is_diverse(VsGraph *g, const VsHit *candidate, const uint32_t *kept,
                       uint32_t n, float alpha, int *diverse);

/* Orders nodes by how far they are apart from `node` (dropping the node itself, the dead and the
 * repeated): *n shrinks. */
VsStatus vs_rank(VsGraph *g, uint32_t node, const uint32_t *nodes, size_t n, VsHit *out,
                 size_t *n_out);

#endif
