/* Linking pending rows in batches; contracts in pending.h, the steps in linker.h. */
#include "csrc/build/pending.h"

#include <stddef.h>
#include <string.h>

#include "csrc/base/assert.h"
#include "csrc/build/choose.h"
#include "csrc/build/copies.h"
#include "csrc/build/linker.h"
#include "csrc/build/links.h"
#include "csrc/base/sort.h"
#include "csrc/base/hash.h"

/* A batch has at most this share of the linked nodes (ParlayANN's 2 %), and at most so
 * many nodes, which bounds its memory and the time between two calls of progress. */
#define BATCH_SHARE 50
#define BATCH_MAX 4096

/* Rows wait until they are an eighth of the table; a search scans them all. */
#define DUE_SHARE 8
#define DUE_MIN 1024
#define DUE_MAX 16384

/* Fewer rows than this are linked by one thread: threads need every page in memory. */
#define READERS_ROWS 512

int vs_pending_due(const VsGraph *g) {
    uint32_t due = g->state.n_live / DUE_SHARE;
    due = due < DUE_MIN ? DUE_MIN : due > DUE_MAX ? DUE_MAX : due;
    return g->params.kind == VS_HNSW && g->state.n_roots >= due;
}

/* ---- roots: pending rows stand at the end of the list ---------------------------- */

static VsStatus is_pending(VsGraph *g, uint32_t node, int *out) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    *out = (n->flags & VS_PENDING) != 0;
    return VS_OK;
}

static VsStatus root_at(VsGraph *g, uint32_t i, uint32_t *node) {
    const unsigned char *p = NULL;
    VS_TRY(vs_slot(g, VS_ROOT, i, &p));
    *node = vs_get_u32(p);
    return VS_OK;
}

VsStatus vs_any_pending(VsGraph *g, int *out) {
    uint32_t last = VS_NIL;
    *out = 0;
    if (g->params.kind != VS_HNSW || g->state.n_roots == 0) {
        return VS_OK;
    }
    VsStatus st = root_at(g, g->state.n_roots - 1, &last);
    return st == VS_OK ? is_pending(g, last, out) : st;
}

static VsStatus put_root(VsGraph *g, uint32_t i, uint32_t node) {
    uint32_t now = VS_NIL;
    VsStatus st = root_at(g, i, &now);
    return st == VS_OK && now != node ? vs_edit(g, VS_ROOT, i, 0, &node, 4) : st;
}

/* Puts the roots that are linked first and the pending ones behind them, in the order of
 * their hashes, which are taken from the end. *n: how many are pending. */
static VsStatus arrange(VsGraph *g, uint32_t *n) {
    uint32_t total = g->state.n_roots, linked = 0, waiting = 0;
    VsKeyed *list = vs_alloc(&g->alloc, 2 * (size_t)total + 1, sizeof *list);
    uint32_t *rest = vs_alloc(&g->alloc, (size_t)total + 1, sizeof *rest);
    VsStatus st = list == NULL || rest == NULL ? VS_NOMEM : VS_OK;
    for (uint32_t i = 0; st == VS_OK && i < total; i++) {
        const VsNode *v = NULL;
        uint32_t node = VS_NIL;
        st = root_at(g, i, &node);
        st = st == VS_OK ? vs_node(g, node, &v) : st;
        if (st == VS_OK && (v->flags & VS_PENDING) != 0) {
            list[waiting++] = (VsKeyed){~vs_mix64(~vs_mix64((uint64_t)v->rowid)), node};
        } else if (st == VS_OK) {
            rest[linked++] = node;
        }
    }
    const VsKeyed *order =
        st == VS_OK ? vs_sort_keyed(list, list + waiting, waiting) : NULL;
    for (uint32_t i = 0; st == VS_OK && i < total; i++) {
        st = put_root(g, i, i < linked ? rest[i] : order[i - linked].item);
    }
    *n = waiting;
    vs_free(&g->alloc, list);
    vs_free(&g->alloc, rest);
    return st;
}

/* A batch can leave linked roots behind the pending ones: they change places with the
 * first of those. */
static VsStatus rearrange(VsGraph *g) {
    uint32_t from = 0, to = g->state.n_roots;
    for (;;) {
        uint32_t a = VS_NIL, b = VS_NIL;
        int pending = 0;
        for (; from < to && !pending; from += !pending) {
            VS_TRY(root_at(g, from, &a));
            VS_TRY(is_pending(g, a, &pending));
        }
        for (; from < to && pending; to -= pending != 0) {
            VS_TRY(root_at(g, to - 1, &b));
            VS_TRY(is_pending(g, b, &pending));
        }
        if (from >= to) {
            return VS_OK;
        }
        VS_TRY(put_root(g, from, b));
        VS_TRY(put_root(g, to - 1, a));
    }
}

/* ---- one batch ------------------------------------------------------------------- */

static void batch_free(VsBatch *b) {
    const VsAlloc *a = &b->readers.graph->alloc;
    vs_free(a, b->newcomer);
    vs_free(a, b->links);
    vs_free(a, b->length);
    vs_free(a, b->reverse);
    vs_free(a, b->back);
    vs_free(a, b->group);
    vs_free(a, b->merged);
    vs_free(a, b->keys);
    vs_free(a, b->candidates);
    vs_readers_close(&b->readers);
}

static VsStatus batch_open(VsGraph *g, unsigned threads, VsBatch *b) {
    memset(b, 0, sizeof *b);
    b->root_changes = g->root_changes;
    VS_TRY(vs_readers_open(g, threads, &b->readers));
    b->candidates = vs_alloc(&g->alloc, (size_t)b->readers.n * g->params.ef_construction,
                             sizeof(VsHit));
    return b->candidates == NULL ? VS_NOMEM : VS_OK;
}

/* Takes up to n pending rows from the end of the roots. A row that rises above the top
 * layer is a batch by itself: whoever comes next must see it there. */
static VsStatus take_batch(VsBatch *b, uint32_t n) {
    VsGraph *g = b->readers.graph;
    b->n = 0;
    b->n_lists = 0;
    VS_TRY(vs_grow(&g->alloc, (void **)&b->newcomer, &b->cap, n, sizeof *b->newcomer));
    while (b->n < n) {
        const VsNode *v = NULL;
        uint32_t node = VS_NIL;
        VS_TRY(root_at(g, g->state.n_roots - 1 - (uint32_t)b->n, &node));
        VS_TRY(vs_node(g, node, &v));
        if ((v->flags & (VS_PENDING | VS_IS_ROOT)) != (VS_PENDING | VS_IS_ROOT)) {
            return VS_CORRUPT;
        }
        if (v->level > g->state.max_level && b->n > 0) {
            break;
        }
        b->newcomer[b->n++] =
            (VsNewcomer){.node = node, .level = v->level, .first = b->n_lists};
        b->n_lists += v->level + 1u;
        n = v->level > g->state.max_level ? 1 : n;
    }
    VS_TRY(vs_grow(&g->alloc, (void **)&b->links, &b->cap_links,
                   (size_t)b->n_lists * g->params.m, sizeof *b->links));
    return vs_grow(&g->alloc, (void **)&b->length, &b->cap_length, b->n_lists,
                   sizeof *b->length);
}

/* The newcomers are no roots any more, and get their ages: in the order of linking, so
 * that those who are linked first may be what leads to the others. One that comes alone
 * has its age, unless the entry point is younger (settle_entry). */
static VsStatus admit(VsBatch *b, int in_order) {
    VsGraph *g = b->readers.graph;
    VsStatus st = VS_OK;
    VS_ASSERT(g->state.n_roots >= b->n);
    g->state.n_roots -= (uint32_t)b->n;
    for (size_t i = 0; st == VS_OK && i < b->n; i++) {
        const VsNode *v = NULL;
        uint8_t flags = VS_LIVE;
        uint32_t node = b->newcomer[i].node;
        st = vs_edit(g, VS_NODE, node, offsetof(VsNode, flags), &flags, 1);
        st = st == VS_OK ? vs_node(g, node, &v) : st;
        if (st == VS_OK && (!in_order || v->seq + 1 != g->state.next_seq)) {
            if (g->state.next_seq == UINT32_MAX) {
                return VS_RANGE;
            }
            st = vs_edit(g, VS_NODE, node, offsetof(VsNode, seq), &g->state.next_seq, 4);
            g->state.next_seq++;
        }
    }
    return st;
}

static VsStatus offer_back(VsBatch *b, uint32_t target, uint32_t layer, VsHit hit) {
    VS_TRY(vs_grow(&b->readers.graph->alloc, (void **)&b->reverse, &b->cap_reverse,
                   b->n_reverse + 1, sizeof *b->reverse));
    b->reverse[b->n_reverse++] = (VsReverse){target, layer, hit};
    return VS_OK;
}

/* Writes one list of a newcomer, and notes the links back. One that stands behind copies
 * (`before`, or VS_NIL) links back to that one, and nobody else links to it. */
static VsStatus write_list(VsBatch *b, const VsNewcomer *x, uint32_t layer,
                           uint32_t before) {
    VsGraph *g = b->readers.graph;
    const VsHit *links = b->links + (size_t)(x->first + layer) * g->params.m;
    uint32_t targets[VS_MAX_M], n = 0, node = x->node, most = VS_MAX_M;
    VsList list;
    if (before != VS_NIL && layer == 0) {
        most = VS_COPY_LINKS;
        targets[n++] = before;
        VS_TRY(vs_count_links(g, before, 1, 0));
    }
    for (uint32_t i = 0; i < b->length[x->first + layer] && n < most; i++) {
        const VsNode *v = NULL;
        VS_TRY(vs_node(g, links[i].node, &v));
        if (v->indeg < VS_MAX_INDEG &&
            (before == VS_NIL || (links[i].node != before && links[i].node != x->twin))) {
            targets[n++] = links[i].node;
            VS_TRY(vs_count_links(g, links[i].node, 1, 0)); /* newer to older */
            if (before == VS_NIL) {
                VsHit back = {links[i].order, node};
                VS_TRY(offer_back(b, links[i].node, layer, back));
            }
        }
    }
    if (n == 0) {
        return VS_OK;
    }
    VS_TRY(vs_list(g, node, layer, &list));
    return vs_edit(g, list.kind, list.slot, list.offset, targets, 4 * n);
}

/* Counters of nodes all over the graph change: memory brings those of the next newcomer
 * while one is written. */
static void prefetch_newcomer(const VsBatch *b, const VsNewcomer *x) {
    const VsGraph *g = b->readers.graph;
    const VsHit *links = b->links + (size_t)x->first * g->params.m;
    vs_prefetch_node(g, x->node, g->geo[VS_NODE].slot_size);
    for (uint32_t i = 0; i < b->length[x->first]; i++) {
        vs_prefetch_node(g, links[i].node, VS_NODE_STORED);
    }
}

static VsStatus write_newcomers(VsBatch *b) {
    VsGraph *g = b->readers.graph;
    VsStatus st = VS_OK;
    b->n_reverse = 0;
    for (size_t i = 0; st == VS_OK && i < b->n; i++) {
        const VsNewcomer *x = &b->newcomer[i];
        if (i + 1 < b->n) {
            prefetch_newcomer(b, x + 1);
        }
        uint32_t before = VS_NIL;
        st = x->twin != VS_NIL ? vs_copies_append(g, x->node, x->twin, &before) : VS_OK;
        for (uint32_t layer = 0; st == VS_OK && layer <= x->level; layer++) {
            st = write_list(b, x, layer, before);
        }
    }
    return st;
}

/* The new list of a group. What it loses comes 2 m further on. */
static const uint32_t *merged_of(const VsBatch *b, size_t i) {
    return b->merged + i * 4 * b->readers.graph->params.m;
}

static void prefetch_group(const VsBatch *b, size_t i) {
    const VsGraph *g = b->readers.graph;
    const VsGroup *to = &b->group[i];
    const uint32_t *links = merged_of(b, i), *dropped = links + 2 * g->params.m;
    vs_prefetch_node(g, to->target, g->geo[VS_NODE].slot_size);
    for (uint32_t j = to->change.same; j < to->change.n; j++) {
        if ((links[j] & VS_ADDED) != 0) {
            vs_prefetch_node(g, links[j] & ~VS_ADDED, VS_NODE_STORED);
        }
    }
    for (uint32_t j = 0; j < to->change.n_dropped; j++) {
        vs_prefetch_node(g, dropped[j], VS_NODE_STORED);
    }
}

#define GROUPS_AHEAD 8

static VsStatus write_targets(VsBatch *b) {
    VsGraph *g = b->readers.graph;
    for (size_t i = 0; i < b->n_groups; i++) {
        const VsGroup *to = &b->group[i];
        const uint32_t *links = merged_of(b, i);
        if (i + GROUPS_AHEAD < b->n_groups) {
            prefetch_group(b, i + GROUPS_AHEAD);
        }
        VS_TRY(vs_list_change(g, to->target, to->layer, &to->change, links,
                              links + 2 * g->params.m));
    }
    return VS_OK;
}

/* Two targets may have dropped the same node, each because the other kept it: those who
 * became roots that way ask their neighbours for a link. */
static VsStatus rescue_dropped(VsGraph *g, uint32_t n_before) {
    uint32_t n = g->state.n_roots - n_before;
    uint32_t *node = vs_alloc(&g->alloc, (size_t)n + 1, sizeof *node);
    VsStatus st = node == NULL ? VS_NOMEM : VS_OK;
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        st = root_at(g, n_before + i, &node[i]);
    }
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        VsHit near[2 * VS_MAX_M];
        uint32_t links[2 * VS_MAX_M];
        size_t n_near = 0;
        VsList list;
        st = vs_list(g, node[i], 0, &list);
        if (st == VS_OK) {
            uint32_t length = vs_list_length(&list);
            memcpy(links, list.links, length * sizeof *links);
            st = vs_rank(g, node[i], links, length, near, &n_near);
        }
        st = st == VS_OK ? vs_rescue(g, node[i], near, n_near) : st;
    }
    vs_free(&g->alloc, node);
    return st;
}

/* Every newcomer must have an older in-link or be a root. */
static VsStatus make_reachable(VsGraph *g, const VsNewcomer *x) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, x->node, &n));
    if (n->indeg_old == 0) {
        VS_TRY(vs_rescue(g, x->node, x->near, x->n_near));
        VS_TRY(vs_node(g, x->node, &n));
        if (n->indeg_old == 0) {
            VS_TRY(vs_root_add(g, x->node));
        }
    }
    if (x->level > g->state.max_level) {
        g->state.entry = x->node;
        g->state.max_level = x->level;
    }
    return VS_OK;
}

static VsStatus link_batch(VsBatch *b, uint32_t n, int in_order) {
    VsGraph *g = b->readers.graph;
    VS_TRY(take_batch(b, n));
    VS_TRY(admit(b, in_order));
    uint32_t n_roots = g->state.n_roots;
    VS_TRY(vs_batch_plan(b));
    VS_TRY(vs_batch_sharpen(b));
    VS_TRY(vs_copies_confirm(b));
    VS_TRY(write_newcomers(b));
    VS_TRY(vs_batch_merge(b));
    VS_TRY(write_targets(b));
    if (g->state.n_roots > n_roots) {
        VS_TRY(rescue_dropped(g, n_roots));
    }
    for (size_t i = 0; i < b->n; i++) {
        VS_TRY(make_reachable(g, &b->newcomer[i]));
    }
    return VS_OK;
}

/* ---- all of them ------------------------------------------------------------------ */

static uint32_t batch_size(const VsGraph *g, uint32_t done, uint32_t left) {
    uint32_t n = (g->state.n_live - left) / BATCH_SHARE;
    n = n < done ? n : done;
    n = n < BATCH_MAX ? n : BATCH_MAX;
    n = n > 0 ? n : 1;
    return n < left ? n : left;
}

/* A deletion can have made a pending row the entry point: it waits for nothing then. */
static VsStatus settle_entry(VsGraph *g) {
    int pending = 0;
    uint8_t flags = VS_LIVE | VS_IS_ROOT;
    VsStatus st =
        g->state.entry == VS_NIL ? VS_OK : is_pending(g, g->state.entry, &pending);
    return st == VS_OK && pending
               ? vs_edit(g, VS_NODE, g->state.entry, offsetof(VsNode, flags), &flags, 1)
               : st;
}

static VsStatus link_some(VsBatch *b, uint32_t n, int in_order) {
    VsGraph *g = b->readers.graph;
    VsStatus st = VS_OK;
    vs_begin(g);
    if (b->root_changes != g->root_changes) {
        st = rearrange(g);
        b->root_changes = g->root_changes;
    }
    st = st == VS_OK ? link_batch(b, n, in_order) : st;
    if (st == VS_OK) {
        vs_done(g);
    } else {
        vs_undo(g);
    }
    return st;
}

VsStatus vs_link_pending(VsGraph *g, const VsBuild *build) {
    VsBatch b;
    uint32_t total = 0;
    if (g->params.kind != VS_HNSW || g->state.n_roots == 0) {
        return VS_OK;
    }
    vs_begin(g);
    VsStatus st = settle_entry(g);
    st = st == VS_OK ? arrange(g, &total) : st;
    if (st != VS_OK) {
        vs_undo(g);
        return st;
    }
    vs_done(g);
    if (total == 0) {
        return VS_OK;
    }
    st = batch_open(g, total < READERS_ROWS ? 1 : build->threads, &b);
    for (uint32_t done = 0; st == VS_OK && done < total; done += (uint32_t)b.n) {
        st = link_some(&b, batch_size(g, done, total - done), total == 1);
        if (st == VS_OK && build->progress != NULL &&
            build->progress(build->ctx, done + b.n, total) != 0) {
            st = VS_INTERRUPT;
        }
    }
    batch_free(&b);
    return st;
}

VsStatus vs_link_newest(VsGraph *g) {
    VsBatch b;
    VsStatus st = batch_open(g, 1, &b);
    st = st == VS_OK ? link_batch(&b, 1, 1) : st;
    batch_free(&b);
    return st;
}
