/*
 * Deletion with local repair, and consolidation of tombstones; contracts in nodes.h.
 *
 * A deleted node keeps its out-links while others still link to it: walks that arrive
 * there go on. Its links stop counting as older in-links at once, so whoever depended on
 * them is rescued in the same statement.
 */
#include <stddef.h>
#include <string.h>

#include "csrc/build/choose.h"
#include "csrc/build/nodes.h"
#include "csrc/build/links.h"

/* When more than a sixteenth as many nodes are dead as live, every deletion also looks at
 * this many nodes: it is bounded, depends on nothing but the statements, and a full round
 * is done before another sixteenth has died. */
#define DEAD_SHARE 16
#define CONSOLIDATED 24

static VsStatus copy_list(VsGraph *g, uint32_t node, uint32_t layer, uint32_t *links,
                          uint32_t *n) {
    VsList list;
    VS_TRY(vs_list(g, node, layer, &list));
    *n = vs_list_length(&list);
    memcpy(links, list.links, *n * sizeof *links);
    return VS_OK;
}

/* Tombstone: no root any more, and its count of older in-links, which only live nodes
 * have, is 0. */
static VsStatus bury(VsGraph *g, uint32_t node) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    if ((n->flags & VS_STATUS_MASK) != VS_LIVE) {
        return VS_CORRUPT;
    }
    if ((n->flags & VS_IS_ROOT) != 0) {
        VS_TRY(vs_root_remove(g, node));
    }
    VS_TRY(vs_node(g, node, &n));
    if (n->indeg_old > 0) {
        unsigned char zero[2] = {0};
        VS_TRY(vs_edit(g, VS_NODE, node, offsetof(VsNode, indeg_old), zero, 2));
    }
    VS_TRY(vs_node_set_status(g, node, VS_DEAD));
    g->state.n_live--;
    g->state.n_dead++;
    return VS_OK;
}

/* The nodes that had an older in-link from `node` lose it; who had no other gets one. */
static VsStatus release_younger(VsGraph *g, uint32_t node, const uint32_t *links,
                                uint32_t n) {
    VsHit ranked[4 * VS_MAX_M];
    uint32_t near[4 * VS_MAX_M];
    const VsNode *gone = NULL, *x = NULL;
    for (uint32_t i = 0; i < n; i++) {
        VS_TRY(vs_node(g, node, &gone));
        VS_TRY(vs_node(g, links[i], &x));
        if ((x->flags & VS_STATUS_MASK) != VS_LIVE || gone->seq > x->seq) {
            continue;
        }
        if (x->indeg_old == 1) {
            size_t n_ranked = 0;
            uint32_t n_near = 0;
            VS_TRY(copy_list(g, links[i], 0, near, &n_near));
            memcpy(near + n_near, links, n * sizeof *links);
            VS_TRY(vs_rank(g, links[i], near, n_near + n, ranked, &n_ranked));
            VS_TRY(vs_rescue(g, links[i], ranked, n_ranked));
        }
        VS_TRY(vs_count_links(g, links[i], 0, -1));
    }
    return VS_OK;
}

/* Adds the out-links of a dead node to the candidates. */
static VsStatus add_links_of(VsGraph *g, uint32_t from, uint32_t layer, uint32_t *nodes,
                             size_t *n, size_t cap) {
    uint32_t links[2 * VS_MAX_M], count = 0;
    VsStatus st = copy_list(g, from, layer, links, &count);
    for (uint32_t i = 0; st == VS_OK && i < count && *n < cap; i++) {
        nodes[(*n)++] = links[i];
    }
    return st;
}

/* Fills up to `room` places behind links[0..*n-1] with candidates that lead somewhere
 * new, or to a copy of the node (copies.h). */
static VsStatus refill(VsGraph *g, uint32_t node, uint32_t layer, const VsHit *ranked,
                       size_t n_ranked, uint32_t room, uint32_t *links, uint32_t *n) {
    float own;
    VsQuery q;
    VsStatus st = vs_query_of_node(g, &g->apart, node, 0, &q);
    st = st == VS_OK ? vs_order(g, &q, node, &own) : st;
    for (size_t i = 0; st == VS_OK && i < n_ranked && room > 0; i++) {
        const VsNode *c = NULL;
        int add = 0;
        for (uint32_t j = 0; j < *n; j++) {
            add |= links[j] == ranked[i].node;
        }
        st = vs_node(g, ranked[i].node, &c);
        if (st == VS_OK && !add && c->level >= layer && c->indeg < VS_MAX_INDEG) {
            add = ranked[i].order <= own;
            st = add ? VS_OK : vs_is_diverse(g, &ranked[i], links, *n, VS_RELAXED, &add);
            if (st == VS_OK && add) {
                links[(*n)++] = ranked[i].node;
                room--;
            }
        }
    }
    return st;
}

/* Takes the dead out of a list. In the place of each, the list of a live node gets a node
 * that the dead one linked to, if it leads into another direction than the links that are
 * there: those stay as they are (choosing all anew would cut lists that were never full).
 */
static VsStatus repair_list(VsGraph *g, uint32_t node, uint32_t layer, int live) {
    enum { CANDIDATES = 8 * VS_MAX_M };
    uint32_t links[2 * VS_MAX_M], near[CANDIDATES], n = 0, kept = 0;
    VsHit ranked[CANDIDATES];
    size_t n_near = 0, n_ranked = 0;
    VsStatus st = copy_list(g, node, layer, links, &n);
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        const VsNode *v = NULL;
        st = vs_node(g, links[i], &v);
        if (st == VS_OK && (v->flags & VS_STATUS_MASK) == VS_LIVE) {
            links[kept++] = links[i];
        } else if (st == VS_OK && live) {
            st = add_links_of(g, links[i], layer, near, &n_near, CANDIDATES);
        }
    }
    if (st != VS_OK || kept == n) {
        return st;
    }
    st = vs_rank(g, node, near, n_near, ranked, &n_ranked);
    uint32_t room = n - kept;
    st = st == VS_OK ? refill(g, node, layer, ranked, n_ranked, room, links, &kept) : st;
    return st == VS_OK ? vs_list_set(g, node, layer, links, kept) : st;
}

static VsStatus links_to(VsGraph *g, uint32_t from, uint32_t layer, uint32_t node,
                         int *out) {
    VsList list;
    VsStatus st = vs_list(g, from, layer, &list);
    *out = st == VS_OK && vs_list_holds(&list, node);
    return st;
}

static VsStatus unlink_layer(VsGraph *g, uint32_t node, uint32_t layer,
                             const uint32_t *links, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const VsNode *from = NULL;
        int mutual = 0;
        VS_TRY(vs_node(g, links[i], &from));
        if ((from->flags & VS_STATUS_MASK) == VS_LIVE) {
            VS_TRY(links_to(g, links[i], layer, node, &mutual));
        }
        if (mutual) {
            VS_TRY(repair_list(g, links[i], layer, 1));
        }
    }
    return VS_OK;
}

/* The entry point is gone: the highest live node around it takes its place, else a root.
 */
static VsStatus move_entry(VsGraph *g, const uint32_t *links, uint32_t n) {
    const uint32_t *roots = NULL;
    size_t n_roots = 0;
    uint32_t best = VS_NIL, best_level = 0;
    VS_TRY(vs_roots(g, &roots, &n_roots));
    for (size_t i = 0; i < n + n_roots; i++) {
        const VsNode *v = NULL;
        uint32_t candidate = i < n ? links[i] : roots[i - n];
        VS_TRY(vs_node(g, candidate, &v));
        if ((v->flags & VS_STATUS_MASK) == VS_LIVE &&
            (best == VS_NIL || v->level > best_level)) {
            best = candidate;
            best_level = v->level;
        }
    }
    g->state.entry = best;
    g->state.max_level = best_level;
    return VS_OK;
}

/* Nothing is live: every slot is given up at once. Ages go on: (node, seq) names one
 * insertion for ever, and a copy of its vector may be kept by that name. Where half of the
 * ages are used up they begin again, so that a table that is a queue never runs out. */
static void start_over(VsGraph *g) {
    VsState empty = vs_state_initial(&g->params);
    empty.ver = g->state.ver;
    empty.stamp = g->state.stamp;
    empty.checkpoint_ver = g->state.checkpoint_ver;
    empty.ef_search = g->state.ef_search;
    empty.next_seq = g->state.next_seq <= UINT32_MAX / 2 ? g->state.next_seq : 0;
    memcpy(empty.checkpointed, g->state.checkpointed, sizeof empty.checkpointed);
    g->state = empty;
}

static VsStatus delete_from_hnsw(VsGraph *g, uint32_t node) {
    uint32_t links[2 * VS_MAX_M], top[2 * VS_MAX_M], n = 0, n_top = 0;
    const VsNode *v = NULL;
    VS_TRY(bury(g, node));
    VS_TRY(vs_count_links(g, node, 1, 0)); /* holds it until its lists are done */
    VS_TRY(vs_node(g, node, &v));
    uint32_t level = v->level;
    VS_TRY(copy_list(g, node, level, top, &n_top));
    for (uint32_t layer = level;; layer--) {
        VS_TRY(copy_list(g, node, layer, links, &n));
        if (layer == 0) {
            VS_TRY(release_younger(g, node, links, n));
        }
        VS_TRY(unlink_layer(g, node, layer, links, n));
        if (g->state.entry == node && n_top == 0) {
            memcpy(top, links, n * sizeof *links);
            n_top = n;
        }
        if (layer == 0) {
            break;
        }
    }
    if (g->state.entry == node) {
        VS_TRY(move_entry(g, top, n_top));
    }
    VS_TRY(vs_count_links(g, node, -1, 0));
    VS_TRY(vs_reap(g, node));
    return g->state.n_dead > g->state.n_live / DEAD_SHARE
               ? vs_consolidate(g, CONSOLIDATED)
               : VS_OK;
}

VsStatus vs_delete(VsGraph *g, uint32_t node) {
    const VsNode *v = NULL;
    VsStatus st = vs_node(g, node, &v);
    if (st == VS_OK && (v->flags & VS_STATUS_MASK) != VS_LIVE) {
        st = VS_CORRUPT;
    }
    if (st == VS_OK && g->params.kind == VS_FLAT) {
        st = vs_node_release(g, node);
        g->state.n_live--;
    } else if (st == VS_OK) {
        st = delete_from_hnsw(g, node);
    }
    if (st == VS_OK && g->state.n_live == 0) {
        start_over(g);
    }
    return st;
}

/* ---- consolidation -------------------------------------------------------------- */

VsStatus vs_consolidate(VsGraph *g, uint32_t budget) {
    uint32_t node = g->state.cursor < g->state.n_nodes ? g->state.cursor : 0;
    for (uint32_t i = 0; g->state.n_dead > 0 && i < budget; i++) {
        const VsNode *v = NULL;
        VS_TRY(vs_node(g, node, &v));
        uint32_t status = v->flags & VS_STATUS_MASK;
        uint32_t level = status == VS_FREE ? 0 : v->level;
        for (uint32_t layer = 0; status != VS_FREE && layer <= level; layer++) {
            VS_TRY(repair_list(g, node, layer, status == VS_LIVE));
            VS_TRY(vs_node(g, node, &v));
            status = v->flags & VS_STATUS_MASK;
        }
        if (status == VS_DEAD) {
            VS_TRY(vs_reap(g, node));
        }
        if (i % 256 == 255 && vs_interrupted(g)) {
            return VS_INTERRUPT;
        }
        node = node + 1 < g->state.n_nodes ? node + 1 : 0;
    }
    g->state.cursor = node;
    return VS_OK;
}
