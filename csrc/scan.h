/*
 * The exact scan: every row that may be among the k nearest, proven by bounds.
 *
 * A code with the error that its node keeps tells between what two values the distance of
 * the stored vectors lies (vs_bounds). The k-th smallest upper bound is a distance within
 * which k rows certainly are; whoever's lower bound is above it is not among the k
 * nearest, ties included. The others are candidates: their stored vectors decide.
 */
#ifndef VS_SCAN_H
#define VS_SCAN_H

#include "search.h"

typedef struct VsCandidate {
    float low;   /* no row is nearer than this */
    float order; /* full order of its code */
    uint32_t node;
    float spread; /* for who guesses, too: low + spread is the distance of the code */
} VsCandidate;

/* The candidates among the admitted live nodes, by `low`, nearest first, in a new array
 * that the caller frees. */
VsStatus vs_scan_candidates(VsGraph *g, const VsQuery *q, size_t k, const VsAdmit *admit,
                            VsCandidate **out, size_t *n);

/* The same for several threads, each with a view of the graph: room for the candidates and
 * for k upper bounds is given, nothing is allocated, and VS_RANGE says that the room is too
 * small. Before that, the owner has read through the nodes (vs_scan_ready). */
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

#endif
