/* Beam search, greedy descent and exact scan; see search.h. */
#include "search.h"

#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) ((void)(p))
#endif

#define CHECKED 0x80000000u /* in a pool entry: this node was expanded */
#define LOOKAHEAD 4   /* neighbours whose codes are prefetched before they are needed */
#define POLL_EVERY 64 /* expansions, or pages of a scan, between interrupt polls */

uint64_t vs_evaluations(const VsGraph *g) {
    return g->scratch->evaluations;
}

/* Room for a bit per node (and the node being inserted) and for a pool of ef. */
static VsStatus scratch_reserve(VsGraph *g, size_t ef) {
    VsScratch *s = g->scratch;
    size_t words = (size_t)g->state.n_nodes / 64 + 1, had = s->cap_visited;
    VsStatus st = vs_grow(&g->alloc, (void **)&s->visited, &s->cap_visited, words, 8);
    if (st == VS_OK) {
        memset(s->visited + had, 0, (s->cap_visited - had) * 8);
        st = vs_grow(&g->alloc, (void **)&s->touched, &s->cap_touched, s->cap_visited, 4);
    }
    if (st == VS_OK) {
        st = vs_grow(&g->alloc, (void **)&s->pool, &s->cap_pool, ef + 1, sizeof *s->pool);
    }
    return st;
}

static inline int visit(VsScratch *s, uint32_t node) {
    uint64_t *word = &s->visited[node >> 6], bit = (uint64_t)1 << (node & 63);
    if (*word == 0) {
        s->touched[s->n_touched++] = node >> 6;
    }
    int seen = (*word & bit) != 0;
    *word |= bit;
    return seen;
}

/* Clearing by the list of touched words costs ~1,300 stores instead of a 125 KB memset (1
 * M). */
static void forget_visits(VsScratch *s) {
    for (size_t i = 0; i < s->n_touched; i++) {
        s->visited[s->touched[i]] = 0;
    }
    s->n_touched = 0;
}

/* ---- queries -------------------------------------------------------------------- */

VsStatus vs_query_set(VsGraph *g, const float *v, VsQuery *out) {
    g->codec->prepare(&g->params.code, v, g->scratch->query[0]);
    *out = (VsQuery){&g->params.code, vs_kernels(), g->scratch->query[0]};
    return VS_OK;
}

VsStatus vs_query_of_node(VsGraph *g, uint32_t node, int which, VsQuery *out) {
    const unsigned char *code = NULL;
    VsStatus st = vs_slot(g, VS_CODE, node, &code);
    if (st == VS_OK) {
        unsigned char *data = g->scratch->query[1 + which];
        g->codec->prepare_code(&g->params.code, code, data);
        *out = (VsQuery){&g->params.code, vs_kernels(), data};
    }
    return st;
}

VsStatus vs_order(VsGraph *g, const VsQuery *q, uint32_t node, float *out) {
    const unsigned char *code = NULL;
    VsStatus st = vs_slot(g, VS_CODE, node, &code);
    if (st == VS_OK) {
        *out = g->codec->distance(q, code);
        g->scratch->evaluations++;
    }
    return st;
}

/* ---- the pool ------------------------------------------------------------------- */

static inline int before(VsHit a, VsHit b) {
    return a.order < b.order ||
           (a.order == b.order && (a.node & ~CHECKED) > (b.node & ~CHECKED));
}

typedef struct Pool {
    VsHit *at; /* sorted, nearest first */
    size_t n, cap;
} Pool;

/* Inserts if there is room or the hit beats the last; returns its place, or cap. */
static inline size_t pool_offer(Pool *p, VsHit hit) {
    if (p->n == p->cap) {
        if (p->n == 0 || !before(hit, p->at[p->n - 1])) {
            return p->cap;
        }
        p->n--;
    }
    size_t low = 0, high = p->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (before(p->at[mid], hit)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    memmove(p->at + low + 1, p->at + low, (p->n - low) * sizeof *p->at);
    p->at[low] = hit;
    p->n++;
    return low;
}

/* ---- the walk ------------------------------------------------------------------- */

typedef struct Neighbours {
    uint32_t node[2 * VS_MAX_M];
    const unsigned char *code[2 * VS_MAX_M];
    uint32_t n;
} Neighbours;

static void prefetch_code(const unsigned char *code, size_t size) {
    for (size_t i = 0; i < size && i < 512; i += 64) {
        PREFETCH(code + i);
    }
}

/* The neighbours of a node that this search has not seen, with their codes in memory. */
static VsStatus unseen_neighbours(VsGraph *g, uint32_t node, uint32_t layer,
                                  Neighbours *out) {
    VsList list;
    VsStatus st = vs_list(g, node, layer, &list);
    if (st != VS_OK) {
        return st;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < list.cap && list.links[i] < g->state.n_nodes; i++) {
        out->node[n] = list.links[i];
        n += !visit(g->scratch, list.links[i]);
    }
    out->n = n;
    for (uint32_t i = 0; i < n; i++) {
        out->code[i] = vs_slot_loaded(g, VS_CODE, out->node[i]);
        if (out->code[i] == NULL) {
            st = vs_slot(g, VS_CODE, out->node[i], &out->code[i]);
            if (st != VS_OK) {
                return st;
            }
        }
    }
    return VS_OK;
}

/* Scores the neighbours and offers them; returns the foremost place that changed. */
static size_t score(VsGraph *g, const VsQuery *q, const Neighbours *nb, Pool *pool) {
    size_t size = g->geo[VS_CODE].slot_size, foremost = pool->cap;
    for (uint32_t i = 0; i < nb->n && i < LOOKAHEAD; i++) {
        prefetch_code(nb->code[i], size);
    }
    for (uint32_t i = 0; i < nb->n; i++) {
        if (i + LOOKAHEAD < nb->n) {
            prefetch_code(nb->code[i + LOOKAHEAD], size);
        }
        VsHit hit = {g->codec->distance(q, nb->code[i]), nb->node[i]};
        size_t place = pool_offer(pool, hit);
        if (place < foremost) {
            foremost = place;
        }
    }
    g->scratch->evaluations += nb->n;
    return foremost;
}

static VsStatus offer_entries(VsGraph *g, const VsQuery *q, const uint32_t *entries,
                              size_t n, Pool *pool) {
    for (size_t i = 0; i < n; i++) {
        if (entries[i] >= g->state.n_nodes) {
            return VS_CORRUPT;
        }
        if (!visit(g->scratch, entries[i])) {
            VsHit hit = {0, entries[i]};
            VsStatus st = vs_order(g, q, entries[i], &hit.order);
            if (st != VS_OK) {
                return st;
            }
            pool_offer(pool, hit);
        }
    }
    return VS_OK;
}

/* Expands pool entries, nearest first, until all are expanded. `budget` evaluations at
 * the most: when they are used up *finished is 0. */
static VsStatus walk(VsGraph *g, const VsQuery *q, uint32_t layer, Pool *pool,
                     uint64_t budget, int *finished) {
    uint64_t limit = g->scratch->evaluations + budget;
    size_t next = 0;
    uint32_t expansions = 0;
    *finished = 1;
    while (next < pool->n) {
        if ((pool->at[next].node & CHECKED) != 0) {
            next++;
            continue;
        }
        Neighbours nb;
        uint32_t node = pool->at[next].node;
        pool->at[next].node |= CHECKED;
        VsStatus st = unseen_neighbours(g, node, layer, &nb);
        if (st != VS_OK) {
            return st;
        }
        size_t foremost = score(g, q, &nb, pool);
        next = foremost <= next ? foremost : next + 1;
        if (++expansions % POLL_EVERY == 0 && vs_interrupted(g)) {
            return VS_INTERRUPT;
        }
        if (g->scratch->evaluations >= limit) {
            *finished = 0;
            return VS_OK;
        }
    }
    return VS_OK;
}

static void take_pool(Pool *pool) {
    for (size_t i = 0; i < pool->n; i++) {
        pool->at[i].node &= ~CHECKED;
    }
}

VsStatus vs_search_layer(VsGraph *g, const VsQuery *q, uint32_t layer,
                         const uint32_t *entries, size_t n_entries, size_t ef,
                         VsHit *hits, size_t *n) {
    int finished;
    VsStatus st = scratch_reserve(g, ef);
    Pool pool = {g->scratch->pool, 0, ef};
    if (st == VS_OK) {
        st = offer_entries(g, q, entries, n_entries, &pool);
    }
    if (st == VS_OK) {
        st = walk(g, q, layer, &pool, UINT64_MAX / 2, &finished);
    }
    forget_visits(g->scratch);
    if (st == VS_OK) {
        take_pool(&pool);
        memcpy(hits, pool.at, pool.n * sizeof *hits);
        *n = pool.n;
    }
    return st;
}

VsStatus vs_descend(VsGraph *g, const VsQuery *q, uint32_t layer, uint32_t *entry) {
    uint32_t best = g->state.entry;
    float order;
    VsStatus st = vs_order(g, q, best, &order);
    for (uint32_t l = g->state.max_level; st == VS_OK && l > layer; l--) {
        for (int moved = 1; st == VS_OK && moved;) {
            VsList list;
            moved = 0;
            st = vs_list(g, best, l, &list);
            for (uint32_t i = 0; st == VS_OK && i < list.cap && list.links[i] != VS_NIL;
                 i++) {
                float d;
                uint32_t v = list.links[i];
                st = vs_order(g, q, v, &d);
                if (st == VS_OK && d < order) {
                    order = d;
                    best = v;
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

VsStatus vs_seeds(VsGraph *g, const uint32_t **out, size_t *n) {
    VsScratch *s = g->scratch;
    VsStatus st = vs_grow(&g->alloc, (void **)&s->seeds, &s->cap_seeds,
                          (size_t)g->state.n_seeds + 1, 4);
    for (uint32_t i = 0; st == VS_OK && i < g->state.n_seeds; i++) {
        const unsigned char *p = NULL;
        st = vs_slot(g, VS_SEED, i, &p);
        if (st == VS_OK) {
            s->seeds[i] = vs_get_u32(p);
        }
    }
    if (st == VS_OK) {
        *out = s->seeds;
        *n = g->state.n_seeds;
    }
    return st;
}

/* ---- exact ---------------------------------------------------------------------- */

static int compare_hits(const void *a, const void *b) {
    const VsHit *x = a, *y = b;
    if (x->order != y->order) {
        return x->order < y->order ? -1 : 1;
    }
    return x->node > y->node ? -1 : x->node < y->node;
}

void vs_hits_sort(VsHit *hits, size_t n) {
    qsort(hits, n, sizeof *hits, compare_hits);
}

static VsStatus is_live(VsGraph *g, uint32_t node, int *live) {
    const VsNode *n = NULL;
    VsStatus st = vs_node(g, node, &n);
    if (st == VS_OK) {
        *live = (n->flags & VS_STATUS_MASK) == VS_LIVE;
    }
    return st;
}

/* Next admitted node at or after `node`, skipping whole words of zeros. */
static uint32_t next_admitted(const VsAdmit *admit, uint32_t node, uint32_t n_nodes) {
    if (admit == NULL) {
        return node;
    }
    uint32_t end = admit->n_nodes < n_nodes ? admit->n_nodes : n_nodes;
    while (node < end) {
        uint64_t word = admit->words[node >> 6] >> (node & 63);
        if ((word & 1) != 0) {
            return node;
        }
        node = word == 0 ? (node | 63) + 1 : node + 1;
    }
    return n_nodes;
}

/* Offers each live admitted node to the pool, or appends it to `all` if that is not NULL.
 */
static VsStatus scan_nodes(VsGraph *g, const VsQuery *q, const VsAdmit *admit, Pool *pool,
                           VsHit *all, size_t *n_all) {
    uint32_t n_nodes = g->state.n_nodes, polled = 0;
    for (uint32_t u = next_admitted(admit, 0, n_nodes); u < n_nodes;
         u = next_admitted(admit, u + 1, n_nodes)) {
        int live;
        VsHit hit = {0, u};
        VsStatus st = is_live(g, u, &live);
        if (st == VS_OK && live) {
            st = vs_order(g, q, u, &hit.order);
            if (st == VS_OK && all != NULL) {
                all[(*n_all)++] = hit;
            } else if (st == VS_OK) {
                pool_offer(pool, hit);
            }
        }
        if (st == VS_OK && ++polled % (POLL_EVERY * 16) == 0 && vs_interrupted(g)) {
            st = VS_INTERRUPT;
        }
        if (st != VS_OK) {
            return st;
        }
    }
    return VS_OK;
}

/* From here on sorting everything once is cheaper than keeping the nearest sorted. */
#define SORTED_SCAN 512

VsStatus vs_scan(VsGraph *g, const VsQuery *q, size_t k, const VsAdmit *admit,
                 VsHit *hits, size_t *n) {
    Pool pool = {hits, 0, k};
    VsHit *all = NULL;
    size_t n_all = 0;
    VsStatus st = VS_OK;
    if (k > SORTED_SCAN) {
        all = vs_alloc(&g->alloc, g->state.n_nodes, sizeof *all);
        st = all == NULL ? VS_NOMEM : VS_OK;
    }
    if (st == VS_OK && k > 0) {
        st = scan_nodes(g, q, admit, &pool, all, &n_all);
    }
    if (st == VS_OK && all != NULL) {
        vs_hits_sort(all, n_all);
        pool.n = n_all < k ? n_all : k;
        memcpy(hits, all, pool.n * sizeof *hits);
    }
    vs_free(&g->alloc, all);
    if (st == VS_OK) {
        *n = pool.n;
    }
    return st;
}

/* ---- top k ---------------------------------------------------------------------- */

/* Keeps what may be returned: live and admitted, the first k. */
static VsStatus keep_results(VsGraph *g, Pool *pool, size_t k, const VsAdmit *admit,
                             VsHit *hits, size_t *n) {
    size_t kept = 0;
    take_pool(pool);
    for (size_t i = 0; i < pool->n && kept < k; i++) {
        int live = 0;
        VsStatus st = vs_admitted(admit, pool->at[i].node)
                          ? is_live(g, pool->at[i].node, &live)
                          : VS_OK;
        if (st != VS_OK) {
            return st;
        }
        if (live) {
            hits[kept++] = pool->at[i];
        }
    }
    *n = kept;
    return VS_OK;
}

/* One beam search of layer 0 with a pool of `beam`. */
static VsStatus beam_search(VsGraph *g, const VsQuery *q, size_t k, size_t beam,
                            uint64_t budget, const VsAdmit *admit, VsHit *hits, size_t *n,
                            int *finished) {
    const uint32_t *seeds = NULL;
    size_t n_seeds = 0;
    uint32_t entry = VS_NIL;
    VsStatus st = scratch_reserve(g, beam);
    Pool pool = {g->scratch->pool, 0, beam};
    if (st == VS_OK) {
        st = vs_descend(g, q, 0, &entry);
    }
    if (st == VS_OK) {
        st = vs_seeds(g, &seeds, &n_seeds);
    }
    if (st == VS_OK) {
        st = offer_entries(g, q, &entry, 1, &pool);
    }
    if (st == VS_OK) {
        st = offer_entries(g, q, seeds, n_seeds, &pool);
    }
    if (st == VS_OK) {
        st = walk(g, q, 0, &pool, budget, finished);
    }
    forget_visits(g->scratch);
    return st == VS_OK ? keep_results(g, &pool, k, admit, hits, n) : st;
}

VsStatus vs_search(VsGraph *g, const VsQuery *q, size_t k, size_t ef,
                   const VsAdmit *admit, VsHit *hits, size_t *n) {
    uint32_t live = g->state.n_live, most = admit == NULL ? live : admit->count;
    size_t want = k < most ? k : most;
    if (want == 0) {
        *n = 0;
        return VS_OK;
    }
    /* Tombstones and rows that are not admitted take places in the pool: make it that
     * much longer. When it would hold a good part of the table, or the walk would look at
     * as many codes as there are admitted rows, the scan is as fast and exact. */
    double inflate = (double)(live + g->state.n_dead) / (double)most;
    double beam = (double)(ef > k ? ef : k) * inflate;
    int finished = 0;
    *n = 0;
    if (g->params.kind == VS_HNSW && beam * 8 < most) {
        VsStatus st = beam_search(g, q, k, (size_t)beam, most, admit, hits, n, &finished);
        if (st != VS_OK) {
            return st;
        }
    }
    return finished && *n >= want ? VS_OK : vs_scan(g, q, k, admit, hits, n);
}
