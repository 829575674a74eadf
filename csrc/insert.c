/*
 * Insertion (Malkov & Yashunin 2018, algorithm 1): plan, then link.
 *
 * The plan reads only: candidates and chosen neighbours of every layer. Linking writes
 * the node, then the links back to it, under the statement's undo. A neighbour whose list
 * is full chooses anew among its links and the new node (the heuristic's shrink, as in
 * hnswlib), except that a link which alone keeps an older-to-newer path to its target
 * stays (graph.h).
 */
#include <string.h>

#include "hnsw.h"
#include "links.h"

typedef struct Plan {
    uint32_t node, level;
    uint32_t links[VS_MAX_LEVEL + 1][VS_MAX_M];
    uint32_t n_links[VS_MAX_LEVEL + 1];
    VsHit *candidates; /* of layer 0 */
    size_t n_candidates;
} Plan;

/* Live candidates only, in place. */
static VsStatus drop_dead(VsGraph *g, VsHit *hits, size_t *n) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        const VsNode *v = NULL;
        VsStatus st = vs_node(g, hits[i].node, &v);
        if (st != VS_OK) {
            return st;
        }
        if ((v->flags & VS_STATUS_MASK) == VS_LIVE && v->indeg < VS_MAX_INDEG) {
            hits[kept++] = hits[i];
        }
    }
    *n = kept;
    return VS_OK;
}

/* The heuristic for a node that has no list yet. */
static VsStatus choose(VsGraph *g, const VsHit *hits, size_t n, uint32_t *out,
                       uint32_t *n_out) {
    uint32_t kept = 0;
    for (size_t i = 0; i < n && kept < g->params.m; i++) {
        int diverse = 1;
        VsStatus st = vs_is_diverse(g, &hits[i], out, kept, VS_STRICT, &diverse);
        if (st != VS_OK) {
            return st;
        }
        if (diverse) {
            out[kept++] = hits[i].node;
        }
    }
    *n_out = kept;
    return VS_OK;
}

static VsStatus plan_layer(VsGraph *g, const VsQuery *q, uint32_t layer, uint32_t *entry,
                           Plan *plan) {
    size_t ef = g->params.ef_construction, n = 0, n_seeds = 0;
    const uint32_t *seeds = NULL;
    VsStatus st = vs_search_layer(g, q, layer, entry, 1, ef, plan->candidates, &n);
    if (st == VS_OK && n > 0) {
        *entry = plan->candidates[0].node;
        st = drop_dead(g, plan->candidates, &n);
    }
    if (st == VS_OK && n == 0 &&
        layer == 0) { /* all round the entry is dead: ask the seeds */
        st = vs_seeds(g, &seeds, &n_seeds);
        st = st == VS_OK
                 ? vs_search_layer(g, q, layer, seeds, n_seeds, ef, plan->candidates, &n)
                 : st;
        st = st == VS_OK ? drop_dead(g, plan->candidates, &n) : st;
    }
    if (st == VS_OK) {
        st = choose(g, plan->candidates, n, plan->links[layer], &plan->n_links[layer]);
    }
    plan->n_candidates = n;
    return st;
}

static VsStatus plan_links(VsGraph *g, const VsQuery *q, Plan *plan) {
    if (g->state.entry == VS_NIL) {
        return VS_OK;
    }
    uint32_t top = g->state.max_level, entry;
    VsStatus st = vs_descend(g, q, plan->level, &entry);
    for (uint32_t layer = plan->level < top ? plan->level : top; st == VS_OK; layer--) {
        st = plan_layer(g, q, layer, &entry, plan);
        if (layer == 0) {
            break;
        }
    }
    return st;
}

/* ---- writing -------------------------------------------------------------------- */

static VsStatus write_upper(VsGraph *g, const Plan *plan, uint32_t *first) {
    unsigned char slot[VS_UPPER_HEAD + 4 * VS_MAX_M];
    uint32_t next = VS_NIL, size = g->geo[VS_UPPER].slot_size;
    for (uint32_t layer = plan->level; layer > 0; layer--) {
        uint32_t at = g->state.upper_free;
        if (at != VS_NIL) {
            const unsigned char *p = NULL;
            VsStatus st = vs_slot(g, VS_UPPER, at, &p);
            if (st != VS_OK) {
                return st;
            }
            g->state.upper_free = vs_get_u32(p);
        } else {
            at = g->state.n_upper;
        }
        memset(slot, 0xFF, sizeof slot);
        vs_put_u32(slot, next);
        memcpy(slot + VS_UPPER_HEAD, plan->links[layer],
               4 * (size_t)plan->n_links[layer]);
        VsStatus st = vs_edit(g, VS_UPPER, at, 0, slot, size);
        if (st != VS_OK) {
            return st;
        }
        g->state.n_upper += at == g->state.n_upper;
        next = at;
    }
    *first = next;
    return VS_OK;
}

static VsStatus write_node(VsGraph *g, const Plan *plan, int64_t rowid) {
    struct {
        VsNode head;
        uint32_t links[2 * VS_MAX_M];
    } slot;
    memset(&slot, 0xFF, sizeof slot);
    slot.head = (VsNode){.rowid = rowid,
                         .seq = g->state.next_seq,
                         .upper = VS_NIL,
                         .level = (uint8_t)plan->level,
                         .flags = VS_LIVE};
    memcpy(slot.links, plan->links[0], 4 * (size_t)plan->n_links[0]);
    VsStatus st = plan->level > 0 ? write_upper(g, plan, &slot.head.upper) : VS_OK;
    if (st == VS_OK) {
        st = vs_edit(g, VS_NODE, plan->node, 0, &slot, g->geo[VS_NODE].slot_size);
    }
    if (st == VS_OK) {
        g->state.next_seq++;
        g->state.n_live++;
        g->state.n_nodes += plan->node == g->state.n_nodes;
    }
    return st;
}

/* Puts the new node into a neighbour's list. */
static VsStatus link_back(VsGraph *g, uint32_t from, uint32_t layer, uint32_t node) {
    uint32_t links[2 * VS_MAX_M + 1], chosen[2 * VS_MAX_M + 1], n_chosen = 0;
    VsHit ranked[2 * VS_MAX_M + 1];
    size_t n_ranked = 0;
    VsList list;
    VsStatus st = vs_list(g, from, layer, &list);
    if (st != VS_OK) {
        return st;
    }
    uint32_t n = vs_list_length(&list);
    if (n < list.cap) {
        return vs_list_append(g, from, layer, node);
    }
    memcpy(links, list.links, n * sizeof *links);
    links[n] = node;
    st = vs_rank(g, from, links, n + 1, ranked, &n_ranked);
    if (st == VS_OK) {
        st = vs_select(g, from, layer, ranked, n_ranked, list.cap, chosen, &n_chosen);
    }
    return st == VS_OK ? vs_list_set(g, from, layer, chosen, n_chosen) : st;
}

static VsStatus write_links(VsGraph *g, const Plan *plan) {
    VsStatus st = VS_OK;
    for (uint32_t layer = 0; st == VS_OK && layer <= plan->level; layer++) {
        for (uint32_t i = 0; st == VS_OK && i < plan->n_links[layer]; i++) {
            st = vs_count_links(g, plan->links[layer][i], 1, 0); /* newer to older */
        }
        for (uint32_t i = 0; st == VS_OK && i < plan->n_links[layer]; i++) {
            st = link_back(g, plan->links[layer][i], layer, plan->node);
        }
    }
    return st;
}

/* The new node must have an older in-link or be a seed. */
static VsStatus make_reachable(VsGraph *g, const Plan *plan) {
    const VsNode *n = NULL;
    VsStatus st = vs_node(g, plan->node, &n);
    if (st == VS_OK && n->indeg_old == 0) {
        st = vs_rescue(g, plan->node, plan->candidates, plan->n_candidates);
        st = st == VS_OK ? vs_node(g, plan->node, &n) : st;
        if (st == VS_OK && n->indeg_old == 0) {
            st = vs_seed_add(g, plan->node);
        }
    }
    return st;
}

/* Takes a node id: the first free one, or the next. */
static VsStatus take_node(VsGraph *g, uint32_t *node) {
    const VsNode *n = NULL;
    if (g->state.next_seq == UINT32_MAX) {
        return VS_RANGE;
    }
    if (g->state.free_head == VS_NIL) {
        *node = g->state.n_nodes;
        return *node < VS_MAX_NODES ? VS_OK : VS_RANGE;
    }
    *node = g->state.free_head;
    VsStatus st = vs_node(g, *node, &n);
    if (st == VS_OK && (n->flags & VS_STATUS_MASK) != VS_FREE) {
        st = VS_CORRUPT;
    }
    if (st == VS_OK) {
        g->state.free_head = n->upper;
    }
    return st;
}

static VsStatus insert_planned(VsGraph *g, int64_t rowid, const void *v, Plan *plan) {
    VsQuery q;
    unsigned char *code = vs_alloc(&g->alloc, 1, g->geo[VS_CODE].slot_size);
    if (code == NULL) {
        return VS_NOMEM;
    }
    VsStatus st = take_node(g, &plan->node);
    if (st == VS_OK) {
        g->codec->encode(&g->params.code, v, code);
        st = vs_edit(g, VS_CODE, plan->node, 0, code, g->geo[VS_CODE].slot_size);
    }
    if (st == VS_OK && g->params.kind == VS_HNSW) {
        st = vs_query_of_node(g, plan->node, 0, &q);
        st = st == VS_OK ? plan_links(g, &q, plan) : st;
    }
    if (st == VS_OK) {
        st = write_node(g, plan, rowid);
    }
    if (st == VS_OK && g->params.kind == VS_HNSW) {
        st = write_links(g, plan);
        st = st == VS_OK ? make_reachable(g, plan) : st;
        if (st == VS_OK &&
            (g->state.entry == VS_NIL || plan->level > g->state.max_level)) {
            g->state.entry = plan->node;
            g->state.max_level = plan->level;
        }
    }
    vs_free(&g->alloc, code);
    return st;
}

VsStatus vs_insert(VsGraph *g, int64_t rowid, const void *v, uint32_t *node) {
    Plan *plan = vs_alloc_zero(&g->alloc, 1, sizeof *plan);
    VsStatus st = plan == NULL ? VS_NOMEM : VS_OK;
    if (st == VS_OK) {
        plan->level = vs_level_of(&g->params, rowid);
        plan->candidates = vs_alloc(&g->alloc, g->params.ef_construction, sizeof(VsHit));
        st = plan->candidates == NULL ? VS_NOMEM : insert_planned(g, rowid, v, plan);
        *node = plan->node;
        vs_free(&g->alloc, plan->candidates);
    }
    vs_free(&g->alloc, plan);
    return st;
}
