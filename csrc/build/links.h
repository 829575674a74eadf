/*
 * Links: the one place that changes a list, and with it the counters that depend on
 * lists.
 *
 * vs_list_set keeps three things true for whoever calls it (graph.h): indeg and indeg_old
 * of every node equal what the lists say; a live node with indeg_old == 0 is a root, any
 * other is not; a dead node that nothing links to is freed.
 */
#ifndef VS_BUILD_LINKS_H
#define VS_BUILD_LINKS_H

#include "csrc/graph/graph.h"

/* Nobody links to a node that has so many in-links: the counter has 16 bits, and a
 * deletion adds one for a moment. */
#define VS_MAX_INDEG (UINT16_MAX - 1)

/* Replaces the out-links of `node` on `layer` by links[0..n-1] (distinct, not the node
 * itself). */
VsStatus vs_list_set(VsGraph *g, uint32_t node, uint32_t layer, const uint32_t *links,
                     uint32_t n);

/* The same in two steps, of which the first only reads: what changes, and the change. The
 * first marks which links are new, and puts what the list loses to `dropped` (room for
 * n_old). The second reads links[same..n-1] and dropped[0..n_dropped-1]. */
#define VS_ADDED 0x80000000u
typedef struct VsListChange {
    uint32_t same;      /* links at the front of the list that stay there */
    uint32_t n_old, n;  /* its length before and after */
    uint32_t n_dropped; /* links that it loses */
} VsListChange;
VsListChange vs_list_compare(const uint32_t *old, uint32_t n_old, uint32_t *links,
                             uint32_t n, uint32_t *dropped);
VsStatus vs_list_change(VsGraph *g, uint32_t node, uint32_t layer,
                        const VsListChange *change, const uint32_t *links,
                        const uint32_t *dropped);

/* What is needed to change the first bytes of a node's slot, on its way into the cache. */
void vs_prefetch_node(const VsGraph *g, uint32_t node, size_t bytes);

/* True in *out if dropping the link node -> target on `layer` would leave the live
 * `target` without an older in-link. */
VsStatus vs_link_needed(VsGraph *g, uint32_t node, uint32_t layer, uint32_t target,
                        int *out);

/* Makes `from` link to `node` in layer 0: in a free place, or instead of the farthest link
 * that is not needed. *done 0: there is no such place. */
VsStatus vs_take_in(VsGraph *g, uint32_t from, uint32_t node, int *done);

/* Gives a live node an in-link from the nearest older candidate that can take one; if
 * none can, the node is (or becomes) a root. */
VsStatus vs_rescue(VsGraph *g, uint32_t node, const VsHit *candidates, size_t n);

/* Roots. */
VsStatus vs_root_add(VsGraph *g, uint32_t node);
VsStatus vs_root_remove(VsGraph *g, uint32_t node);

/* Puts a node whose lists are empty on the free list. */
VsStatus vs_node_release(VsGraph *g, uint32_t node);

/* Changes the status of a node, keeping the root mark. */
VsStatus vs_node_set_status(VsGraph *g, uint32_t node, uint8_t status);

/* Takes d_old from (or adds it to) the node's count of older in-links. */
VsStatus vs_count_links(VsGraph *g, uint32_t node, int d_indeg, int d_old);

/* Frees the dead nodes that nothing links to, beginning with `node`, and those that only
 * they linked to. */
VsStatus vs_reap(VsGraph *g, uint32_t node);

#endif
