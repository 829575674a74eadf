/* The links that new nodes choose; see linker.h. Reads only. */
#include <math.h>
#include <string.h>

#include "csrc/build/choose.h"
#include "csrc/build/linker.h"
#include "csrc/build/links.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"

/* Fewer newcomers than this do not share regions. */
#define ORDERED 64

/* Candidates that may be linked to, in place. */
static VsStatus drop_unfit(VsGraph *g, VsHit *hits, size_t *n) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        const VsNode *v = NULL;
        VS_TRY(vs_node(g, hits[i].node, &v));
        if ((v->flags & (VS_STATUS_MASK | VS_PENDING)) == VS_LIVE &&
            v->indeg < VS_MAX_INDEG) {
            hits[kept++] = hits[i];
        }
    }
    *n = kept;
    return VS_OK;
}

typedef struct Plan {
    VsBatch *batch;
    VsNewcomer *x;
    const VsCodecParams *by; /* the metric (choose.h) */
    VsHit *candidates;
    uint32_t entry;
} Plan;

/* ---- blur ------------------------------------------------------------------------ */

/* Between which neighbours distances have to differ by so many times the blur. */
#define NEAR_END 10
#define FAR_END 64
#define LEAST_END 16 /* of fewer candidates, with as much between them */
/* Rows nearer than this times what a code of sq8 loses have as good as one code, however far
 * away the others are. (Ten neighbours of SIFT-128 and MiniLM-384 lie a hundred times as far.) */
#define CROWDED 8
/* The distance of a code and a raw row is wrong by what the code loses, and a little. */
#define BESIDE_RAW 1.25f

static float distance_of(const VsQuery *q, float order) {
    float scaled = order * q->scale;
    return q->params->metric == VS_DOT ? scaled : sqrtf(scaled > 0 ? scaled : 0);
}

/* How much neighbours that left the range differ in how far: twice the standard deviation of
 * what their codes lose beyond what the model expects. */
static VsStatus spread_of_clipped(VsGraph *g, const VsHit *hits, uint32_t n, float *out) {
    double sum = 0, squares = 0;
    const VsModel *m = g->model;
    double step = (double)m->step, typical = (double)m->typical;
    double expected = VS_LEAVES * (typical + g->params.code.dims * step * step / 12);
    for (uint32_t i = 0; i < n; i++) {
        const VsNode *v = NULL;
        VS_TRY(vs_node(g, hits[i].node, &v));
        double lost = (double)vs_error(v->error), beyond = lost * lost - expected;
        sum += beyond > 0 ? sqrt(beyond) : 0;
        squares += beyond > 0 ? beyond : 0;
    }
    double mean = sum / n, variance = squares / n - mean * mean;
    *out = variance > 0 ? 2 * (float)sqrt(variance) : 0;
    return VS_OK;
}

/* The nearest of the hits that are not raw, up to a distance. */
static VsStatus take_coded(VsGraph *g, const VsQuery *q, const VsHit *hits, size_t n,
                           float limit, VsNewcomer *x) {
    VsStatus st = VS_OK;
    for (size_t i = 0; st == VS_OK && i < n && x->n_coded < VS_NEAR &&
                       distance_of(q, hits[i].order) <= limit;
         i++) {
        const float *raw = NULL;
        st = vs_raw(g, hits[i].node, &raw);
        if (st == VS_OK && raw == NULL) {
            x->coded[x->n_coded++] = hits[i].node;
        }
    }
    return st;
}

/* What the distances of n hits can be wrong by, if a code loses `lost`: by its blur, or, where
 * raw rows are among them, by all of it. (Orders of pq make up for that: raw.c.) */
static VsStatus wrong_by(VsGraph *g, const VsHit *hits, uint32_t n, float lost,
                         float *out) {
    const float *raw = NULL;
    VsStatus st = VS_OK;
    int beside = g->state.raw_rows > 0 && g->params.code.codec == VS_CODEC_SQ8;
    for (uint32_t i = 0; beside && st == VS_OK && raw == NULL && i < n; i++) {
        st = vs_raw(g, hits[i].node, &raw);
    }
    float blur = g->codec->sharp * g->state.blur;
    *out = lost * (raw != NULL ? fmaxf(blur, BESIDE_RAW) : blur);
    return st;
}

/* Whether the code of a newcomer tells its neighbours apart (blur.h), given candidates by
 * distance. One that came from far outside is raw already: its neighbours may not be. */
static VsStatus judge(VsGraph *g, const VsQuery *q, const VsHit *hits, size_t n,
                      VsNewcomer *x) {
    const VsNode *v = NULL;
    float self = 0, length = 1, clipped = 0;
    int sq8 = g->params.code.codec == VS_CODEC_SQ8;
    uint32_t end = n < FAR_END ? (uint32_t)n : FAR_END;
    if (!vs_raw_judges(g) || end < LEAST_END) {
        return VS_OK;
    }
    VS_TRY(vs_node(g, x->node, &v));
    VsStatus st = VS_OK;
    if (q->params->metric == VS_DOT) { /* errors count by the length of the query */
        st = vs_order(g, q, x->node, &self);
        length = sqrtf(fmaxf(-self * q->scale, 0));
    }
    if (st == VS_OK && sq8) {
        st = spread_of_clipped(g, hits, end, &clipped);
    }
    float far = distance_of(q, hits[end - 1].order),
          near = distance_of(q, hits[end * NEAR_END / FAR_END - 1].order);
    float lost = vs_error(v->error) * length, wrong = 0;
    st = st == VS_OK ? wrong_by(g, hits, end, lost, &wrong) : st;
    int crowded = sq8 && q->params->metric != VS_DOT && near < CROWDED * lost;
    x->blurred |=
        isfinite(wrong) && (crowded || far - near < fmaxf(wrong, length * clipped));
    if (st == VS_OK && x->blurred) { /* a code adds what it loses to the distance */
        st = take_coded(g, q, hits, n, near + 2 * lost, x);
    }
    return st;
}

/* A nearest candidate that is no farther from the newcomer than it is from itself. */
static VsStatus find_twin(VsGraph *g, const VsQuery *q, Plan *p, size_t n) {
    float own;
    VsStatus st = vs_order(g, q, p->x->node, &own);
    if (st == VS_OK && n > 0 && p->candidates[0].order <= own) {
        p->x->twin = p->candidates[0].node;
    }
    return st;
}

/* ---- links ------------------------------------------------------------------------ */

/* What the links back are sorted by is the metric of the graph. */
static VsStatus order_links(VsGraph *g, const Plan *p, VsHit *links, size_t n) {
    VsQuery q;
    VsStatus st = n > 0 && p->by != &g->params.code
                      ? vs_query_of_node(g, &g->params.code, p->x->node, 1, &q)
                      : VS_OK;
    for (size_t i = 0; st == VS_OK && i < n && p->by != &g->params.code; i++) {
        st = vs_order(g, &q, links[i].node, &links[i].order);
    }
    return st;
}

/* Adds links to a list of the newcomer, as many as there is room for. */
static VsStatus choose_links(VsGraph *g, const Plan *p, uint32_t layer, size_t n) {
    uint32_t m = g->params.m, list = p->x->first + layer, *length;
    VsHit *links = p->batch->links + (size_t)list * m;
    length = &p->batch->length[list];
    vs_hits_without(p->candidates, &n, links, *length);
    VS_TRY(vs_prune(g, p->by, p->x->node, p->candidates, &n, m - *length));
    VS_TRY(order_links(g, p, p->candidates, n));
    memcpy(links + *length, p->candidates, n * sizeof(VsHit));
    *length += (uint32_t)n;
    return VS_OK;
}

static VsStatus plan_layer(VsGraph *g, const VsQuery *q, uint32_t layer, Plan *p) {
    size_t ef = g->params.ef_construction, n = 0, n_roots = 0;
    const uint32_t *roots = NULL;
    VS_TRY(vs_search_layer(g, q, layer, &p->entry, 1, ef, p->candidates, &n));
    if (n > 0) {
        p->entry = p->candidates[0].node;
        VS_TRY(drop_unfit(g, p->candidates, &n));
    }
    if (n == 0 && layer == 0) {
        /* all round the entry is dead: ask the roots */
        VS_TRY(vs_roots(g, &roots, &n_roots));
        VS_TRY(vs_search_layer(g, q, layer, roots, n_roots, ef, p->candidates, &n));
        VS_TRY(drop_unfit(g, p->candidates, &n));
    }
    if (layer == 0) {
        p->x->n_near = n < VS_NEAR ? (uint32_t)n : VS_NEAR;
        memcpy(p->x->near, p->candidates, p->x->n_near * sizeof(VsHit));
        VS_TRY(judge(g, q, g->scratch->pool, g->scratch->n_met, p->x));
    }
    if (layer == 0 && p->by->metric == g->apart.metric) {
        VS_TRY(find_twin(g, q, p, n));
    }
    return choose_links(g, p, layer, n);
}

static VsStatus plan_by(VsGraph *g, const VsCodecParams *by, Plan *p) {
    VsQuery q;
    uint32_t top = g->state.max_level;
    p->by = by;
    VsStatus st = vs_query_of_node(g, by, p->x->node, 0, &q);
    st = st == VS_OK ? vs_descend(g, &q, p->x->level, &p->entry) : st;
    for (uint32_t layer = p->x->level < top ? p->x->level : top; st == VS_OK; layer--) {
        st = plan_layer(g, &q, layer, p);
        if (layer == 0) {
            break;
        }
    }
    return st;
}

static VsStatus plan_newcomer(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    VsBatch *b = ctx;
    Plan p = {.batch = b,
              .x = &b->newcomer[b->planned[item].item],
              .candidates = b->candidates + (size_t)worker * g->params.ef_construction};
    memset(b->length + p.x->first, 0, (p.x->level + 1) * sizeof *b->length);
    p.x->n_near = 0;
    p.x->blurred = 0;
    p.x->n_coded = 0;
    p.x->twin = VS_NIL;
    VsStatus st = plan_by(g, &g->params.code, &p);
    return st == VS_OK && g->params.code.metric == VS_DOT ? plan_by(g, &g->apart, &p)
                                                          : st;
}

/* ---- the order ------------------------------------------------------------------- */

/* Where the walks down from the top come to layers 2 and 1. */
static VsStatus find_region(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    VsBatch *b = ctx;
    uint32_t upper = VS_NIL, lower = VS_NIL;
    VsQuery q;
    (void)worker;
    VsStatus st = vs_query_of_node(g, &g->params.code, b->newcomer[item].node, 0, &q);
    st = st == VS_OK ? vs_descend(g, &q, 1, &upper) : st;
    st = st == VS_OK ? vs_descend(g, &q, 0, &lower) : st;
    b->keys[item].key = (uint64_t)upper << 32 | lower;
    return st;
}

/* Newcomers that land in the same region of the graph are planned one after the other:
 * the second finds in the cache what the first has read. That changes no result.
 * (cachegrind, 12,000 rows of SIFT-128: 76.1 instead of 91.4 million misses of 1 MB.) */
static VsStatus put_in_order(VsBatch *b, const VsKeyed **order) {
    VsStatus st = vs_grow(&b->readers.graph->alloc, (void **)&b->keys, &b->cap_keys,
                          2 * b->n, sizeof *b->keys);
    for (uint32_t i = 0; st == VS_OK && i < b->n; i++) {
        b->keys[i] = (VsKeyed){0, i};
    }
    if (st == VS_OK && b->n >= ORDERED) {
        st = vs_readers_run(&b->readers, b->n, 1, find_region, b);
    }
    *order = st == VS_OK ? vs_sort_keyed(b->keys, b->keys + b->n, b->n) : NULL;
    return st;
}

VsStatus vs_batch_plan_some(VsBatch *b, const VsKeyed *order, size_t n) {
    b->planned = order;
    return vs_readers_run(&b->readers, n, b->readers.graph->params.ef_construction,
                          plan_newcomer, b);
}

VsStatus vs_batch_plan(VsBatch *b) {
    const VsKeyed *order = NULL;
    VsStatus st = put_in_order(b, &order);
    return st == VS_OK ? vs_batch_plan_some(b, order, b->n) : st;
}
