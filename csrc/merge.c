/* The links back to new nodes, grouped by target; see linker.h. Reads only. */
#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "linker.h"
#include "links.h"
#include "walk.h"

static int compare_reverse(const void *a, const void *b) {
    const VsReverse *x = a, *y = b;
    if (x->layer != y->layer) {
        return x->layer < y->layer ? -1 : 1;
    }
    if (x->target != y->target) {
        return x->target < y->target ? -1 : 1;
    }
    return vs_before(x->hit, y->hit) ? -1 : 1; /* no two are equal */
}

static VsStatus group(VsBatch *b) {
    const VsAlloc *a = &b->team.graph->alloc;
    size_t width = 2 * (size_t)b->team.graph->params.m;
    b->n_groups = 0;
    if (b->n_reverse > 1) {
        qsort(b->reverse, b->n_reverse, sizeof *b->reverse, compare_reverse);
    }
    for (size_t i = 0; i < b->n_reverse; i++) {
        const VsReverse *r = &b->reverse[i];
        if (i == 0 || r->target != r[-1].target || r->layer != r[-1].layer) {
            VsStatus st = vs_grow(a, (void **)&b->group, &b->cap_groups, b->n_groups + 1,
                                  sizeof *b->group);
            if (st != VS_OK) {
                return st;
            }
            b->group[b->n_groups++] = (VsGroup){(uint32_t)i, 0, 0};
        }
        b->group[b->n_groups - 1].n++;
    }
    return vs_grow(a, (void **)&b->merged, &b->cap_merged, b->n_groups * width + 1,
                   sizeof *b->merged);
}

/* What a full list may keep of its links: the live ones, nearest first. Those that alone
 * keep an older-to-newer path to their target (graph.h) are marked. */
static VsStatus rank_links(VsGraph *g, uint32_t target, uint32_t layer,
                           const VsFront *list, VsPool *out) {
    VsStatus st = VS_OK;
    for (uint32_t i = 0; st == VS_OK && i < list->n; i++) {
        const VsNode *v = NULL;
        int needed = 0;
        st = vs_node(g, list->node[i], &v);
        if (st == VS_OK && (v->flags & VS_STATUS_MASK) == VS_LIVE) {
            st = vs_link_needed(g, target, layer, list->node[i], &needed);
            vs_pool_offer(
                out, (VsHit){list->order[i], list->node[i] | (needed ? VS_NEEDED : 0)});
        }
    }
    return st;
}

/* Chooses anew for a target whose list is full. */
static VsStatus choose_anew(VsGraph *g, const VsReverse *back, uint32_t n, uint32_t cap,
                            VsFront *list, uint32_t *out, uint32_t *n_out) {
    VsHit hits[4 * VS_MAX_M];
    VsPool pool = {hits, 0, 4 * VS_MAX_M};
    VsQuery q;
    VsStatus st = vs_query_of_node(g, back->target, 0, &q);
    if (st == VS_OK) {
        vs_front_score(g, &q, list);
        st = rank_links(g, back->target, back->layer, list, &pool);
    }
    for (uint32_t i = 0; i < n && i < cap; i++) {
        vs_pool_offer(&pool, back[i].hit);
    }
    st = st == VS_OK ? vs_prune(g, hits, &pool.n, cap) : st;
    for (size_t i = 0; st == VS_OK && i < pool.n; i++) {
        out[i] = hits[i].node;
    }
    *n_out = (uint32_t)pool.n;
    return st;
}

static VsStatus merge_group(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    VsBatch *b = ctx;
    VsGroup *group = &b->group[item];
    const VsReverse *back = &b->reverse[group->first];
    uint32_t cap = back->layer == 0 ? g->geo[VS_NODE].n_links : g->geo[VS_UPPER].n_links;
    uint32_t *out = b->merged + item * 2 * g->params.m;
    VsFront list;
    (void)worker;
    VsStatus st = vs_front_all(g, back->target, back->layer, &list);
    if (st == VS_OK && list.n + group->n > cap) {
        return choose_anew(g, back, group->n, cap, &list, out, &group->length);
    }
    if (st == VS_OK) {
        memcpy(out, list.node, list.n * sizeof *out);
        for (uint32_t i = 0; i < group->n; i++) {
            out[list.n + i] = back[i].hit.node;
        }
        group->length = list.n + group->n;
    }
    return st;
}

VsStatus vs_batch_merge(VsBatch *b) {
    VsStatus st = group(b);
    return st == VS_OK ? vs_team_run(&b->team, b->n_groups, 1, merge_group, b) : st;
}
