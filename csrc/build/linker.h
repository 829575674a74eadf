/*
 * A batch of new nodes on the way into the graph, as ParlayANN does it (Manohar et al.
 * 2024, section 3; Dhulipala et al. for the prefix doubling):
 *
 *   plan    (plan.c)   each new node searches the graph as it is and chooses its links;
 *   sharpen (sharpen.c) where codes do not tell neighbours apart, rows become raw, and the new
 *                      nodes among them are planned anew;
 *   write   (pending.c) the new nodes get them;
 *   merge   (merge.c)  the links back are grouped by target; a target whose list would
 *                      overflow chooses anew among its links and the new nodes;
 *   write   (pending.c) the lists of the targets.
 *
 * Planning and merging only read and go item by item, so threads share them; all writing
 * is done by the calling thread in a fixed order. So the bytes of the graph do not depend
 * on the number of threads. A batch of one is the insertion of Malkov & Yashunin 2018,
 * algorithm 1.
 */
#ifndef VS_BUILD_LINKER_H
#define VS_BUILD_LINKER_H

#include "csrc/graph/graph.h"
#include "csrc/build/links.h"
#include "csrc/base/sort.h"
#include "csrc/search/readers.h"

/* Nearest candidates kept for a node that no target takes in. */
#define VS_NEAR 32

typedef struct VsNewcomer {
    uint32_t node, level;
    uint32_t first; /* number of its list of layer 0; those of the others follow */
    uint32_t twin;  /* a node at distance 0 (copies.h), VS_NIL: none */
    uint32_t n_near;
    int blurred; /* its code does not tell its neighbours apart: */
    uint32_t n_coded;
    uint32_t coded[VS_NEAR]; /* the nearest of them that are not raw */
    VsHit near[VS_NEAR];
} VsNewcomer;

/* A link back: `target` is offered hit.node on `layer`. */
typedef struct VsReverse {
    uint32_t target, layer;
    VsHit hit;
} VsReverse;

/* Links back to one target on one layer: back[first .. first + n - 1]. */
typedef struct VsGroup {
    uint32_t target, layer;
    uint32_t first, n;
    VsListChange change; /* of its list */
} VsGroup;

typedef struct VsBatch {
    VsReaders readers;
    VsNewcomer *newcomer;
    size_t n, cap;
    uint32_t n_lists;
    VsHit *links;     /* m for each list */
    uint32_t *length; /* of each list */
    size_t cap_links, cap_length;
    VsReverse *reverse;
    size_t n_reverse, cap_reverse;
    VsHit *back; /* the hits of `reverse`, group by group */
    size_t cap_back;
    VsGroup *group;
    size_t n_groups, cap_groups;
    uint32_t *merged; /* for each group: 2 m of its new list, 2 m that are dropped */
    size_t cap_merged;
    VsKeyed *keys; /* to sort by: room for twice as many as are sorted */
    size_t cap_keys;
    const VsKeyed *planned; /* which newcomers, in which order; among the keys */
    uint32_t root_changes;  /* of the graph, when the roots were last in order */
    VsHit *candidates;      /* ef_construction for each worker */
} VsBatch;

/* Finds the links of all newcomers: `links`, `length`, `near`, `twin`, `blurred`, `coded`. */
VsStatus vs_batch_plan(VsBatch *b);
/* The same of n newcomers: those at place order[i].item. */
VsStatus vs_batch_plan_some(VsBatch *b, const VsKeyed *order, size_t n);

/* Makes the newcomers that are blurred raw, and their neighbours, and plans them anew. */
VsStatus vs_batch_sharpen(VsBatch *b);

/* Finds how the lists of all targets in `reverse` change: `group`, `merged` (links.h). */
VsStatus vs_batch_merge(VsBatch *b);

#endif
