/* Beam search, greedy descent and exact scan; see search.h. */
#include "csrc/search/search.h"

#include <stdlib.h>
#include <string.h>

#include "csrc/graph/fit.h"
#include "csrc/search/walk.h"

uint64_t vs_evaluations(const VsGraph *g) {
    return g->scratch->evaluations;
}

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

/* ---- queries -------------------------------------------------------------------- */

static void score_none(const VsQuery *query, const unsigned char *const *codes,
                       uint32_t n, float *order) {
    (void)query;
    (void)codes;
    for (uint32_t i = 0; i < n; i++) {
        order[i] = 0;
    }
}

/* 1 if the query lies far outside the range: codes do not tell how far from it they are. Many
 * queries are clipped a little; comparing them by what codes stand for took MiniLM-384 half the
 * time again. */
static int leaves_range(const VsQuery *q) {
    return q->params->metric != VS_DOT &&
           vs_model_leaves(q->params, q->model, q->error, VS_FAR);
}

/* What rounding of float32 does to the query and to what a code stands for. */
static float error_as_floats(const VsQuery *q) {
    const VsModel *m = q->model;
    float zero = (float)m->zero, far = fmaxf(fabsf(zero), fabsf(zero + 255)) * m->step;
    float length = sqrtf(q->kernels->dot_f32(q->floats, q->floats, q->params->dims));
    float middle =
        m->middle == NULL
            ? 0
            : sqrtf(q->kernels->dot_f32(m->middle, m->middle, q->params->dims));
    return 1e-6f * (length + middle + far * sqrtf((float)q->params->dims));
}

static void keep_floats(const VsGraph *g, const void *v, VsQuery *q) {
    int leaves = leaves_range(q), meets = g->state.raw_rows > 0;
    if (leaves || meets) {
        q->floats = vs_query_floats(q->params, q->data);
        vs_codec_floats(q->params, v, q->floats);
    }
    if (leaves) {
        vs_query_as_floats(q);
        q->error = error_as_floats(q);
    } else if (meets && q->params->codec == VS_CODEC_SQ8) {
        q->score = q->full; /* in whose unit the orders of raw rows are */
        q->score_bytes = g->codec->code_size(q->params);
    }
    q->meets_raw = meets;
}

VsStatus vs_query_set(VsGraph *g, const void *v, VsQuery *out) {
    VsStatus st = vs_model_ready(g);
    if (st == VS_OK) {
        *out = (VsQuery){.params = &g->params.code,
                         .model = g->model,
                         .kernels = vs_kernels(),
                         .data = g->scratch->query[0]};
        if (g->codec->fit == NULL) {
            g->codec->prepare(out, v);
        } else if (g->model != NULL) {
            g->codec->prepare(out, v);
            keep_floats(g, v, out);
        } else { /* there is nothing yet that it could be compared with */
            out->score = out->full = score_none;
        }
    }
    return st;
}

/* A raw node is compared by its vector, and any by what its code stands for. */
static VsStatus meet_raw(VsGraph *g, uint32_t node, const unsigned char *code,
                         VsQuery *q) {
    const VsCodecParams *p = &g->params.code;
    const float *v = NULL;
    VsStatus st = vs_raw(g, node, &v);
    if (st != VS_OK) {
        return st;
    }
    q->floats = vs_query_floats(p, q->data);
    q->meets_raw = 1;
    if (v != NULL) {
        memcpy(q->floats, v, p->dims * sizeof *v);
        vs_query_as_floats(q);
    } else {
        g->codec->decode(p, g->model, code, q->floats);
    }
    return VS_OK;
}

VsStatus vs_query_of_node(VsGraph *g, const VsCodecParams *by, uint32_t node, int which,
                          VsQuery *out) {
    const unsigned char *code = NULL;
    VsStatus st = vs_slot(g, VS_CODE, node, &code);
    st = st == VS_OK ? vs_model_ready(g) : st;
    if (st == VS_OK) {
        *out = (VsQuery){.params = by,
                         .model = g->model,
                         .kernels = vs_kernels(),
                         .data = g->scratch->query[1 + which]};
        g->codec->prepare_code(out, code);
        st = g->state.raw_rows > 0 ? meet_raw(g, node, code, out) : st;
    }
    return st;
}

VsStatus vs_order(VsGraph *g, const VsQuery *q, uint32_t node, float *out) {
    const unsigned char *code = NULL;
    VsStatus st = vs_slot(g, VS_CODE, node, &code);
    if (st == VS_OK) {
        g->scratch->evaluations++;
        if (q->meets_raw) {
            return vs_raw_score(g, q, q->score, &node, &code, 1, out);
        }
        q->score(q, &code, 1, out);
    }
    return st;
}

/* ---- the walk ------------------------------------------------------------------- */

/* Finds the codes of front->node[from..], loading those that are not in memory; the first
 * `fetch` bytes of each are on the way into the cache. */
static VsStatus find_codes(VsGraph *g, VsFront *front, uint32_t from, uint32_t fetch) {
    for (uint32_t i = from; i < front->n; i++) {
        front->code[i] = vs_slot_loaded(g, VS_CODE, front->node[i]);
        if (front->code[i] == NULL) {
            VsStatus st = vs_slot(g, VS_CODE, front->node[i], &front->code[i]);
            if (st != VS_OK) {
                return st;
            }
        }
        vs_fetch_code_far(front->code[i], fetch);
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
    front->n += take_unseen(g->scratch, list.links, list.cap, g->state.n_nodes,
                            front->node + from);
    return find_codes(g, front, from, q->score_bytes);
}

VsStatus vs_front_one(VsGraph *g, uint32_t node, VsFront *out) {
    if (node >= g->state.n_nodes) {
        return VS_CORRUPT;
    }
    out->node[0] = node;
    out->n = !vs_visit(g->scratch, node);
    return find_codes(g, out, 0, 0);
}

static VsStatus offer_entries(VsGraph *g, const VsQuery *q, const uint32_t *entries,
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
static VS_ALWAYS_INLINE void fetch_list(const VsGraph *g, uint32_t node) {
    const unsigned char *p = vs_slot_loaded(g, VS_NODE, node);
    if (p != NULL) {
        VS_FETCH_FAR(p);
        VS_FETCH_FAR(p + 64);
        VS_FETCH_FAR(p + 128);
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
                fetch_list(g, hit->node);
            }
            chosen[n++] = hit->node;
            hit->node |= VS_CHECKED;
        }
    }
    return n;
}

/* Whether all that a walk knows of two nodes is the same. */
static VsStatus same_code(VsGraph *g, uint32_t a, uint32_t b, int *same) {
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
        st = same_code(g, node, pool->at[i - 1].node & ~VS_CHECKED, copy);
    }
    for (size_t i = place + 1; st == VS_OK && !*copy && i < pool->n; i++) {
        if (pool->at[i].order != order || i > place + LOOKED) {
            break;
        }
        st = same_code(g, node, pool->at[i].node & ~VS_CHECKED, copy);
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

/* Expands pool entries, nearest first, until all are expanded. `budget` evaluations at
 * the most: when they are used up *finished is 0. */
static VsStatus walk(VsGraph *g, const VsQuery *q, uint32_t layer, VsPool *pool,
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

static void take_pool(VsPool *pool) {
    for (size_t i = 0; i < pool->n; i++) {
        pool->at[i].node &= ~VS_CHECKED;
    }
}

/* Puts the copies that wait behind a pool to its end. */
static void add_copies(VsGraph *g, VsPool *pool) {
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
        st = offer_entries(g, q, entries, n_entries, &pool);
    }
    if (st == VS_OK) {
        st = walk(g, q, layer, &pool, UINT64_MAX / 2, &finished);
    }
    vs_forget_visits(g->scratch);
    if (st == VS_OK) {
        take_pool(&pool);
        memcpy(hits, pool.at, pool.n * sizeof *hits);
        *n = pool.n;
        add_copies(g, &pool);
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
    return find_codes(g, out, 0, 0);
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

VsStatus vs_is_live(VsGraph *g, uint32_t node, int *live) {
    const VsNode *n = NULL;
    VsStatus st = vs_node(g, node, &n);
    if (st == VS_OK) {
        *live = (n->flags & VS_STATUS_MASK) == VS_LIVE;
    }
    return st;
}

/* ---- top k ---------------------------------------------------------------------- */

/* Orders what the walk found by all that the codes know. */
static VsStatus refine(VsGraph *g, const VsQuery *q, VsPool *pool) {
    enum { FRONT = 64 };
    VsFront front;
    for (size_t from = 0; from < pool->n; from += FRONT) {
        size_t n = pool->n - from < FRONT ? pool->n - from : FRONT;
        for (front.n = 0; front.n < n; front.n++) {
            front.node[front.n] = pool->at[from + front.n].node;
        }
        VsStatus st = find_codes(g, &front, 0, 0);
        st = st == VS_OK
                 ? vs_full_orders(g, q, front.node, front.code, front.n, front.order)
                 : st;
        if (st != VS_OK) {
            return st;
        }
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
            st = same_code(g, hit.node, list.links[i], &same);
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
    VsStatus st = VS_OK;
    vs_forget_visits(g->scratch);
    for (size_t i = 0; i < pool->n; i++) {
        (void)vs_visit(g->scratch, pool->at[i].node);
    }
    for (size_t i = 0; st == VS_OK && i < pool->n && out->n < out->k; i++) {
        size_t n = 0;
        st = keep_result(g, pool->at[i], out);
        st = st == VS_OK ? find_copies(g, pool->at[i], queue, &n, cap) : st;
        for (size_t at = 0; st == VS_OK && at < n && out->n < out->k; at++) {
            st = keep_result(g, queue[at], out);
            st = st == VS_OK ? find_copies(g, queue[at], queue, &n, cap) : st;
        }
    }
    return st;
}

/* Keeps what may be returned: the first k live ones. */
static VsStatus keep_results(VsGraph *g, const VsQuery *q, VsPool *pool, size_t k,
                             VsHit *hits, size_t *n) {
    size_t n_copies = g->scratch->n_copies, cap = pool->cap;
    Results out = {hits, 0, k};
    VsStatus st = VS_OK;
    take_pool(pool);
    add_copies(g, pool);
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
    const uint32_t *seeds = NULL;
    size_t n_seeds = 0;
    uint32_t entry = VS_NIL;
    VsStatus st = vs_walk_reserve(g, beam);
    VsPool pool = {g->scratch->pool, 0, beam};
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
        VsStatus st = beam_search(g, q, k, (size_t)beam, live, hits, n, &finished);
        if (st != VS_OK) {
            return st;
        }
    }
    return finished && *n >= want ? VS_OK : vs_scan(g, q, k, hits, n);
}
