/* The links that new nodes choose; see linker.h. Reads only. */
#include <string.h>

#include "choose.h"
#include "linker.h"
#include "links.h"

/* Candidates that may be linked to, in place. */
static VsStatus drop_unfit(VsGraph *g, VsHit *hits, size_t *n) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        const VsNode *v = NULL;
        VsStatus st = vs_node(g, hits[i].node, &v);
        if (st != VS_OK) {
            return st;
        }
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
    VsHit *candidates;
    uint32_t entry;
} Plan;

static VsStatus plan_layer(VsGraph *g, const VsQuery *q, uint32_t layer, Plan *p) {
    size_t ef = g->params.ef_construction, n = 0, n_seeds = 0;
    const uint32_t *seeds = NULL;
    uint32_t m = g->params.m, list = p->x->first + layer;
    VsStatus st = vs_search_layer(g, q, layer, &p->entry, 1, ef, p->candidates, &n);
    if (st == VS_OK && n > 0) {
        p->entry = p->candidates[0].node;
        st = drop_unfit(g, p->candidates, &n);
    }
    if (st == VS_OK && n == 0 &&
        layer == 0) { /* all round the entry is dead: ask the seeds */
        st = vs_seeds(g, &seeds, &n_seeds);
        st = st == VS_OK
                 ? vs_search_layer(g, q, layer, seeds, n_seeds, ef, p->candidates, &n)
                 : st;
        st = st == VS_OK ? drop_unfit(g, p->candidates, &n) : st;
    }
    if (st == VS_OK && layer == 0) {
        p->x->n_near = n < VS_NEAR ? (uint32_t)n : VS_NEAR;
        memcpy(p->x->near, p->candidates, p->x->n_near * sizeof(VsHit));
    }
    st = st == VS_OK ? vs_prune(g, p->candidates, &n, m) : st;
    if (st == VS_OK) {
        memcpy(p->batch->links + (size_t)list * m, p->candidates, n * sizeof(VsHit));
        p->batch->length[list] = (uint32_t)n;
    }
    return st;
}

static VsStatus plan_newcomer(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    VsBatch *b = ctx;
    Plan p = {b, &b->newcomer[item],
              b->candidates + (size_t)worker * g->params.ef_construction, VS_NIL};
    VsQuery q;
    uint32_t top = g->state.max_level;
    memset(b->length + p.x->first, 0, (p.x->level + 1) * sizeof *b->length);
    p.x->n_near = 0;
    VsStatus st = vs_query_of_node(g, p.x->node, 0, &q);
    st = st == VS_OK ? vs_descend(g, &q, p.x->level, &p.entry) : st;
    for (uint32_t layer = p.x->level < top ? p.x->level : top; st == VS_OK; layer--) {
        st = plan_layer(g, &q, layer, &p);
        if (layer == 0) {
            break;
        }
    }
    return st;
}

VsStatus vs_batch_plan(VsBatch *b) {
    return vs_team_run(&b->team, b->n, b->team.graph->params.ef_construction,
                       plan_newcomer, b);
}
