/* The k nearest by one beam search, or by a scan; see search.h. */
#include "csrc/search/search.h"

#include <string.h>

#include "csrc/search/walk.h"

/* Orders what the walk found by all that the codes know. */
static VsStatus refine(VsGraph *g, const VsQuery *q, VsPool *pool) {
    enum { FRONT = 64 };
    VsFront front;
    for (size_t from = 0; from < pool->n; from += FRONT) {
        size_t n = pool->n - from < FRONT ? pool->n - from : FRONT;
        for (front.n = 0; front.n < n; front.n++) {
            front.node[front.n] = pool->at[from + front.n].node;
        }
        VS_TRY(vs_front_codes(g, &front, 0, 0));
        VS_TRY(vs_full_orders(g, q, front.node, front.code, front.n, front.order));
        for (uint32_t i = 0; i < front.n; i++) {
            pool->at[from + i].order = front.order[i];
        }
    }
    VsPool sorted = {pool->at, 0, pool->n}; /* few move far: faster than sorting anew */
    for (size_t i = 0; i < pool->n; i++) {
        (void)vs_pool_offer(&sorted, pool->at[i]);
    }
    return VS_OK;
}

/* What a walk may return, as it is found. */
typedef struct Results {
    VsHit *hits;
    size_t n, k;
} Results;

static VsStatus keep_result(VsGraph *g, VsHit hit, Results *out) {
    int live = 0;
    VsStatus st = vs_is_live(g, hit.node, &live);
    if (st == VS_OK && live) {
        out->hits[out->n++] = hit;
    }
    return st;
}

/* Puts the copies that a node links to, and that were not seen, to queue[*n..]. */
static VsStatus find_copies(VsGraph *g, VsHit hit, VsHit *queue, size_t *n, size_t cap) {
    VsList list;
    VsStatus st = vs_list(g, hit.node, 0, &list);
    for (uint32_t i = 0; st == VS_OK && i < list.cap && list.links[i] < g->state.n_nodes;
         i++) {
        int same = 0;
        if (*n < cap && !vs_is_visited(g->scratch, list.links[i])) {
            st = vs_same_code(g, hit.node, list.links[i], &same);
            if (same) {
                (void)vs_visit(g->scratch, list.links[i]);
                queue[(*n)++] = (VsHit){hit.order, list.links[i]};
            }
        }
    }
    return st;
}

/* Keeps the hits and behind each its copies, those that wait behind the pool and those
 * that they lead to. queue: room for `cap`. */
static VsStatus keep_with_copies(VsGraph *g, const VsPool *pool, VsHit *queue, size_t cap,
                                 Results *out) {
    vs_forget_visits(g->scratch);
    for (size_t i = 0; i < pool->n; i++) {
        (void)vs_visit(g->scratch, pool->at[i].node);
    }
    for (size_t i = 0; i < pool->n && out->n < out->k; i++) {
        size_t n = 0;
        VS_TRY(keep_result(g, pool->at[i], out));
        VS_TRY(find_copies(g, pool->at[i], queue, &n, cap));
        for (size_t at = 0; at < n && out->n < out->k; at++) {
            VS_TRY(keep_result(g, queue[at], out));
            VS_TRY(find_copies(g, queue[at], queue, &n, cap));
        }
    }
    return VS_OK;
}

/* Keeps what may be returned: the first k live ones. */
static VsStatus keep_results(VsGraph *g, const VsQuery *q, VsPool *pool, size_t k,
                             VsHit *hits, size_t *n) {
    size_t n_copies = g->scratch->n_copies, cap = pool->cap;
    Results out = {hits, 0, k};
    VsStatus st = VS_OK;
    vs_pool_uncheck(pool);
    vs_pool_add_copies(g, pool);
    if (q->full != q->score) {
        st = refine(g, q, pool);
    } else if (n_copies > 0) {
        vs_hits_sort(pool->at, pool->n);
    }
    if (st == VS_OK && n_copies > 0) {
        st = keep_with_copies(g, pool, pool->at + 2 * cap + 1, cap, &out);
    }
    for (size_t i = 0; st == VS_OK && n_copies == 0 && i < pool->n && out.n < k; i++) {
        st = keep_result(g, pool->at[i], &out);
    }
    *n = out.n;
    return st;
}

/* One beam search of layer 0 with a pool of `beam`. */
static VsStatus beam_search(VsGraph *g, const VsQuery *q, size_t k, size_t beam,
                            uint64_t budget, VsHit *hits, size_t *n, int *finished) {
    const uint32_t *roots = NULL;
    size_t n_roots = 0;
    uint32_t entry = VS_NIL;
    VsStatus st = vs_walk_reserve(g, beam);
    VsPool pool = {g->scratch->pool, 0, beam};
    if (st == VS_OK) {
        st = vs_descend(g, q, 0, &entry);
    }
    if (st == VS_OK) {
        st = vs_roots(g, &roots, &n_roots);
    }
    if (st == VS_OK) {
        st = vs_pool_offer_entries(g, q, &entry, 1, &pool);
    }
    if (st == VS_OK) {
        st = vs_pool_offer_entries(g, q, roots, n_roots, &pool);
    }
    if (st == VS_OK) {
        st = vs_walk(g, q, 0, &pool, budget, finished);
    }
    st = st == VS_OK ? keep_results(g, q, &pool, k, hits, n) : st;
    vs_forget_visits(g->scratch);
    return st;
}

/* Tombstones take places in the pool: make it that much longer. */
static double beam_of(const VsGraph *g, size_t k, size_t ef) {
    double live = g->state.n_live, inflate = (live + (double)g->state.n_dead) / live;
    return (double)(ef > k ? ef : k) * inflate;
}

size_t vs_search_room(const VsGraph *g, size_t k, size_t ef) {
    return g->state.n_live == 0 ? 1 : (size_t)beam_of(g, k, ef) + 1;
}

int vs_search_scans(const VsGraph *g, size_t k, size_t ef, size_t codes) {
    uint32_t live = g->state.n_live;
    return g->params.kind == VS_FLAT || live == 0 ||
           beam_of(g, k < live ? k : live, ef) * VS_SCAN_FACTOR >= (double)codes;
}

VsStatus vs_search(VsGraph *g, const VsQuery *q, size_t k, size_t ef, VsHit *hits,
                   size_t *n) {
    uint32_t live = g->state.n_live;
    size_t want = k < live ? k : live;
    if (want == 0) {
        *n = 0;
        return VS_OK;
    }
    /* When the pool would hold a good part of the table, or the walk would look at as
     * many codes as there are rows, the scan is as fast and exact. */
    double beam = beam_of(g, k, ef);
    int finished = 0;
    *n = 0;
    if (g->params.kind == VS_HNSW && beam * 8 < live) {
        VS_TRY(beam_search(g, q, k, (size_t)beam, live, hits, n, &finished));
    }
    return finished && *n >= want ? VS_OK : vs_scan(g, q, k, hits, n);
}
