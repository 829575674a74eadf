/* Ranking and pruning of candidates; contracts in choose.h. */
#include "csrc/build/choose.h"

#include <string.h>

#include "csrc/graph/raw.h"

VsStatus vs_rank(VsGraph *g, uint32_t node, const uint32_t *nodes, size_t n, VsHit *out,
                 size_t *n_out) {
    VsQuery q;
    size_t kept = 0;
    VsStatus st = vs_query_of_node(g, &g->apart, node, 0, &q);
    for (size_t i = 0; st == VS_OK && i < n; i++) {
        const VsNode *v = NULL;
        st = vs_node(g, nodes[i], &v);
        if (st == VS_OK && nodes[i] != node && (v->flags & VS_STATUS_MASK) == VS_LIVE) {
            out[kept].node = nodes[i];
            st = vs_order(g, &q, nodes[i], &out[kept].order);
            kept++;
        }
    }
    if (st != VS_OK) {
        return st;
    }
    vs_hits_sort(out, kept);
    *n_out = 0;
    for (size_t i = 0; i < kept; i++) { /* equal nodes are neighbours now */
        if (*n_out == 0 || out[*n_out - 1].node != out[i].node) {
            out[(*n_out)++] = out[i];
        }
    }
    return VS_OK;
}

/* The distance behind an order, up to a factor, so that it can be stretched. */
static float stretch(const VsGraph *g, float order, float alpha) {
    switch (g->apart.metric) {
    case VS_L2:
        return order * alpha * alpha;
    case VS_COSINE:
        return (1 + order) * alpha * alpha - 1;
    default:
        return order * alpha;
    }
}

VsStatus vs_is_diverse(VsGraph *g, const VsHit *candidate, const uint32_t *kept,
                       uint32_t n, float alpha, int *diverse) {
    VsQuery q;
    VsStatus st = vs_query_of_node(g, &g->apart, candidate->node, 1, &q);
    *diverse = 1;
    for (uint32_t i = 0; st == VS_OK && *diverse && i < n; i++) {
        float order;
        st = vs_order(g, &q, kept[i], &order);
        *diverse = stretch(g, order, alpha) > candidate->order;
    }
    return st;
}

/* The candidates that are still in, with their codes. */
typedef struct Left {
    VsHit *hit;
    const unsigned char *code[VS_PRUNED];
    size_t n;
} Left;

/* Drops from left[from..] what is not nearer to its node than to the one just kept. */
static VsStatus drop_covered(VsGraph *g, const VsCodecParams *by, Left *left, size_t from,
                             uint32_t kept) {
    float order[VS_PRUNED];
    VsQuery q;
    VsStatus st = from < left->n ? vs_query_of_node(g, by, kept, 1, &q) : VS_OK;
    if (st != VS_OK || from >= left->n) {
        return st;
    }
    uint32_t node[VS_PRUNED];
    for (size_t i = from; q.meets_raw && i < left->n; i++) {
        node[i - from] = left->hit[i].node & ~VS_NEEDED;
    }
    st =
        vs_full_orders(g, &q, node, left->code + from, (uint32_t)(left->n - from), order);
    if (st != VS_OK) {
        return st;
    }
    g->scratch->evaluations += left->n - from;
    size_t n = from;
    for (size_t i = from; i < left->n; i++) {
        VsHit hit = left->hit[i];
        const unsigned char *code = left->code[i];
        left->hit[n] = hit;
        left->code[n] = code;
        n += order[i - from] > hit.order || (hit.node & VS_NEEDED) != 0;
    }
    left->n = n;
    return VS_OK;
}

/* Drops from left[from..] what has that order. */
static void drop_equal(Left *left, size_t from, float order) {
    size_t n = from;
    for (size_t i = from; i < left->n; i++) {
        left->hit[n] = left->hit[i];
        left->code[n] = left->code[i];
        n += left->hit[n].order != order || (left->hit[n].node & VS_NEEDED) != 0;
    }
    left->n = n;
}

VsStatus vs_prune(VsGraph *g, const VsCodecParams *by, uint32_t node, VsHit *hits,
                  size_t *n, uint32_t cap) {
    Left left = {.hit = hits, .n = *n < VS_PRUNED ? *n : VS_PRUNED};
    float own = 0;
    VsQuery q;
    VS_TRY(vs_query_of_node(g, by, node, 1, &q));
    VS_TRY(vs_order(g, &q, node, &own));
    uint32_t kept = 0, needed = 0;
    for (size_t i = 0; i < left.n; i++) {
        VS_TRY(vs_slot(g, VS_CODE, hits[i].node & ~VS_NEEDED, &left.code[i]));
        needed += (hits[i].node & VS_NEEDED) != 0;
    }
    for (size_t at = 0; at < left.n && kept < cap; at++) {
        VsHit hit = hits[at];
        if ((hit.node & VS_NEEDED) != 0) {
            needed--;
        } else if (kept + needed >= cap) {
            continue;
        }
        hit.node &= ~VS_NEEDED;
        hits[kept++] = hit; /* kept <= at */
        if (kept < cap && hit.order == own) {
            drop_equal(&left, at + 1, own);
        } else if (kept < cap) {
            VS_TRY(drop_covered(g, by, &left, at + 1, hit.node));
        }
    }
    *n = kept;
    return VS_OK;
}

void vs_hits_without(VsHit *hits, size_t *n, const VsHit *others, size_t n_others) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        size_t j = 0;
        while (j < n_others && others[j].node != hits[i].node) {
            j++;
        }
        hits[kept] = hits[i];
        kept += j == n_others;
    }
    *n = kept;
}

VsStatus vs_choose(VsGraph *g, uint32_t node, VsHit *hits, size_t *n, uint32_t cap) {
    VsHit rest[VS_PRUNED];
    size_t n_rest = *n < VS_PRUNED ? *n : VS_PRUNED;
    VsQuery q;
    for (size_t i = 0; i < n_rest; i++) {
        rest[i] = (VsHit){hits[i].order, hits[i].node & ~VS_NEEDED};
    }
    VS_TRY(vs_prune(g, &g->params.code, node, hits, n, cap));
    if (g->params.code.metric != VS_DOT || *n == cap) {
        return VS_OK;
    }
    vs_hits_without(rest, &n_rest, hits, *n);
    VS_TRY(vs_query_of_node(g, &g->apart, node, 0, &q));
    for (size_t i = 0; i < n_rest; i++) {
        VS_TRY(vs_order(g, &q, rest[i].node, &rest[i].order));
    }
    vs_hits_sort(rest, n_rest);
    VS_TRY(vs_prune(g, &g->apart, node, rest, &n_rest, cap - (uint32_t)*n));
    memcpy(hits + *n, rest, n_rest * sizeof *rest);
    *n += n_rest;
    return VS_OK;
}
