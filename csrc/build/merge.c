/* The links back to new nodes, grouped by target; see linker.h. Reads only. */
#include "csrc/build/choose.h"
#include "csrc/build/linker.h"

static VsStatus reserve(VsBatch *b, size_t n) {
    const VsAlloc *a = &b->readers.graph->alloc;
    VS_TRY(vs_grow(a, (void **)&b->keys, &b->cap_keys, 2 * n, sizeof *b->keys));
    VS_TRY(vs_grow(a, (void **)&b->back, &b->cap_back, n, sizeof *b->back));
    return vs_grow(a, (void **)&b->group, &b->cap_groups, n, sizeof *b->group);
}

/* Sorts the links back by layer and target. */
static VsStatus group(VsBatch *b) {
    size_t n = b->n_reverse, width = 4 * (size_t)b->readers.graph->params.m;
    VsStatus st = reserve(b, n);
    b->n_groups = 0;
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        const VsReverse *r = &b->reverse[i];
        b->keys[i] = (VsKeyed){(uint64_t)r->layer << 32 | r->target, i};
    }
    const VsKeyed *sorted = st == VS_OK ? vs_sort_keyed(b->keys, b->keys + n, n) : NULL;
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        const VsReverse *r = &b->reverse[sorted[i].item];
        if (i == 0 || sorted[i].key != sorted[i - 1].key) {
            b->group[b->n_groups++] =
                (VsGroup){.target = r->target, .layer = r->layer, .first = i};
        }
        b->group[b->n_groups - 1].n++;
        b->back[i] = r->hit;
    }
    return st == VS_OK ? vs_grow(&b->readers.graph->alloc, (void **)&b->merged,
                                 &b->cap_merged, b->n_groups * width, sizeof *b->merged)
                       : st;
}

/* What a full list may keep of its links: the live ones, nearest first. Those that alone
 * keep an older-to-newer path to their target (graph.h) are marked. */
static VsStatus rank_links(VsGraph *g, uint32_t target, uint32_t layer,
                           const VsFront *list, VsPool *out) {
    for (uint32_t i = 0; i < list->n; i++) {
        const VsNode *v = NULL;
        int needed = 0;
        VS_TRY(vs_node(g, list->node[i], &v));
        if ((v->flags & VS_STATUS_MASK) == VS_LIVE) {
            VS_TRY(vs_link_needed(g, target, layer, list->node[i], &needed));
            vs_pool_offer(
                out, (VsHit){list->order[i], list->node[i] | (needed ? VS_NEEDED : 0)});
        }
    }
    return VS_OK;
}

/* Chooses anew for a target whose list is full. */
static VsStatus choose_anew(VsGraph *g, VsGroup *to, const VsHit *back, uint32_t cap,
                            VsFront *list, uint32_t *out, uint32_t *dropped) {
    VsHit hits[4 * VS_MAX_M];
    VsPool pool = {hits, 0, 4 * VS_MAX_M};
    VsQuery q;
    VS_TRY(vs_query_of_node(g, &g->params.code, to->target, 0, &q));
    VS_TRY(vs_front_score(g, &q, list));
    VS_TRY(rank_links(g, to->target, to->layer, list, &pool));
    for (uint32_t i = 0; i < to->n && i < cap; i++) {
        vs_pool_offer(&pool, back[i]);
    }
    VS_TRY(vs_choose(g, to->target, hits, &pool.n, cap));
    for (size_t i = 0; i < pool.n; i++) {
        out[i] = hits[i].node;
    }
    to->change = vs_list_compare(list->node, list->n, out, (uint32_t)pool.n, dropped);
    return VS_OK;
}

static VsStatus merge_group(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    VsBatch *b = ctx;
    VsGroup *to = &b->group[item];
    VsHit *back = b->back + to->first;
    uint32_t cap = to->layer == 0 ? g->geo[VS_NODE].n_links : g->geo[VS_UPPER].n_links;
    uint32_t *out = b->merged + item * 4 * g->params.m, *dropped = out + 2 * g->params.m;
    VsFront list;
    (void)worker;
    vs_hits_sort(back, to->n);
    VsStatus st = vs_front_all(g, to->target, to->layer, &list);
    if (st == VS_OK && list.n + to->n > cap) {
        st = choose_anew(g, to, back, cap, &list, out, dropped);
    } else if (st == VS_OK) {
        to->change = (VsListChange){.same = list.n, .n_old = list.n, .n = list.n + to->n};
        for (uint32_t i = 0; i < to->n; i++) {
            out[list.n + i] = back[i].node | VS_ADDED;
        }
    }
    return st;
}

VsStatus vs_batch_merge(VsBatch *b) {
    VsStatus st = group(b);
    return st == VS_OK ? vs_readers_run(&b->readers, b->n_groups, 1, merge_group, b) : st;
}
