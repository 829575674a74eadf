/* The steps of a walk, the walk of one layer and the greedy descent; see walk.h. */
#include "csrc/search/walk.h"

#include "csrc/base/assert.h"

/* A pool of ef and the place behind it; copies that wait; copies that these lead to. */
#define POOL_ROOM(ef) (3 * (ef) + 1)

VsStatus vs_walk_reserve(VsGraph *g, size_t ef) {
    VsScratch *s = g->scratch;
    size_t words = (size_t)g->state.n_nodes / 64 + 1, had = s->cap_visited;
    VsStatus st = vs_grow(&g->alloc, (void **)&s->visited, &s->cap_visited, words, 8);
    if (st == VS_OK) {
        memset(s->visited + had, 0, (s->cap_visited - had) * 8);
        /* one more: a walk writes the next before it knows whether it is one */
        st = vs_grow(&g->alloc, (void **)&s->touched, &s->cap_touched, s->cap_visited + 1,
                     4);
    }
    if (st == VS_OK) {
        st = vs_grow(&g->alloc, (void **)&s->pool, &s->cap_pool, POOL_ROOM(ef),
                     sizeof *s->pool);
    }
    return st;
}

void vs_forget_visits(VsScratch *s) {
    for (size_t i = 0; i < s->n_touched; i++) {
        s->visited[s->touched[i]] = 0;
    }
    s->n_touched = 0;
}

VsStatus vs_is_live(VsGraph *g, uint32_t node, int *live) {
    const VsNode *n = NULL;
    VsStatus st = vs_node(g, node, &n);
    if (st == VS_OK) {
        *live = (n->flags & VS_STATUS_MASK) == VS_LIVE;
    }
    return st;
}

VsStatus vs_front_codes(VsGraph *g, VsFront *front, uint32_t from, uint32_t fetch) {
    for (uint32_t i = from; i < front->n; i++) {
        front->code[i] = vs_slot_loaded(g, VS_CODE, front->node[i]);
        if (front->code[i] == NULL) {
            VsStatus st = vs_slot(g, VS_CODE, front->node[i], &front->code[i]);
            if (st != VS_OK) {
                return st;
            }
        }
        vs_prefetch_code_far(front->code[i], fetch);
    }
    return VS_OK;
}

/* The links that this walk has not seen, seen from now on. No branch depends on which ones
 * those are: it is random. */
static uint32_t take_unseen(VsScratch *s, const uint32_t *links, uint32_t n_links,
                            uint32_t n_nodes, uint32_t *out) {
    uint64_t *visited = s->visited;
    uint32_t *touched = s->touched;
    size_t n_touched = s->n_touched;
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_links && links[i] < n_nodes; i++) {
        uint32_t node = links[i], at = node >> 6;
        uint64_t word = visited[at], bit = (uint64_t)1 << (node & 63);
        touched[n_touched] = at;
        n_touched += word == 0;
        visited[at] = word | bit;
        out[n] = node;
        n += (word & bit) == 0;
    }
    s->n_touched = n_touched;
    return n;
}

VsStatus vs_front_unseen(VsGraph *g, const VsQuery *q, uint32_t node, uint32_t layer,
                         VsFront *front) {
    VsList list;
    uint32_t from = front->n;
    VsStatus st = vs_list(g, node, layer, &list);
    if (st != VS_OK) {
        return st;
    }
    VS_ASSERT(front->n + list.cap <= VS_FRONT);
    front->n += take_unseen(g->scratch, list.links, list.cap, g->state.n_nodes,
                            front->node + from);
    return vs_front_codes(g, front, from, q->score_bytes);
}

VsStatus vs_front_one(VsGraph *g, uint32_t node, VsFront *out) {
    if (node >= g->state.n_nodes) {
        return VS_CORRUPT;
    }
    out->node[0] = node;
    out->n = !vs_visit(g->scratch, node);
    return vs_front_codes(g, out, 0, 0);
}

VsStatus vs_pool_offer_entries(VsGraph *g, const VsQuery *q, const uint32_t *entries,
                               size_t n, VsPool *pool) {
    VsFront front;
    VsStatus st = VS_OK;
    for (size_t i = 0; st == VS_OK && i < n; i++) {
        st = vs_front_one(g, entries[i], &front);
        if (st == VS_OK) {
            st = vs_front_score(g, q, &front);
        }
        if (st == VS_OK) {
            vs_pool_offer_front(pool, &front);
        }
    }
    return st;
}

/* What a walk waits for most is the list of a node that it expands: fetched when it is
 * chosen. */
static VS_ALWAYS_INLINE void prefetch_list(const VsGraph *g, uint32_t node) {
    const unsigned char *p = vs_slot_loaded(g, VS_NODE, node);
    if (p != NULL) {
        VS_PREFETCH_FAR(p);
        VS_PREFETCH_FAR(p + 64);
        VS_PREFETCH_FAR(p + 128);
    }
}

/* Takes the nearest nodes of the pool that are not expanded yet, from place *next on;
 * returns how many. */
static uint32_t choose(const VsGraph *g, VsPool *pool, uint32_t layer, size_t *next,
                       uint32_t *chosen) {
    uint32_t n = 0;
    for (; *next < pool->n && n < VS_EXPANDED; ++*next) {
        VsHit *hit = &pool->at[*next];
        if ((hit->node & VS_CHECKED) == 0) {
            if (layer == 0) {
                prefetch_list(g, hit->node);
            }
            chosen[n++] = hit->node;
            hit->node |= VS_CHECKED;
        }
    }
    return n;
}

VsStatus vs_same_code(VsGraph *g, uint32_t a, uint32_t b, int *same) {
    const unsigned char *x = NULL, *y = NULL;
    const float *v = NULL, *w = NULL;
    VsStatus st = vs_slot(g, VS_CODE, a, &x);
    st = st == VS_OK ? vs_slot(g, VS_CODE, b, &y) : st;
    *same = st == VS_OK && memcmp(x, y, g->geo[VS_CODE].fixed_size) == 0;
    if (*same && g->state.raw_rows > 0) {
        st = vs_raw(g, a, &v);
        st = st == VS_OK ? vs_raw(g, b, &w) : st;
        *same = st == VS_OK && (v == NULL) == (w == NULL) &&
                (v == NULL || memcmp(v, w, g->params.code.dims * sizeof *v) == 0);
    }
    return st;
}

/* Hits on either side that may be copies. Where more are as near they are mostly none: a code
 * may stand for the zero vector, whose products are all 0. */
#define LOOKED 4

/* 1 if another node of the pool has the code of the one at `place`. */
static VsStatus has_copy(VsGraph *g, const VsPool *pool, size_t place, int *copy) {
    float order = pool->at[place].order;
    uint32_t node = pool->at[place].node;
    size_t first = place > LOOKED ? place - LOOKED : 0;
    VsStatus st = VS_OK;
    *copy = 0;
    for (size_t i = place; st == VS_OK && !*copy && i > first; i--) {
        if (pool->at[i - 1].order != order) {
            break;
        }
        st = vs_same_code(g, node, pool->at[i - 1].node & ~VS_CHECKED, copy);
    }
    for (size_t i = place + 1; st == VS_OK && !*copy && i < pool->n; i++) {
        if (pool->at[i].order != order || i > place + LOOKED) {
            break;
        }
        st = vs_same_code(g, node, pool->at[i].node & ~VS_CHECKED, copy);
    }
    return st;
}

/* Takes the hit at `place` out again if it is a copy; some copies wait behind the pool. */
static VsStatus take_out_copy(VsGraph *g, VsPool *pool, size_t place, int *copy) {
    VsHit hit = pool->at[place];
    VsStatus st = has_copy(g, pool, place, copy);
    if (*copy) {
        pool->n--;
        memmove(pool->at + place, pool->at + place + 1,
                (pool->n - place) * sizeof *pool->at);
        if (g->scratch->n_copies < pool->cap) {
            pool->at[pool->cap + 1 + g->scratch->n_copies++] = hit;
        }
    }
    return st;
}

/* Whether a hit next to the one at `place` is as near. */
static inline int is_tied(const VsPool *pool, size_t place) {
    const VsHit *at = pool->at + place;
    return (place > 0 && at[-1].order == at->order) ||
           (place + 1 < pool->n && at[1].order == at->order);
}

/* Offers a scored front; *foremost: the foremost place that changed, or cap. Of copies
 * (copies.h) the pool takes one. */
static VsStatus offer_front(VsGraph *g, VsPool *pool, const VsFront *front,
                            size_t *foremost) {
    VsHit near[VS_FRONT];
    uint32_t n = vs_front_near(front, pool, near);
    size_t first = pool->cap;
    for (uint32_t i = 0; i < n; i++) {
        size_t place = vs_pool_offer(pool, near[i]);
        if (place < pool->cap && is_tied(pool, place)) {
            int copy = 0;
            VsStatus st = take_out_copy(g, pool, place, &copy);
            if (st != VS_OK) {
                return st;
            }
            place = copy ? pool->cap : place;
        }
        first = place < first ? place : first;
    }
    *foremost = first;
    return VS_OK;
}

VsStatus vs_walk(VsGraph *g, const VsQuery *q, uint32_t layer, VsPool *pool,
                 uint64_t budget, int *finished) {
    uint64_t limit = g->scratch->evaluations + budget;
    uint32_t chosen[VS_EXPANDED], n, rounds = 0;
    size_t next = 0;
    g->scratch->n_copies = 0;
    *finished = 1;
    while ((n = choose(g, pool, layer, &next, chosen)) > 0) {
        VsFront front;
        VsStatus st = VS_OK;
        front.n = 0;
        for (uint32_t i = 0; st == VS_OK && i < n; i++) {
            st = vs_front_unseen(g, q, chosen[i], layer, &front);
        }
        st = st == VS_OK ? vs_front_score(g, q, &front) : st;
        if (st != VS_OK) {
            return st;
        }
        size_t foremost;
        st = offer_front(g, pool, &front, &foremost);
        if (st != VS_OK) {
            return st;
        }
        next = foremost < next ? foremost : next;
        if (++rounds % VS_POLL_EVERY == 0 && vs_interrupted(g)) {
            return VS_INTERRUPT;
        }
        if (g->scratch->evaluations >= limit) {
            *finished = 0;
            return VS_OK;
        }
    }
    return VS_OK;
}

void vs_pool_uncheck(VsPool *pool) {
    for (size_t i = 0; i < pool->n; i++) {
        pool->at[i].node &= ~VS_CHECKED;
    }
}

void vs_pool_add_copies(VsGraph *g, VsPool *pool) {
    size_t n = g->scratch->n_copies;
    memmove(pool->at + pool->n, pool->at + pool->cap + 1, n * sizeof *pool->at);
    pool->n += n;
}

VsStatus vs_search_layer(VsGraph *g, const VsQuery *q, uint32_t layer,
                         const uint32_t *entries, size_t n_entries, size_t ef,
                         VsHit *hits, size_t *n) {
    int finished;
    VsStatus st = vs_walk_reserve(g, ef);
    VsPool pool = {g->scratch->pool, 0, ef};
    if (st == VS_OK) {
        st = vs_pool_offer_entries(g, q, entries, n_entries, &pool);
    }
    if (st == VS_OK) {
        st = vs_walk(g, q, layer, &pool, UINT64_MAX / 2, &finished);
    }
    vs_forget_visits(g->scratch);
    if (st == VS_OK) {
        vs_pool_uncheck(&pool);
        memcpy(hits, pool.at, pool.n * sizeof *hits);
        *n = pool.n;
        vs_pool_add_copies(g, &pool);
        if (g->scratch->n_copies > 0) {
            vs_hits_sort(pool.at, pool.n);
        }
        g->scratch->n_met = pool.n;
    }
    return st;
}

VsStatus vs_front_all(VsGraph *g, uint32_t node, uint32_t layer, VsFront *out) {
    VsList list;
    VsStatus st = vs_list(g, node, layer, &list);
    if (st != VS_OK) {
        return st;
    }
    uint32_t n = 0;
    while (n < list.cap && list.links[n] < g->state.n_nodes) {
        out->node[n] = list.links[n];
        n++;
    }
    out->n = n;
    return vs_front_codes(g, out, 0, 0);
}

VsStatus vs_descend(VsGraph *g, const VsQuery *q, uint32_t layer, uint32_t *entry) {
    uint32_t best = g->state.entry;
    float order;
    VsFront front;
    VsStatus st = vs_order(g, q, best, &order);
    for (uint32_t l = g->state.max_level; st == VS_OK && l > layer; l--) {
        for (int moved = 1; st == VS_OK && moved;) {
            moved = 0;
            st = vs_front_all(g, best, l, &front);
            if (st == VS_OK) {
                st = vs_front_score(g, q, &front);
            }
            for (uint32_t i = 0; st == VS_OK && i < front.n; i++) {
                if (front.order[i] < order) {
                    order = front.order[i];
                    best = front.node[i];
                    moved = 1;
                }
            }
        }
    }
    if (st == VS_OK) {
        *entry = best;
    }
    return st;
}

VsStatus vs_roots(VsGraph *g, const uint32_t **out, size_t *n) {
    VsScratch *s = g->scratch;
    VsStatus st = vs_grow(&g->alloc, (void **)&s->roots, &s->cap_roots,
                          (size_t)g->state.n_roots + 1, 4);
    for (uint32_t i = 0; st == VS_OK && i < g->state.n_roots; i++) {
        const unsigned char *p = NULL;
        st = vs_slot(g, VS_ROOT, i, &p);
        if (st == VS_OK) {
            s->roots[i] = vs_get_u32(p);
        }
    }
    if (st == VS_OK) {
        *out = s->roots;
        *n = g->state.n_roots;
    }
    return st;
}
