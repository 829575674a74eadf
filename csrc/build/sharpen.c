/*
 * Rows whose codes do not tell neighbours apart become raw; see linker.h.
 *
 * A newcomer that is blurred takes its nearest neighbours with it, for their codes are as near
 * to each other as its own. So a region becomes raw as it fills, whichever of its rows came
 * first; each row is read once for it, and a newcomer reads at most VS_NEAR + 1.
 */
#include <string.h>

#include "csrc/build/linker.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"

typedef struct Reading {
    unsigned char *vector, *other; /* of the element type */
    unsigned char *code;
    float *floats;
    size_t bytes; /* of a vector */
} Reading;

/* Reads the vector of a node. *found 0: there is none, or a content table has another one by
 * now than the node was made of. */
static VsStatus read_vector(VsGraph *g, uint32_t node, const Reading *r, void *out,
                            int *found) {
    const VsNode *n = NULL;
    const unsigned char *code = NULL;
    *found = 0;
    VS_TRY(vs_node(g, node, &n));
    if ((n->flags & VS_STATUS_MASK) != VS_LIVE || g->hooks.vector == NULL) {
        return VS_OK;
    }
    VS_TRY(g->hooks.vector(g->hooks.ctx, n->rowid, out, found));
    VS_TRY(vs_slot(g, VS_CODE, node, &code));
    if (*found) {
        g->codec->encode(&g->params.code, g->model, out, r->code, NULL);
        *found = memcmp(r->code, code, g->geo[VS_CODE].fixed_size) == 0;
    }
    return VS_OK;
}

static VsStatus make_raw(VsGraph *g, uint32_t node, const void *vector,
                         const Reading *r) {
    vs_codec_floats(&g->params.code, vector, r->floats);
    return vs_raw_add(g, node, r->floats);
}

/* A copy of its nearest neighbour tells no more from its vector than from its code: it is
 * what that one is. */
static VsStatus is_copy(VsGraph *g, const VsNewcomer *x, const Reading *r, int *out) {
    const float *raw = NULL;
    int found = 0;
    VsStatus st = read_vector(g, x->near[0].node, r, r->other, &found);
    st = st == VS_OK ? vs_raw(g, x->near[0].node, &raw) : st;
    *out =
        st == VS_OK && found && raw == NULL && memcmp(r->vector, r->other, r->bytes) == 0;
    return st;
}

/* *changed: the newcomer has become raw. */
static VsStatus sharpen_own(VsGraph *g, const VsNewcomer *x, const Reading *r,
                            int *changed) {
    int found = 0, copy = 0;
    VsStatus st = read_vector(g, x->node, r, r->vector, &found);
    st = st == VS_OK && found ? is_copy(g, x, r, &copy) : st;
    *changed = found && !copy;
    return st == VS_OK && *changed ? make_raw(g, x->node, r->vector, r) : st;
}

/* A newcomer and its neighbours. *plan: it has to be planned anew. */
static VsStatus sharpen(VsGraph *g, const VsNewcomer *x, const Reading *r, int *plan) {
    const float *own = NULL;
    int found = 0;
    VsStatus st = vs_raw(g, x->node, &own);
    *plan = x->n_coded > 0;
    if (st == VS_OK && own == NULL) {
        st = sharpen_own(g, x, r, plan);
        if (!*plan) {
            return st;
        }
    }
    for (uint32_t i = 0; st == VS_OK && i < x->n_coded; i++) {
        const float *known = NULL;
        st = vs_raw(g, x->coded[i], &known); /* another newcomer may have been here */
        if (st == VS_OK && known == NULL) {
            st = read_vector(g, x->coded[i], r, r->other, &found);
            st = st == VS_OK && found ? make_raw(g, x->coded[i], r->other, r) : st;
        }
    }
    return st;
}

static VsStatus sharpen_all(VsBatch *b, const Reading *r, size_t *n) {
    VsGraph *g = b->readers.graph;
    VsStatus st = VS_OK;
    *n = 0;
    for (uint32_t i = 0; st == VS_OK && i < b->n; i++) {
        int raw = 0;
        st = b->newcomer[i].blurred ? sharpen(g, &b->newcomer[i], r, &raw) : VS_OK;
        if (st == VS_OK && raw) {
            b->keys[(*n)++] = (VsKeyed){0, i};
        }
    }
    return st;
}

VsStatus vs_batch_sharpen(VsBatch *b) {
    VsGraph *g = b->readers.graph;
    const VsAlloc *a = &g->alloc;
    size_t n = 0, dims = g->params.code.dims;
    uint32_t blurred = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        blurred += b->newcomer[i].blurred != 0;
    }
    if (vs_raw_judges(g)) {
        vs_raw_count(g, (uint32_t)b->n, blurred);
    }
    if (blurred == 0 || !vs_raw_helps(g)) {
        return VS_OK;
    }
    Reading r = {.vector = vs_alloc(a, dims, sizeof(float)),
                 .other = vs_alloc(a, dims, sizeof(float)),
                 .code = vs_alloc(a, 1, g->geo[VS_CODE].slot_size),
                 .floats = vs_alloc(a, dims, sizeof(float)),
                 .bytes = vs_element_bytes(g->params.code.element, dims)};
    VsStatus st =
        r.vector == NULL || r.other == NULL || r.code == NULL || r.floats == NULL
            ? VS_NOMEM
            : sharpen_all(b, &r, &n);
    vs_free(a, r.vector);
    vs_free(a, r.other);
    vs_free(a, r.code);
    vs_free(a, r.floats);
    return st == VS_OK && n > 0 ? vs_batch_plan_some(b, b->keys, n) : st;
}
