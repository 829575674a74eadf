/*
 * Deletion with local repair, and consolidation of tombstones; contracts in hnsw.h.
 *
 * A deleted node keeps its out-links while others still link to it: walks that arrive
 * there go on. Its links stop counting as older in-links at once, so whoever depended on
 * them is rescued in the same statement.
 */
#include <stddef.h>
#include <string.h>

#include "hnsw.h"
#include "links.h"

static VsStatus copy_list(VsGraph *g, uint32_t node, uint32_t layer, uint32_t *links,
                          uint32_t *n) {
    VsList list;
    VsStatus st = vs_list(g, node, layer, &list);
    if (st == VS_OK) {
        *n = vs_list_length(&list);
        memcpy(links, list.links, *n * sizeof *links);
    }
    return st;
}

/* Tombstone: no seed any more, and its count of older in-links, which only live nodes
 * have, is 0. */
static VsStatus bury(VsGraph *g, uint32_t node) {
    const VsNode *n = NULL;
    VsStatus st = vs_node(g, node, &n);
    if (st == VS_OK && (n->flags & VS_STATUS_MASK) != VS_LIVE) {
        return VS_CORRUPT;
    }
    if (st == VS_OK && (n->flags & VS_IS_SEED) != 0) {
        st = vs_seed_remove(g, node);
    }
    st = st == VS_OK ? vs_node(g, node, &n) : st;
    if (st == VS_OK && n->indeg_old > 0) {
        unsigned char zero[2] = {0};
        st = vs_edit(g, VS_NODE, node, offsetof(VsNode, indeg_old), zero, 2);
    }
    st = st == VS_OK ? vs_node_set_status(g, node, VS_DEAD) : st;
    if (st == VS_OK) {
        g->state.n_live--;
        g->state.n_dead++;
    }
    return st;
}

/* The nodes that had an older in-link from `node` lose it; who had no other gets one. */
static VsStatus release_younger(VsGraph *g, uint32_t node, const uint32_t *links,
                                uint32_t n) {
    VsHit ranked[4 * VS_MAX_M];
    uint32_t near[4 * VS_MAX_M];
    const VsNode *gone = NULL, *x = NULL;
    VsStatus st = VS_OK;
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        st = vs_node(g, node, &gone);
        st = st == VS_OK ? vs_node(g, links[i], &x) : st;
        if (st != VS_OK || (x->flags & VS_STATUS_MASK) != VS_LIVE || gone->seq > x->seq) {
            continue;
        }
        if (x->indeg_old == 1) {
            size_t n_ranked = 0;
            uint32_t n_near = 0;
            st = copy_list(g, links[i], 0, near, &n_near);
            memcpy(near + n_near, links, n * sizeof *links);
            st = st == VS_OK ? vs_rank(g, links[i], near, n_near + n, ranked, &n_ranked)
                             : st;
            st = st == VS_OK ? vs_rescue(g, links[i], ranked, n_ranked) : st;
        }
        st = st == VS_OK ? vs_count_links(g, links[i], 0, -1) : st;
    }
    return st;
}

/* The neighbour `from` links to `node`, which is gone: puts the nearest of the node's
 * other neighbours that it does not have yet in that place, or nothing. */
static VsStatus replace_link(VsGraph *g, uint32_t from, uint32_t layer, uint32_t node,
                             const uint32_t *others, uint32_t n_others) {
    uint32_t links[2 * VS_MAX_M], n = 0, at = 0, best = VS_NIL;
    VsHit ranked[2 * VS_MAX_M];
    size_t n_ranked = 0;
    VsStatus st = copy_list(g, from, layer, links, &n);
    st = st == VS_OK ? vs_rank(g, from, others, n_others, ranked, &n_ranked) : st;
    while (at < n && links[at] != node) {
        at++;
    }
    if (st != VS_OK || at == n) {
        return st;
    }
    for (size_t i = 0; st == VS_OK && i < n_ranked && best == VS_NIL; i++) {
        const VsNode *c = NULL;
        int known = 0;
        for (uint32_t j = 0; j < n; j++) {
            known |= links[j] == ranked[i].node;
        }
        st = vs_node(g, ranked[i].node, &c);
        if (st == VS_OK && !known && c->level >= layer && c->indeg < VS_MAX_INDEG) {
            best = ranked[i].node;
        }
    }
    if (best != VS_NIL) {
        links[at] = best;
    } else {
        links[at] = links[--n];
    }
    return st == VS_OK ? vs_list_set(g, from, layer, links, n) : st;
}

static VsStatus unlink_layer(VsGraph *g, uint32_t node, uint32_t layer,
                             const uint32_t *links, uint32_t n) {
    VsStatus st = VS_OK;
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        const VsNode *from = NULL;
        st = vs_node(g, links[i], &from);
        if (st == VS_OK && (from->flags & VS_STATUS_MASK) == VS_LIVE) {
            st = replace_link(g, links[i], layer, node, links, n);
        }
    }
    return st;
}

/* The entry point is gone: the highest live node around it takes its place, else a seed.
 */
static VsStatus move_entry(VsGraph *g, const uint32_t *links, uint32_t n) {
    const uint32_t *seeds = NULL;
    size_t n_seeds = 0;
    uint32_t best = VS_NIL, best_level = 0;
    VsStatus st = vs_seeds(g, &seeds, &n_seeds);
    for (size_t i = 0; st == VS_OK && i < n + n_seeds; i++) {
        const VsNode *v = NULL;
        uint32_t candidate = i < n ? links[i] : seeds[i - n];
        st = vs_node(g, candidate, &v);
        if (st == VS_OK && (v->flags & VS_STATUS_MASK) == VS_LIVE &&
            (best == VS_NIL || v->level > best_level)) {
            best = candidate;
            best_level = v->level;
        }
    }
    g->state.entry = best;
    g->state.max_level = best_level;
    return st;
}

/* Nothing is live: every slot is given up at once. */
static void start_over(VsGraph *g) {
    VsState empty = vs_state_initial(&g->params);
    empty.ver = g->state.ver;
    empty.stamp = g->state.stamp;
    empty.fold_ver = g->state.fold_ver;
    memcpy(empty.folded, g->state.folded, sizeof empty.folded);
    g->state = empty;
}

static VsStatus delete_from_hnsw(VsGraph *g, uint32_t node) {
    uint32_t links[2 * VS_MAX_M], top[2 * VS_MAX_M], n = 0, n_top = 0;
    const VsNode *v = NULL;
    VsStatus st = bury(g, node);
    st = st == VS_OK ? vs_count_links(g, node, 1, 0)
                     : st; /* holds it until its lists are done */
    st = st == VS_OK ? vs_node(g, node, &v) : st;
    uint32_t level = st == VS_OK ? v->level : 0;
    st = st == VS_OK ? copy_list(g, node, level, top, &n_top) : st;
    for (uint32_t layer = level; st == VS_OK; layer--) {
        st = copy_list(g, node, layer, links, &n);
        if (st == VS_OK && layer == 0) {
            st = release_younger(g, node, links, n);
        }
        st = st == VS_OK ? unlink_layer(g, node, layer, links, n) : st;
        if (st == VS_OK && g->state.entry == node && n_top == 0) {
            memcpy(top, links, n * sizeof *links);
            n_top = n;
        }
        if (layer == 0) {
            break;
        }
    }
    if (st == VS_OK && g->state.entry == node) {
        st = move_entry(g, top, n_top);
    }
    st = st == VS_OK ? vs_count_links(g, node, -1, 0) : st;
    return st == VS_OK ? vs_reap(g, node) : st;
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

/* ---- consolidation
 * --------------------------------------------------------------------------- */

/* Adds the live out-links of the dead `from` to the candidates. */
static VsStatus add_links_of(VsGraph *g, uint32_t from, uint32_t layer, uint32_t *nodes,
                             size_t *n, size_t cap) {
    uint32_t links[2 * VS_MAX_M], count = 0;
    VsStatus st = copy_list(g, from, layer, links, &count);
    for (uint32_t i = 0; st == VS_OK && i < count && *n < cap; i++) {
        nodes[(*n)++] = links[i];
    }
    return st;
}

/* The list of `node` without its dead: chosen anew from what is left and the links of the
 * dead. */
static VsStatus consolidate_list(VsGraph *g, uint32_t node, uint32_t layer, int live) {
    enum { CANDIDATES = 16 * VS_MAX_M };
    uint32_t links[2 * VS_MAX_M], chosen[2 * VS_MAX_M], n = 0, n_chosen = 0, n_dead = 0;
    VsStatus st = copy_list(g, node, layer, links, &n);
    uint32_t *nodes = vs_alloc(&g->alloc, CANDIDATES, sizeof *nodes);
    VsHit *ranked = vs_alloc(&g->alloc, CANDIDATES, sizeof *ranked);
    size_t count = 0, n_ranked = 0;
    st = nodes == NULL || ranked == NULL ? VS_NOMEM : st;
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        const VsNode *v = NULL;
        st = vs_node(g, links[i], &v);
        if (st == VS_OK && (v->flags & VS_STATUS_MASK) == VS_LIVE) {
            nodes[count++] = links[i];
        } else if (st == VS_OK) {
            n_dead++;
        }
    }
    if (st == VS_OK && n_dead > 0 && !live) {
        st = vs_list_set(g, node, layer, nodes, (uint32_t)count);
    } else if (st == VS_OK && n_dead > 0) {
        for (uint32_t i = 0; st == VS_OK && i < n; i++) {
            const VsNode *v = NULL;
            st = vs_node(g, links[i], &v);
            if (st == VS_OK && (v->flags & VS_STATUS_MASK) == VS_DEAD) {
                st = add_links_of(g, links[i], layer, nodes, &count, CANDIDATES);
            }
        }
        st = st == VS_OK ? vs_rank(g, node, nodes, count, ranked, &n_ranked) : st;
        uint32_t cap = layer == 0 ? 2 * g->params.m : g->params.m;
        st = st == VS_OK
                 ? vs_select(g, node, layer, ranked, n_ranked, cap, chosen, &n_chosen)
                 : st;
        st = st == VS_OK ? vs_list_set(g, node, layer, chosen, n_chosen) : st;
    }
    vs_free(&g->alloc, nodes);
    vs_free(&g->alloc, ranked);
    return st;
}

VsStatus vs_consolidate(VsGraph *g, uint32_t budget) {
    VsStatus st = VS_OK;
    uint32_t node = g->state.cursor < g->state.n_nodes ? g->state.cursor : 0;
    for (uint32_t i = 0; st == VS_OK && g->state.n_dead > 0 && i < budget; i++) {
        const VsNode *v = NULL;
        st = vs_node(g, node, &v);
        uint32_t status = st == VS_OK ? v->flags & VS_STATUS_MASK : VS_FREE;
        uint32_t level = status == VS_FREE ? 0 : v->level;
        for (uint32_t layer = 0; st == VS_OK && status != VS_FREE && layer <= level;
             layer++) {
            st = consolidate_list(g, node, layer, status == VS_LIVE);
            st = st == VS_OK ? vs_node(g, node, &v) : st;
            status = st == VS_OK ? v->flags & VS_STATUS_MASK : status;
        }
        st = status == VS_DEAD && st == VS_OK ? vs_reap(g, node) : st;
        node = node + 1 < g->state.n_nodes ? node + 1 : 0;
    }
    g->state.cursor = node;
    return st;
}
