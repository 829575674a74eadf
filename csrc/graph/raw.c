/* Raw rows: slots and scores; see raw.h. */
#include "csrc/graph/raw.h"

#include <float.h>
#include <string.h>

#include "csrc/kernel/batch.h"
#include "csrc/base/bytes.h"

/* ---- slots ---------------------------------------------------------------------- */

/* The slot that belongs to the node, VS_NIL if none does. */
static VsStatus slot_of(VsGraph *g, uint32_t node, uint32_t *slot,
                        const unsigned char **out) {
    const unsigned char *p = NULL;
    *slot = VS_NIL;
    if (g->state.n_raw == 0 || node >= g->state.n_nodes) {
        return VS_OK;
    }
    VsStatus st = vs_slot(g, VS_RAW_AT, node, &p);
    uint32_t at = st == VS_OK ? vs_get_u32(p) : 0;
    if (at == 0 || at > g->state.n_raw) {
        return st;
    }
    st = vs_slot(g, VS_RAW, at - 1, out);
    if (st == VS_OK && vs_get_u32(*out) == node) {
        *slot = at - 1;
    }
    return st;
}

VsStatus vs_raw(VsGraph *g, uint32_t node, const float **out) {
    const unsigned char *p = NULL;
    uint32_t slot;
    VS_TRY(slot_of(g, node, &slot, &p));
    *out = slot == VS_NIL ? NULL : (const float *)(const void *)(p + VS_RAW_HEAD);
    return VS_OK;
}

/* Takes a slot: the first free one, or the next. */
static VsStatus take_slot(VsGraph *g, uint32_t *out) {
    const unsigned char *p = NULL;
    uint32_t slot = g->state.raw_free;
    if (slot == VS_NIL) {
        *out = g->state.n_raw;
        return *out < VS_RAW_NONE ? VS_OK : VS_RANGE;
    }
    VS_TRY(vs_slot(g, VS_RAW, slot, &p));
    if ((vs_get_u32(p) & VS_RAW_FREE) == 0) {
        return VS_CORRUPT;
    }
    uint32_t next = vs_get_u32(p) & ~VS_RAW_FREE;
    g->state.raw_free = next == VS_RAW_NONE ? VS_NIL : next;
    *out = slot;
    return VS_OK;
}

VsStatus vs_raw_add(VsGraph *g, uint32_t node, const float *v) {
    const unsigned char *p = NULL;
    unsigned char word[4];
    uint32_t slot, bytes = g->geo[VS_RAW].slot_size - VS_RAW_HEAD;
    VS_TRY(slot_of(g, node, &slot, &p));
    if (slot != VS_NIL) {
        return VS_OK;
    }
    VS_TRY(take_slot(g, &slot));
    vs_put_u32(word, node);
    VS_TRY(vs_edit(g, VS_RAW, slot, 0, word, sizeof word));
    VS_TRY(vs_edit(g, VS_RAW, slot, VS_RAW_HEAD, v, bytes));
    vs_put_u32(word, slot + 1);
    VS_TRY(vs_edit(g, VS_RAW_AT, node, 0, word, sizeof word));
    g->state.n_raw += slot == g->state.n_raw;
    g->state.raw_rows++;
    return VS_OK;
}

VsStatus vs_raw_drop(VsGraph *g, uint32_t node) {
    const unsigned char *p = NULL;
    unsigned char word[4];
    uint32_t slot, next = g->state.raw_free;
    VS_TRY(slot_of(g, node, &slot, &p));
    if (slot == VS_NIL) {
        return VS_OK;
    }
    vs_put_u32(word, VS_RAW_FREE | (next == VS_NIL ? VS_RAW_NONE : next));
    VS_TRY(vs_edit(g, VS_RAW, slot, 0, word, sizeof word));
    g->state.raw_free = slot;
    g->state.raw_rows--;
    if (g->state.raw_rows == 0) { /* as if there had never been one */
        g->state.n_raw = 0;
        g->state.raw_free = VS_NIL;
    }
    return VS_OK;
}

void vs_raw_count(VsGraph *g, uint32_t judged, uint32_t blurred) {
    enum { LATE = 8192 };
    g->state.judged += judged;
    g->state.blurred += blurred;
    while (g->state.judged >= LATE) {
        g->state.judged /= 2;
        g->state.blurred /= 2;
    }
}

/* ---- scores --------------------------------------------------------------------- */

/* From what a kernel computes to the order of codes. */
static float order_of(const VsQuery *q, float computed) {
    float order = (q->params->metric == VS_DOT ? -computed : computed) / q->scale;
    return order > -FLT_MAX && order < FLT_MAX ? order : order < 0 ? -FLT_MAX : FLT_MAX;
}

static VsKernelFn kernel_of(const VsQuery *q) {
    return q->params->metric == VS_DOT ? q->kernels->dot_f32 : q->kernels->l2sq_f32;
}

static void score_decoded(const VsQuery *q, const unsigned char *const *codes, uint32_t n,
                          float *order) {
    const VsCodec *codec = vs_codec(q->params->codec);
    uint32_t dims = q->params->dims;
    float *decoded = q->floats + dims;
    for (uint32_t i = 0; i < n; i++) {
        codec->decode(q->params, q->model, codes[i], decoded);
        order[i] = order_of(q, kernel_of(q)(q->floats, decoded, dims));
    }
}

void vs_query_as_floats(VsQuery *q) {
    q->score = q->full = score_decoded;
    q->score_bytes = vs_codec(q->params->codec)->code_size(q->params);
    q->as_floats = 1;
}

/* What the order of a code is too small by, given the node. */
static VsStatus short_by(VsGraph *g, const VsQuery *q, uint32_t node, float *out) {
    const VsNode *n = NULL;
    VS_TRY(vs_node(g, node, &n));
    float lost = vs_error(n->error), by = lost * lost / q->scale;
    *out = by < FLT_MAX ? by : 0;
    return VS_OK;
}

/* Nodes of a chunk that are raw, or those that are not: where they stand and what they are
 * compared by. */
enum { CHUNK = 64 };
typedef struct Group {
    uint32_t at[CHUNK];
    const unsigned char *data[CHUNK];
    uint32_t n;
} Group;

static void put(Group *to, uint32_t at, const void *data) {
    to->at[to->n] = at;
    to->data[to->n++] = data;
}

VsStatus vs_raw_score(VsGraph *g, const VsQuery *q, VsScore score, const uint32_t *node,
                      const unsigned char *const *code, uint32_t n, float *order) {
    VsBatchFn batch = q->params->metric == VS_DOT ? q->kernels->dot_f32_batch
                                                  : q->kernels->l2sq_f32_batch;
    int middles = q->params->codec == VS_CODEC_PQ && q->params->metric != VS_DOT;
    for (uint32_t from = 0; from < n; from += CHUNK) {
        Group raw = {.n = 0}, coded = {.n = 0};
        float out[CHUNK];
        for (uint32_t i = from; i < n && i < from + CHUNK; i++) {
            const float *v = NULL;
            VS_TRY(vs_raw(g, node[i], &v));
            put(v != NULL ? &raw : &coded, i, v != NULL ? (const void *)v : code[i]);
        }
        batch((const unsigned char *)q->floats, raw.data, raw.n, q->params->dims, out);
        for (uint32_t i = 0; i < raw.n; i++) {
            order[raw.at[i]] = order_of(q, out[i]);
        }
        score(q, coded.data, coded.n, out);
        for (uint32_t i = 0; i < coded.n; i++) {
            float more = 0;
            VS_TRY(middles ? short_by(g, q, node[coded.at[i]], &more) : VS_OK);
            order[coded.at[i]] = out[i] + more;
        }
    }
    return VS_OK;
}

VsStatus vs_share_of(VsGraph *g, uint32_t node, float share, float *out) {
    const float *v = NULL;
    VS_TRY(vs_raw(g, node, &v));
    *out = v != NULL ? 0 : share;
    return VS_OK;
}
