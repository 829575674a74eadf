/*
 * Insertion: a place for the row, its code and empty lists. Then it is pending (pending.h);
 * vs_insert links it at once.
 */
#include <string.h>

#include "csrc/build/pending.h"
#include "csrc/build/nodes.h"
#include "csrc/build/links.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"

/* ---- writing -------------------------------------------------------------------- */

/* Slots for the lists of the upper layers, empty; *first is that of layer 1. */
static VsStatus add_upper(VsGraph *g, uint32_t level, uint32_t *first) {
    unsigned char slot[VS_UPPER_HEAD + 4 * VS_MAX_M];
    uint32_t next = VS_NIL, size = g->geo[VS_UPPER].slot_size;
    for (uint32_t layer = level; layer > 0; layer--) {
        uint32_t at = g->state.upper_free;
        if (at != VS_NIL) {
            const unsigned char *p = NULL;
            VS_TRY(vs_slot(g, VS_UPPER, at, &p));
            g->state.upper_free = vs_get_u32(p);
        } else {
            at = g->state.n_upper;
        }
        memset(slot, 0xFF, sizeof slot);
        vs_put_u32(slot, next);
        VS_TRY(vs_edit(g, VS_UPPER, at, 0, slot, size));
        g->state.n_upper += at == g->state.n_upper;
        next = at;
    }
    *first = next;
    return VS_OK;
}

static VsStatus add_node(VsGraph *g, uint32_t node, int64_t rowid, uint8_t flags,
                         uint16_t error) {
    struct {
        VsNode head;
        uint32_t links[2 * VS_MAX_M];
    } slot;
    uint32_t level = vs_level_of(&g->params, rowid);
    memset(&slot, 0xFF, sizeof slot);
    slot.head = (VsNode){.rowid = rowid,
                         .seq = g->state.next_seq,
                         .upper = VS_NIL,
                         .level = (uint8_t)level,
                         .flags = flags,
                         .error = error};
    VS_TRY(add_upper(g, level, &slot.head.upper));
    VS_TRY(vs_edit(g, VS_NODE, node, 0, &slot, g->geo[VS_NODE].slot_size));
    g->state.next_seq++;
    g->state.n_live++;
    g->state.n_nodes += node == g->state.n_nodes;
    return VS_OK;
}

/* Takes a node id: the first free one, or the next. */
static VsStatus take_node(VsGraph *g, uint32_t *node) {
    const VsNode *n = NULL;
    if (g->state.next_seq == UINT32_MAX) {
        return VS_RANGE;
    }
    if (g->state.free_head == VS_NIL) {
        *node = g->state.n_nodes;
        return *node < VS_MAX_NODES ? VS_OK : VS_RANGE;
    }
    *node = g->state.free_head;
    VS_TRY(vs_node(g, *node, &n));
    if ((n->flags & VS_STATUS_MASK) != VS_FREE) {
        return VS_CORRUPT;
    }
    g->state.free_head = n->upper;
    return VS_OK;
}

/* *error: what the node keeps of what the code loses; *far: it lies far outside the range. */
static VsStatus add_code(VsGraph *g, uint32_t node, const void *v, uint16_t *error,
                         int *far) {
    unsigned char *code = vs_alloc(&g->alloc, 1, g->geo[VS_CODE].slot_size);
    if (code == NULL) {
        return VS_NOMEM;
    }
    *error = vs_model_encode(g, v, code, far);
    VsStatus st = vs_edit(g, VS_CODE, node, 0, code, g->geo[VS_CODE].fixed_size);
    vs_free(&g->alloc, code);
    return st;
}

static VsStatus add_raw(VsGraph *g, uint32_t node, const void *v) {
    float *floats = vs_alloc(&g->alloc, g->params.code.dims, sizeof *floats);
    if (floats == NULL) {
        return VS_NOMEM;
    }
    vs_codec_floats(&g->params.code, v, floats);
    VsStatus st = vs_raw_add(g, node, floats);
    vs_free(&g->alloc, floats);
    return st;
}

VsStatus vs_insert_pending(VsGraph *g, int64_t rowid, const void *v, uint32_t *node) {
    int first = g->state.entry == VS_NIL, linked = g->params.kind == VS_HNSW;
    uint16_t error = 0;
    int far = 0;
    VS_TRY(vs_model_before_insert(g, v));
    VS_TRY(take_node(g, node));
    VS_TRY(add_code(g, *node, v, &error, &far));
    VS_TRY(add_node(g, *node, rowid, linked && !first ? VS_LIVE | VS_PENDING : VS_LIVE,
                    error));
    if (far && vs_raw_helps(g)) {
        VS_TRY(add_raw(g, *node, v));
    }
    if (linked) {
        VS_TRY(vs_root_add(g, *node));
    }
    if (linked && first) {
        g->state.entry = *node;
        g->state.max_level = vs_level_of(&g->params, rowid);
    }
    return VS_OK;
}

VsStatus vs_insert(VsGraph *g, int64_t rowid, const void *v, uint32_t *node) {
    int alone = g->params.kind != VS_HNSW || g->state.entry == VS_NIL;
    VsStatus st = vs_insert_pending(g, rowid, v, node);
    return st == VS_OK && !alone ? vs_link_newest(g) : st;
}
