/* The structural check; what it looks for is listed in validate.h. */
#include "csrc/graph/validate.h"

#include <string.h>

#include "csrc/graph/raw.h"

typedef struct Check {
    VsGraph *g;
    VsFinding *out;
    uint32_t *indeg, *indeg_old; /* recomputed */
    unsigned char *reached;
    uint32_t *queue;
    int interrupted;
} Check;

/* Asked for every node of every pass: 0 when an interrupt ends it. */
static int go_on(Check *c, uint32_t node) {
    c->interrupted |= node % 4096 == 0 && vs_interrupted(c->g);
    return !c->interrupted;
}

const char *vs_flaw_text(VsFlaw flaw) {
    static const char *const text[] = {
        "no flaw",
        "a page is missing or damaged",
        "counters disagree with the nodes",
        "a node has an impossible status",
        "a level does not follow from the rowid",
        "a link leads nowhere, to itself, to a free node, or is there twice",
        "in-link counters disagree with the lists",
        "seed list and in-links disagree",
        "the entry point is wrong",
        "a node cannot be reached",
        "the free list is damaged",
        "raw vectors and nodes disagree",
    };
    return (size_t)flaw < sizeof text / sizeof *text ? text[flaw] : "unknown flaw";
}

static int flaw(Check *c, VsFlaw what, uint32_t node) {
    if (c->out->flaw == VS_FLAW_NONE) {
        *c->out = (VsFinding){.flaw = what, .node = node};
    }
    return 0;
}

/* Loads every page; damage is a finding, not a failure. *sound 0: some page is damaged.
 */
static VsStatus check_pages(Check *c, int *sound) {
    VsGraph *g = c->g;
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        VsPageKind kind = (VsPageKind)k;
        uint32_t used = vs_slots_used(&g->state, kind), per = g->geo[kind].per_page;
        uint32_t n_pages = used / per + (used % per != 0);
        for (uint32_t page = 0; page < n_pages; page++) {
            VsStatus st = vs_page_touch(g, kind, page);
            if (st == VS_OK) {
                st = vs_page_judge(g, kind, page, vs_table_get(&g->table[kind], page));
            }
            if (st == VS_CORRUPT) {
                *c->out = (VsFinding){VS_FLAW_PAGE, kind, page, VS_NIL};
                *sound = 0;
                return VS_OK;
            }
            if (st != VS_OK) {
                return st;
            }
            if (page % 256 == 0 && vs_interrupted(g)) {
                return VS_INTERRUPT;
            }
        }
    }
    *sound = 1;
    return VS_OK;
}

static const VsNode *node_at(const Check *c, uint32_t node) {
    return (const VsNode *)(const void *)vs_slot_loaded(c->g, VS_NODE, node);
}

static uint32_t status_of(const VsNode *n) {
    return n->flags & VS_STATUS_MASK;
}

static int check_counts(Check *c) {
    const VsState *s = &c->g->state;
    uint32_t count[4] = {0}, roots = 0;
    for (uint32_t u = 0; u < s->n_nodes; u++) {
        const VsNode *n = node_at(c, u);
        uint32_t status = status_of(n);
        if (!go_on(c, u)) {
            return 0;
        }
        count[status]++;
        roots += (n->flags & VS_IS_ROOT) != 0;
        if (status == 0 || (status != VS_FREE && n->seq >= s->next_seq)) {
            return flaw(c, VS_FLAW_STATUS, u);
        }
        if (status == VS_LIVE && n->level != vs_level_of(&c->g->params, n->rowid)) {
            return flaw(c, VS_FLAW_LEVEL, u);
        }
    }
    if (count[VS_LIVE] != s->n_live || count[VS_DEAD] != s->n_dead ||
        roots != s->n_roots) {
        return flaw(c, VS_FLAW_COUNT, VS_NIL);
    }
    uint32_t free_left = count[VS_FREE], u = s->free_head;
    for (; u != VS_NIL && free_left > 0; free_left--) {
        if (u >= s->n_nodes || status_of(node_at(c, u)) != VS_FREE) {
            return flaw(c, VS_FLAW_FREE_LIST, u);
        }
        u = node_at(c, u)->upper;
    }
    return u == VS_NIL && free_left == 0 ? 1 : flaw(c, VS_FLAW_FREE_LIST, u);
}

/* Every RAW slot belongs to a node that knows it, or is free. */
static int check_raw(Check *c) {
    VsGraph *g = c->g;
    const VsState *s = &g->state;
    uint32_t used = 0, left = s->n_raw - s->raw_rows, next = s->raw_free;
    for (uint32_t i = 0; i < s->n_raw; i++) {
        uint32_t owner = vs_get_u32(vs_slot_loaded(g, VS_RAW, i));
        if (!go_on(c, i)) {
            return 0;
        }
        if ((owner & VS_RAW_FREE) == 0) {
            used++;
            if (owner >= s->n_nodes || status_of(node_at(c, owner)) == VS_FREE ||
                vs_get_u32(vs_slot_loaded(g, VS_RAW_AT, owner)) != i + 1) {
                return flaw(c, VS_FLAW_RAW, owner);
            }
        }
    }
    for (; next != VS_NIL && left > 0; left--) {
        uint32_t head = next < s->n_raw ? vs_get_u32(vs_slot_loaded(g, VS_RAW, next)) : 0;
        if ((head & VS_RAW_FREE) == 0) {
            return flaw(c, VS_FLAW_RAW, VS_NIL);
        }
        head &= ~VS_RAW_FREE;
        next = head == VS_RAW_NONE ? VS_NIL : head;
    }
    return used == s->raw_rows && left == 0 && next == VS_NIL
               ? 1
               : flaw(c, VS_FLAW_RAW, VS_NIL);
}

/* One list: targets sane and distinct; counts what they add to the in-links. */
static int check_list(Check *c, uint32_t node, uint32_t layer, const VsList *list) {
    const VsNode *from = node_at(c, node);
    for (uint32_t i = 0; i < list->cap && list->links[i] != VS_NIL; i++) {
        uint32_t v = list->links[i];
        const VsNode *to = v < c->g->state.n_nodes ? node_at(c, v) : NULL;
        if (to == NULL || v == node || status_of(to) == VS_FREE || to->level < layer) {
            return flaw(c, VS_FLAW_LINK, node);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (list->links[j] == v) {
                return flaw(c, VS_FLAW_LINK, node);
            }
        }
        c->indeg[v]++;
        c->indeg_old[v] += layer == 0 && status_of(from) == VS_LIVE &&
                           status_of(to) == VS_LIVE && from->seq < to->seq;
    }
    return 1;
}

static int check_links(Check *c) {
    VsGraph *g = c->g;
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        const VsNode *n = node_at(c, u);
        if (!go_on(c, u)) {
            return 0;
        }
        for (uint32_t layer = 0; status_of(n) != VS_FREE && layer <= n->level; layer++) {
            VsList list;
            if (vs_list(g, u, layer, &list) != VS_OK) {
                return flaw(c, VS_FLAW_LINK, u);
            }
            if (!check_list(c, u, layer, &list)) {
                return 0;
            }
        }
    }
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        const VsNode *n = node_at(c, u);
        if (status_of(n) != VS_FREE &&
            (n->indeg != c->indeg[u] || n->indeg_old != c->indeg_old[u])) {
            return flaw(c, VS_FLAW_INDEG, u);
        }
        if (g->params.kind == VS_HNSW && (status_of(n) == VS_LIVE && n->indeg_old == 0) !=
                                             ((n->flags & VS_IS_ROOT) != 0)) {
            return flaw(c, VS_FLAW_ROOT, u);
        }
    }
    return 1;
}

static uint32_t reach(Check *c, uint32_t node, uint32_t n_queue) {
    if (!c->reached[node]) {
        c->reached[node] = 1;
        c->queue[n_queue++] = node;
    }
    return n_queue;
}

/* Breadth first over layer 0 from the roots, through live nodes only: what the invariant
 * says. */
static int check_reach(Check *c) {
    VsGraph *g = c->g;
    uint32_t n_queue = 0;
    for (uint32_t i = 0; i < g->state.n_roots; i++) {
        uint32_t seed = vs_get_u32(vs_slot_loaded(g, VS_ROOT, i));
        if ((node_at(c, seed)->flags & VS_IS_ROOT) == 0 || c->reached[seed]) {
            return flaw(c, VS_FLAW_ROOT, seed);
        }
        n_queue = reach(c, seed, n_queue);
    }
    for (uint32_t i = 0; i < n_queue; i++) {
        VsList list;
        if (!go_on(c, i)) {
            return 0;
        }
        (void)vs_list(g, c->queue[i], 0, &list);
        for (uint32_t j = 0; j < list.cap && list.links[j] != VS_NIL; j++) {
            if (status_of(node_at(c, list.links[j])) == VS_LIVE) {
                n_queue = reach(c, list.links[j], n_queue);
            }
        }
    }
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        if (status_of(node_at(c, u)) == VS_LIVE && !c->reached[u]) {
            return flaw(c, VS_FLAW_UNREACHABLE, u);
        }
    }
    uint32_t entry = g->state.entry;
    int right = g->state.n_live == 0 ? entry == VS_NIL
                                     : entry < g->state.n_nodes &&
                                           status_of(node_at(c, entry)) == VS_LIVE &&
                                           node_at(c, entry)->level == g->state.max_level;
    return right ? 1 : flaw(c, VS_FLAW_ENTRY, entry);
}

static VsStatus check_graph(Check *c) {
    const VsAlloc *a = &c->g->alloc;
    size_t n = c->g->state.n_nodes;
    VsStatus st = VS_NOMEM;
    c->indeg = vs_alloc_zero(a, n, sizeof *c->indeg);
    c->indeg_old = vs_alloc_zero(a, n, sizeof *c->indeg_old);
    c->reached = vs_alloc_zero(a, n, 1);
    c->queue = vs_alloc(a, n, sizeof *c->queue);
    if (c->indeg != NULL && c->indeg_old != NULL && c->reached != NULL &&
        c->queue != NULL) {
        if (check_counts(c) && check_raw(c) && check_links(c) &&
            c->g->params.kind == VS_HNSW) {
            (void)check_reach(c);
        }
        st = c->interrupted ? VS_INTERRUPT : VS_OK;
    }
    vs_free(a, c->indeg);
    vs_free(a, c->indeg_old);
    vs_free(a, c->reached);
    vs_free(a, c->queue);
    return st;
}

VsStatus vs_validate(VsGraph *g, VsFinding *out) {
    Check c = {.g = g, .out = out};
    int sound = 0;
    *out = (VsFinding){.flaw = VS_FLAW_NONE, .node = VS_NIL};
    VsStatus st = check_pages(&c, &sound); /* first: a false count must not cost memory */
    return st == VS_OK && sound ? check_graph(&c) : st;
}
