/*
 * The steps that every walk is made of: the visited set, the sorted pool, and "the
 * neighbours of a node that this walk has not seen, with their orders". Used by the beam
 * search (search.c), and by whatever else walks the graph.
 *
 * All that a walk changes lies in its VsScratch. Walks of several threads over one graph
 * that nobody writes and whose pages are all in memory each use a copy of the VsGraph
 * struct whose `scratch` is their own.
 */
#ifndef VS_SEARCH_WALK_H
#define VS_SEARCH_WALK_H

#include <math.h>
#include <string.h>

#include "csrc/base/assert.h"
#include "csrc/kernel/batch.h"
#include "csrc/graph/raw.h"
#include "csrc/search/hits.h"
#include "csrc/search/query.h"

#define VS_CHECKED 0x80000000u /* in a pool entry: this node was expanded */
/* Steps of a walk, or pages of a scan, between interrupt polls. */
#define VS_POLL_EVERY 64

/* Room for a bit per node (and the node being inserted) and for a pool of ef. */
VsStatus vs_walk_reserve(VsGraph *g, size_t ef);

/* Marks the node as seen; 1 if it was already. */
static inline int vs_visit(VsScratch *s, uint32_t node) {
    uint64_t *word = &s->visited[node >> 6], bit = (uint64_t)1 << (node & 63);
    if (*word == 0) {
        s->touched[s->n_touched++] = node >> 6;
    }
    int seen = (*word & bit) != 0;
    *word |= bit;
    return seen;
}

static inline int vs_is_visited(const VsScratch *s, uint32_t node) {
    return (s->visited[node >> 6] >> (node & 63) & 1) != 0;
}

/* Ends a walk: nothing is seen. Clearing by the list of touched words costs ~1,300 stores
 * instead of a 125 KB memset (1 M nodes). */
void vs_forget_visits(VsScratch *s);

/* Nodes that a walk expands at once. The next nearest are almost always expanded anyhow,
 * and the memory that four of them wait for comes in the time of one: 8 to 9 % more
 * evaluations at recall 0.95, 10 to 17 % less time (MiniLM-384, SIFT-128); six are no
 * better. */
#define VS_EXPANDED 4

/* Nodes with their codes in memory, and their orders once they are scored. */
#define VS_FRONT (VS_EXPANDED * 2 * VS_MAX_M)
typedef struct VsFront {
    uint32_t node[VS_FRONT];
    const unsigned char *code[VS_FRONT];
    float order[VS_FRONT];
    uint32_t n;
} VsFront;

/* Adds the neighbours of a node on a layer that this walk has not seen: seen from now on,
 * their codes in memory and on the way into the cache, not scored. At most VS_EXPANDED
 * nodes fit. */
VsStatus vs_front_unseen(VsGraph *g, const VsQuery *q, uint32_t node, uint32_t layer,
                         VsFront *front);

/* The same with every neighbour, seen or not; none is marked. */
VsStatus vs_front_all(VsGraph *g, uint32_t node, uint32_t layer, VsFront *out);

/* The node itself, if this walk has not seen it. VS_CORRUPT if there is no such node. */
VsStatus vs_front_one(VsGraph *g, uint32_t node, VsFront *out);

/* Finds the codes of front->node[from..], loading those that are not in memory; the first
 * `fetch` bytes of each are on the way into the cache. */
VsStatus vs_front_codes(VsGraph *g, VsFront *front, uint32_t from, uint32_t fetch);

/* Computes the orders of a front: one call, no choice per candidate. */
static inline VsStatus vs_front_score(VsGraph *g, const VsQuery *q, VsFront *front) {
    g->scratch->evaluations += front->n;
    if (q->meets_raw) {
        return vs_raw_score(g, q, q->score, front->node, front->code, front->n,
                            front->order);
    }
    q->score(q, front->code, front->n, front->order);
    return VS_OK;
}

/* Whether a node may be returned at all. */
VsStatus vs_is_live(VsGraph *g, uint32_t node, int *live);

/* ---- the pool ------------------------------------------------------------------- */

typedef struct VsPool {
    VsHit *at; /* sorted, nearest first; equal ones newer node first */
    size_t n, cap;
} VsPool;

static inline int vs_before(VsHit a, VsHit b) {
    return a.order < b.order ||
           (a.order == b.order && (a.node & ~VS_CHECKED) > (b.node & ~VS_CHECKED));
}

/* Inserts if there is room or the hit beats the last; returns its place, or cap. What it
 * goes before moves up, the farthest first, eight at a time while all eight are farther:
 * one branch that cannot be foreseen, where a search for the place and a move of what is
 * behind it wait for each other. */
static inline size_t vs_pool_offer(VsPool *p, VsHit hit) {
    enum { STEP = 8 };
    if (p->n == p->cap) {
        if (p->n == 0 || !vs_before(hit, p->at[p->n - 1])) {
            return p->cap;
        }
        p->n--;
    }
    VsHit *to = p->at + p->n;
    size_t left = p->n;
    p->n++;
    for (; left >= STEP && hit.order < to[-STEP].order; left -= STEP, to -= STEP) {
        VsHit farther[STEP];
        memcpy(farther, to - STEP, sizeof farther);
        memcpy(to - STEP + 1, farther, sizeof farther);
    }
    for (; left > 0 && vs_before(hit, to[-1]); left--, to--) {
        to[0] = to[-1];
    }
    *to = hit;
    VS_ASSERT(left == 0 || !vs_before(to[0], to[-1]));
    VS_ASSERT(left + 1 == p->n || !vs_before(to[1], to[0]));
    return left;
}

/* The hits of a scored front that may enter the pool, to out[]; returns how many. Three
 * of four may not, and which is random: no branch depends on it. */
static inline uint32_t vs_front_near(const VsFront *front, const VsPool *p, VsHit *out) {
    float last = p->n < p->cap || p->n == 0 ? INFINITY : p->at[p->n - 1].order;
    uint32_t n = 0;
    for (uint32_t i = 0; i < front->n; i++) {
        out[n] = (VsHit){front->order[i], front->node[i]};
        n += front->order[i] <= last;
    }
    return n;
}

/* Offers the nodes of entries[0..n) that this walk has not seen. */
VsStatus vs_pool_offer_entries(VsGraph *g, const VsQuery *q, const uint32_t *entries,
                               size_t n, VsPool *pool);
/* Takes the marks of expanded nodes off. */
void vs_pool_uncheck(VsPool *pool);
/* Puts the copies that wait behind a pool to its end. */
void vs_pool_add_copies(VsGraph *g, VsPool *pool);
/* Whether all that a walk knows of two nodes is the same. */
VsStatus vs_same_code(VsGraph *g, uint32_t a, uint32_t b, int *same);

/* Offers a scored front. */
static inline void vs_pool_offer_front(VsPool *p, const VsFront *front) {
    VsHit near[VS_FRONT];
    uint32_t n = vs_front_near(front, p, near);
    for (uint32_t i = 0; i < n; i++) {
        (void)vs_pool_offer(p, near[i]);
    }
}

/* ---- the walk of a layer ---------------------------------------------------------- */

/* Expands pool entries, nearest first, until all are expanded. `budget` evaluations at
 * the most: when they are used up *finished is 0. */
VsStatus vs_walk(VsGraph *g, const VsQuery *q, uint32_t layer, VsPool *pool,
                 uint64_t budget, int *finished);

/* Candidates for the links of a new node on one layer: a walk from `entries` with a beam of
 * ef. hits must hold ef. The pool is left in hits, DEAD nodes included. With the copies that
 * it met it is in scratch->pool. */
VsStatus vs_search_layer(VsGraph *g, const VsQuery *q, uint32_t layer,
                         const uint32_t *entries, size_t n_entries, size_t ef,
                         VsHit *hits, size_t *n);
/* Greedy walk from the entry point down to just above `layer`. */
VsStatus vs_descend(VsGraph *g, const VsQuery *q, uint32_t layer, uint32_t *entry);

/* The roots, in scratch memory that lasts until the next call. */
VsStatus vs_roots(VsGraph *g, const uint32_t **out, size_t *n);

#endif
