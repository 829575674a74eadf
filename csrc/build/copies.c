/* Chains of copies; contracts in copies.h. */
#include "csrc/build/copies.h"

#include <string.h>

#include "csrc/build/links.h"
#include "csrc/search/walk.h"

static VsStatus read_vector(VsGraph *g, uint32_t node, void *out, int *found) {
    const VsNode *n = NULL;
    VsStatus st = vs_node(g, node, &n);
    *found = 0;
    return st == VS_OK && g->hooks.vector != NULL
               ? g->hooks.vector(g->hooks.ctx, n->rowid, out, found)
               : st;
}

VsStatus vs_copies_confirm(VsBatch *b) {
    VsGraph *g = b->readers.graph;
    size_t bytes = vs_element_bytes(g->params.code.element, g->params.code.dims);
    if (g->codec->fit == NULL) {
        return VS_OK;
    }
    unsigned char *own = vs_alloc(&g->alloc, 1, bytes),
                  *other = vs_alloc(&g->alloc, 1, bytes);
    VsStatus st = own == NULL || other == NULL ? VS_NOMEM : VS_OK;
    for (size_t i = 0; st == VS_OK && i < b->n; i++) {
        VsNewcomer *x = &b->newcomer[i];
        int found = 0, same = 0;
        if (x->twin != VS_NIL) {
            st = read_vector(g, x->node, own, &found);
            st = st == VS_OK && found ? read_vector(g, x->twin, other, &same) : st;
            same = same && memcmp(own, other, bytes) == 0;
            x->twin = same ? x->twin : VS_NIL;
        }
    }
    vs_free(&g->alloc, own);
    vs_free(&g->alloc, other);
    return st;
}

/* Links of a chain that are followed before a copy is put where one comes to. Where the
 * first links to the last it is one. */
#define FOLLOWED 256

/* The youngest live copy that `from` links to and that is younger; VS_NIL: there is none.
 * q is of a copy, `own` its order to itself. */
static VsStatus next_copy(VsGraph *g, const VsQuery *q, float own, uint32_t from,
                          uint32_t *next) {
    const VsNode *at = NULL;
    VsFront front;
    *next = VS_NIL;
    VS_TRY(vs_node(g, from, &at));
    uint32_t youngest = at->seq;
    VS_TRY(vs_front_all(g, from, 0, &front));
    VS_TRY(vs_front_score(g, q, &front));
    for (uint32_t i = 0; i < front.n; i++) {
        const VsNode *v = NULL;
        if (front.order[i] <= own) {
            VS_TRY(vs_node(g, front.node[i], &v));
            if (v->seq > youngest && (v->flags & VS_STATUS_MASK) == VS_LIVE) {
                youngest = v->seq;
                *next = front.node[i];
            }
        }
    }
    return VS_OK;
}

/* Makes the first of a chain link to its last, instead of to what it took for the last. */
static VsStatus link_last(VsGraph *g, uint32_t first, uint32_t was, uint32_t last) {
    uint32_t links[2 * VS_MAX_M], n = 0;
    int needed = 1, done = 0;
    VsList list;
    VsStatus st = vs_link_needed(g, first, 0, was, &needed);
    if (st != VS_OK || needed) {
        return st == VS_OK ? vs_take_in(g, first, last, &done) : st;
    }
    st = vs_list(g, first, 0, &list);
    for (; st == VS_OK && n < list.cap && list.links[n] != VS_NIL; n++) {
        links[n] = list.links[n] == was ? last : list.links[n];
    }
    return st == VS_OK ? vs_list_set(g, first, 0, links, n) : st;
}

VsStatus vs_copies_append(VsGraph *g, uint32_t node, uint32_t twin, uint32_t *last) {
    uint32_t second = VS_NIL, at = twin, next = twin;
    float own = 0;
    int done = 0;
    VsQuery q;
    VS_TRY(vs_query_of_node(g, &g->apart, node, 0, &q));
    VS_TRY(vs_order(g, &q, node, &own));
    for (int i = 0; i < FOLLOWED && next != VS_NIL; i++) {
        at = next;
        VS_TRY(next_copy(g, &q, own, at, &next));
        next = next == node ? VS_NIL : next;
        second = i == 0 ? next : second;
    }
    VS_TRY(vs_take_in(g, at, node, &done));
    if (done && at != twin) {
        VS_TRY(link_last(g, twin, second, node));
    }
    *last = done ? at : VS_NIL;
    return VS_OK;
}
