/* Queries for a graph; see query.h. */
#include "csrc/search/query.h"

#include <math.h>
#include <string.h>

#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"

uint64_t vs_evaluations(const VsGraph *g) {
    return g->scratch->evaluations;
}

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
    VS_TRY(vs_raw(g, node, &v));
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
    VS_TRY(vs_slot(g, VS_CODE, node, &code));
    VS_TRY(vs_model_ready(g));
    *out = (VsQuery){.params = by,
                     .model = g->model,
                     .kernels = vs_kernels(),
                     .data = g->scratch->query[1 + which]};
    g->codec->prepare_code(out, code);
    return g->state.raw_rows > 0 ? meet_raw(g, node, code, out) : VS_OK;
}

VsStatus vs_order(VsGraph *g, const VsQuery *q, uint32_t node, float *out) {
    const unsigned char *code = NULL;
    VS_TRY(vs_slot(g, VS_CODE, node, &code));
    g->scratch->evaluations++;
    if (q->meets_raw) {
        return vs_raw_score(g, q, q->score, &node, &code, 1, out);
    }
    q->score(q, &code, 1, out);
    return VS_OK;
}
