/*
 * The exact scan: every row that may be among the k nearest, proven by bounds.
 *
 * A code with the error that its node keeps tells between what two values the distance of
 * the stored vectors lies (vs_bounds). The k-th smallest upper bound is a distance within
 * which k rows certainly are; a row whose lower bound is above it is not among the k
 * nearest, ties included. The others are candidates: their stored vectors decide.
 */
#ifndef VS_SEARCH_SCAN_H
#define VS_SEARCH_SCAN_H

#include "csrc/search/query.h"

/* Which nodes a scan looks at: bit n of words[n / 64]. `count` is the number of bits set
 * that are live nodes. */
typedef struct VsAdmit {
    const uint64_t *words;
    uint32_t n_nodes; /* bits beyond are taken as 0 */
    uint32_t count;
} VsAdmit;

/* NULL admits all. */
static inline int vs_admitted(const VsAdmit *admit, uint32_t node) {
    return admit == NULL ||
           (node < admit->n_nodes && (admit->words[node >> 6] >> (node & 63) & 1) != 0);
}

/* What a scan is for: the k nearest of the admitted live nodes (no fewer than there are:
 * all of them) that are not farther than `within`. */
typedef struct VsWanted {
    size_t k;
    float within; /* INFINITY: any distance */
    const VsAdmit *admit;
} VsWanted;

typedef struct VsCandidate {
    float low;   /* no row is nearer than this */
    float order; /* full order of its code */
    uint32_t node;
    float spread; /* of a guess: low + spread is the distance of the code; else 0 */
} VsCandidate;

typedef struct VsCandidates {
    VsCandidate *at; /* in no order; the caller frees them */
    size_t n;
    float reach; /* every wanted row that is not farther than this is among them */
} VsCandidates;

VsStatus vs_scan_candidates(VsGraph *g, const VsQuery *q, const VsWanted *wanted,
                            VsCandidates *out);

/* By `low`, nearest first; equal ones by node. */
void vs_candidates_sort(VsCandidate *at, size_t n);

/* The candidates among all live nodes, sorted, for several threads, each with a view of the
 * graph: room for them and for k upper bounds is given, nothing is allocated, and VS_RANGE
 * says that the room is too small. Before that, the owner has read through the nodes
 * (vs_scan_ready). */
typedef struct VsScanRoom {
    VsCandidate *found;
    size_t cap;
    float *high;
} VsScanRoom;

VsStatus vs_scan_ready(VsGraph *g);

/* Memory for scans of this view, 176 kB: a scan that has it allocates no more (of
 * vs_scan_candidates and long ks: for its results). */
VsStatus vs_scan_reserve(VsGraph *g);

VsStatus vs_scan_within(VsGraph *g, const VsQuery *q, size_t k, const VsScanRoom *room,
                        size_t *n);

/* The up to k nearest live nodes by their codes, as vs_search gives them, by looking at every
 * code. From VS_SCAN_SORTED on it is cheaper to sort
 * everything once than to keep the nearest sorted. */
#define VS_SCAN_SORTED 512
VsStatus vs_scan(VsGraph *g, const VsQuery *q, size_t k, VsHit *hits, size_t *n);

#endif
