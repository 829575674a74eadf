/* Lists, in-link counters and roots; contracts in links.h. */
#include "csrc/build/links.h"
#include "csrc/graph/raw.h"

#include <stddef.h>
#include <string.h>

#include "csrc/kernel/batch.h"
#include "csrc/build/choose.h"

/* ---- counters and roots --------------------------------------------------------- */

VsStatus vs_root_add(VsGraph *g, uint32_t node) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    uint8_t flags = n->flags | VS_IS_ROOT;
    VsStatus st = vs_edit(g, VS_ROOT, g->state.n_roots, 0, &node, 4);
    g->root_changes++;
    if (st == VS_OK) {
        g->state.n_roots++;
        st = vs_edit(g, VS_NODE, node, offsetof(VsNode, flags), &flags, 1);
    }
    return st;
}

VsStatus vs_root_remove(VsGraph *g, uint32_t node) {
    const VsNode *n = NULL;
    const unsigned char *p = NULL;
    uint32_t last = VS_NIL, seed = VS_NIL, i = g->state.n_roots;
    VsStatus st = vs_node(g, node, &n);
    uint8_t flags = st == VS_OK ? n->flags & (uint8_t)~(VS_IS_ROOT | VS_PENDING) : 0;
    g->root_changes++;
    while (st == VS_OK && seed != node && i > 0) { /* the newest are at the end */
        st = vs_slot(g, VS_ROOT, --i, &p);
        seed = st == VS_OK ? vs_get_u32(p) : VS_NIL;
        last = last == VS_NIL ? seed : last;
    }
    if (st == VS_OK && seed != node) {
        st = VS_CORRUPT;
    }
    if (st == VS_OK && last != node) {
        st = vs_edit(g, VS_ROOT, i, 0, &last, 4);
    }
    if (st == VS_OK) {
        g->state.n_roots--;
        st = vs_edit(g, VS_NODE, node, offsetof(VsNode, flags), &flags, 1);
    }
    return st;
}

VsStatus vs_count_links(VsGraph *g, uint32_t node, int d_indeg, int d_old) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    int indeg = n->indeg + d_indeg, old = n->indeg_old + d_old;
    if (indeg < 0 || indeg > UINT16_MAX || old < 0 || old > indeg) {
        return VS_CORRUPT;
    }
    unsigned char bytes[4];
    vs_put_u16(bytes, (uint16_t)indeg);
    vs_put_u16(bytes + 2, (uint16_t)old);
    int live = (n->flags & VS_STATUS_MASK) == VS_LIVE,
        seed = (n->flags & VS_IS_ROOT) != 0;
    VsStatus st = vs_edit(g, VS_NODE, node, offsetof(VsNode, indeg), bytes, 4);
    if (st == VS_OK && live && d_old < 0 && old == 0 && !seed) {
        st = vs_root_add(g, node);
    } else if (st == VS_OK && d_old > 0 && seed) {
        st = vs_root_remove(g, node);
    }
    return st;
}

VsStatus vs_node_set_status(VsGraph *g, uint32_t node, uint8_t status) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    uint8_t flags = (uint8_t)((n->flags & ~VS_STATUS_MASK) | status);
    return vs_edit(g, VS_NODE, node, offsetof(VsNode, flags), &flags, 1);
}

/* 1 if a link from `from` on `layer` counts as an older in-link of `to`. */
static VsStatus counts_as_old(VsGraph *g, uint32_t from, uint32_t layer, uint32_t to,
                              int *out) {
    const VsNode *a = NULL, *b = NULL;
    VS_TRY(vs_node(g, from, &a));
    VS_TRY(vs_node(g, to, &b));
    *out = layer == 0 && (a->flags & VS_STATUS_MASK) == VS_LIVE &&
           (b->flags & VS_STATUS_MASK) == VS_LIVE && a->seq < b->seq;
    return VS_OK;
}

static VsStatus count_link(VsGraph *g, uint32_t from, uint32_t layer, uint32_t to,
                           int delta) {
    int old = 0;
    VsStatus st = counts_as_old(g, from, layer, to, &old);
    return st == VS_OK ? vs_count_links(g, to, delta, old * delta) : st;
}

/* ---- lists ---------------------------------------------------------------------- */

/* Appends one link to a list that has room. */
static VsStatus list_append(VsGraph *g, uint32_t node, uint32_t layer, uint32_t target) {
    VsList list;
    VS_TRY(vs_list(g, node, layer, &list));
    uint32_t n = vs_list_length(&list);
    if (n == list.cap) {
        return VS_RANGE;
    }
    VS_TRY(vs_edit(g, list.kind, list.slot, list.offset + 4 * n, &target, 4));
    return count_link(g, node, layer, target, 1);
}

static int holds(const uint32_t *links, uint32_t n, uint32_t node) {
    for (uint32_t i = 0; i < n; i++) {
        if (links[i] == node) {
            return 1;
        }
    }
    return 0;
}

VsListChange vs_list_compare(const uint32_t *old, uint32_t n_old, uint32_t *links,
                             uint32_t n, uint32_t *dropped) {
    VsListChange change = {.n_old = n_old, .n = n};
    uint32_t same = 0;
    while (same < n && same < n_old && old[same] == links[same]) {
        same++;
    }
    change.same = same;
    for (uint32_t i = same; i < n_old; i++) {
        if (!holds(links + same, n - same, old[i])) {
            dropped[change.n_dropped++] = old[i];
        }
    }
    for (uint32_t i = same; i < n; i++) {
        links[i] |= holds(old + same, n_old - same, links[i]) ? 0 : VS_ADDED;
    }
    return change;
}

VsStatus vs_list_change(VsGraph *g, uint32_t node, uint32_t layer,
                        const VsListChange *change, const uint32_t *links,
                        const uint32_t *dropped) {
    uint32_t next[2 * VS_MAX_M], from = change->same, n = change->n;
    uint32_t end = n > change->n_old ? n : change->n_old; /* of what is written */
    VsList list;
    VsStatus st = vs_list(g, node, layer, &list);
    for (uint32_t i = from; i < end; i++) {
        next[i] = i < n ? links[i] & ~VS_ADDED : VS_NIL;
    }
    if (st == VS_OK && from < end) {
        st = vs_edit(g, list.kind, list.slot, list.offset + 4 * from, next + from,
                     4 * (end - from));
    }
    /* added first: a node that is only moved must not be taken for unreachable between */
    for (uint32_t i = from; st == VS_OK && i < n; i++) {
        st = links[i] == next[i] ? VS_OK : count_link(g, node, layer, next[i], 1);
    }
    for (uint32_t i = 0; st == VS_OK && i < change->n_dropped; i++) {
        st = count_link(g, node, layer, dropped[i], -1);
        st = st == VS_OK ? vs_reap(g, dropped[i]) : st;
    }
    return st;
}

VsStatus vs_list_set(VsGraph *g, uint32_t node, uint32_t layer, const uint32_t *links,
                     uint32_t n) {
    uint32_t next[2 * VS_MAX_M], dropped[2 * VS_MAX_M];
    VsList list;
    VS_TRY(vs_list(g, node, layer, &list));
    memcpy(next, links, n * sizeof *next);
    VsListChange change =
        vs_list_compare(list.links, vs_list_length(&list), next, n, dropped);
    return vs_list_change(g, node, layer, &change, next, dropped);
}

void vs_prefetch_node(const VsGraph *g, uint32_t node, size_t bytes) {
    unsigned char *page =
        vs_table_get(&g->table[VS_NODE], vs_page_of(&g->geo[VS_NODE], node));
    if (page != NULL) {
        const unsigned char *slot = vs_slot_loaded(g, VS_NODE, node);
        VS_PREFETCH_FAR(vs_page_mark(page));
        for (size_t at = 0; at < bytes; at += 64) {
            VS_PREFETCH_FAR(slot + at);
        }
        VS_PREFETCH_FAR(slot + bytes - 1); /* slots begin anywhere in a line */
    }
}

VsStatus vs_link_needed(VsGraph *g, uint32_t node, uint32_t layer, uint32_t target,
                        int *out) {
    const VsNode *t = NULL;
    int old = 0;
    VS_TRY(counts_as_old(g, node, layer, target, &old));
    VS_TRY(vs_node(g, target, &t));
    *out = old && t->indeg_old == 1;
    return VS_OK;
}

/* ---- freeing -------------------------------------------------------------------- */

VsStatus vs_node_release(VsGraph *g, uint32_t node) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    for (uint32_t slot = n->upper, level = n->level; level > 0; level--) {
        const unsigned char *p = NULL;
        VS_TRY(slot < g->state.n_upper ? vs_slot(g, VS_UPPER, slot, &p) : VS_CORRUPT);
        uint32_t next = vs_get_u32(p);
        VS_TRY(vs_edit(g, VS_UPPER, slot, 0, &g->state.upper_free, 4));
        g->state.upper_free = slot;
        slot = next;
    }
    VsNode freed = {.flags = VS_FREE, .upper = g->state.free_head};
    VS_TRY(vs_raw_drop(g, node));
    VS_TRY(vs_edit(g, VS_NODE, node, 0, &freed, VS_NODE_STORED));
    g->state.free_head = node;
    return VS_OK;
}

/* Takes the last link out of a dead node. *target is VS_NIL when it had none left. */
static VsStatus drop_last_link(VsGraph *g, uint32_t node, uint32_t *target) {
    const VsNode *n = NULL;
    VsStatus st = vs_node(g, node, &n);
    uint32_t level = st == VS_OK ? n->level : 0;
    *target = VS_NIL;
    for (uint32_t layer = 0; st == VS_OK && layer <= level && *target == VS_NIL;
         layer++) {
        VsList list;
        st = vs_list(g, node, layer, &list);
        uint32_t length = st == VS_OK ? vs_list_length(&list) : 0, nil = VS_NIL;
        if (length > 0) {
            *target = list.links[length - 1];
            st =
                vs_edit(g, list.kind, list.slot, list.offset + 4 * (length - 1), &nil, 4);
            st = st == VS_OK ? vs_count_links(g, *target, -1, 0) : st;
        }
    }
    return st;
}

static VsStatus is_unlinked_dead(VsGraph *g, uint32_t node, int *out) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    *out = (n->flags & VS_STATUS_MASK) == VS_DEAD && n->indeg == 0;
    return VS_OK;
}

/* Freeing one can free others, and those more: a stack instead of recursion on data. */
typedef struct Doomed {
    uint32_t *node;
    size_t n, cap;
} Doomed;

VsStatus vs_reap(VsGraph *g, uint32_t node) {
    Doomed doomed = {0};
    int dead = 0;
    VsStatus st = is_unlinked_dead(g, node, &dead);
    if (st != VS_OK || !dead) {
        return st;
    }
    st = vs_grow(&g->alloc, (void **)&doomed.node, &doomed.cap, 1, sizeof node);
    if (st == VS_OK) {
        doomed.node[doomed.n++] = node;
    }
    while (st == VS_OK && doomed.n > 0) {
        uint32_t target, top = doomed.node[doomed.n - 1];
        st = drop_last_link(g, top, &target);
        if (st == VS_OK && target == VS_NIL) {
            doomed.n--;
            st = vs_node_release(g, top);
            g->state.n_dead--;
        } else if (st == VS_OK) {
            st = is_unlinked_dead(g, target, &dead);
            if (st == VS_OK && dead) {
                st = vs_grow(&g->alloc, (void **)&doomed.node, &doomed.cap, doomed.n + 1,
                             sizeof node);
                if (st == VS_OK) {
                    doomed.node[doomed.n++] = target;
                }
            }
        }
    }
    vs_free(&g->alloc, doomed.node);
    return st;
}

/* ---- rescue --------------------------------------------------------------------- */

VsStatus vs_take_in(VsGraph *g, uint32_t from, uint32_t node, int *done) {
    VsList list;
    uint32_t links[2 * VS_MAX_M];
    VsHit ranked[2 * VS_MAX_M];
    size_t n_ranked = 0;
    VS_TRY(vs_list(g, from, 0, &list));
    uint32_t n = vs_list_length(&list);
    memcpy(links, list.links, n * sizeof *links);
    *done = 1;
    if (n < list.cap) {
        return list_append(g, from, 0, node);
    }
    VsStatus st = vs_rank(g, from, links, n, ranked, &n_ranked);
    for (size_t i = n_ranked; st == VS_OK && i-- > 0;) {
        int need = 1;
        st = vs_link_needed(g, from, 0, ranked[i].node, &need);
        if (st == VS_OK && !need) {
            for (uint32_t j = 0; j < n; j++) {
                links[j] = links[j] == ranked[i].node ? node : links[j];
            }
            return vs_list_set(g, from, 0, links, n);
        }
    }
    *done = 0;
    return st;
}

/* The first candidate that is older, live and has a place takes the node in. */
static VsStatus take_in_by_any(VsGraph *g, uint32_t node, const VsHit *candidates,
                               size_t n, int *done) {
    *done = 0;
    for (size_t i = 0; i < n && !*done; i++) {
        const VsNode *from = NULL, *to = NULL;
        VsList list;
        VS_TRY(vs_node(g, candidates[i].node, &from));
        VS_TRY(vs_node(g, node, &to));
        VS_TRY(vs_list(g, candidates[i].node, 0, &list));
        if ((from->flags & (VS_STATUS_MASK | VS_PENDING)) == VS_LIVE &&
            from->seq < to->seq && !vs_list_holds(&list, node)) {
            VS_TRY(vs_take_in(g, candidates[i].node, node, done));
        }
    }
    return VS_OK;
}

enum { FAR = 512 };

/* Churn leaves nodes that are the oldest for some way around. The roots are of that kind
 * and some are older still: one of them, or of their neighbours, can take the node in.
 * The link is long, but it only has to exist; walks come through the near ones. */
static VsStatus far_candidates(VsGraph *g, uint32_t node, VsHit *out, size_t *n) {
    uint32_t near[FAR], roots[FAR / 2];
    size_t n_roots = 0, count = 0;
    VsStatus st = VS_OK;
    for (uint32_t i = g->state.n_roots; st == VS_OK && i-- > 0 && n_roots < FAR / 2;) {
        const unsigned char *p = NULL;
        const VsNode *v = NULL;
        st = vs_slot(g, VS_ROOT, i, &p);
        uint32_t seed = st == VS_OK ? vs_get_u32(p) : VS_NIL;
        st = st == VS_OK ? vs_node(g, seed, &v) : st;
        if (st == VS_OK && (v->flags & VS_PENDING) == 0) { /* pending: no links */
            roots[n_roots++] = near[count++] = seed;
        }
    }
    for (size_t i = 0; st == VS_OK && i < n_roots && count < FAR; i++) {
        VsList list;
        st = vs_list(g, roots[i], 0, &list);
        uint32_t length = st == VS_OK ? vs_list_length(&list) : 0;
        for (uint32_t j = 0; j < length && count < FAR; j++) {
            near[count++] = list.links[j];
        }
    }
    return st == VS_OK ? vs_rank(g, node, near, count, out, n) : st;
}

VsStatus vs_rescue(VsGraph *g, uint32_t node, const VsHit *candidates, size_t n) {
    VsHit far[FAR];
    size_t n_far = 0;
    int done = 0;
    VS_TRY(take_in_by_any(g, node, candidates, n, &done));
    if (!done) {
        VS_TRY(far_candidates(g, node, far, &n_far));
        VS_TRY(take_in_by_any(g, node, far, n_far, &done));
    }
    return VS_OK;
}
