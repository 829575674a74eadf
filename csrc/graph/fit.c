/* Fitting, re-coding, and following the state; rules in fit.h. */
#include "csrc/graph/fit.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "csrc/codec/blur.h"
#include "csrc/graph/raw.h"
#include "csrc/base/hash.h"

/* ---- models at hand ------------------------------------------------------------- */

/* Reads a stored model into one block of memory. */
static VsStatus model_new(const VsGraph *g, const unsigned char *blob, size_t len,
                          VsModel **out) {
    size_t derived = g->codec->derived_size(&g->params.code);
    VsModel *m = vs_alloc_zero(&g->alloc, 1, sizeof *m + len + derived);
    if (m == NULL) {
        return VS_NOMEM;
    }
    m->derived = m + 1;
    m->blob = (unsigned char *)(m + 1) + derived;
    memcpy((unsigned char *)(m + 1) + derived, blob, len);
    m->len = (uint32_t)len;
    m->hash = vs_hash64(0, blob, len);
    VsStatus st = g->codec->read_model(&g->params.code, m->blob, len, m);
    if (st != VS_OK) {
        vs_free(&g->alloc, m);
        return st;
    }
    *out = m;
    return VS_OK;
}

/* The newest first; the oldest goes. A statement makes one at most, and undoing it needs
 * the one before. */
static void remember(VsGraph *g, VsModel *m) {
    vs_free(&g->alloc, g->models[VS_MODELS - 1]);
    memmove(g->models + 1, g->models, (VS_MODELS - 1) * sizeof *g->models);
    g->models[0] = m;
    g->model = m;
}

static VsStatus load(VsGraph *g) {
    const unsigned char *blob = NULL;
    size_t len = 0;
    VsModel *m = NULL;
    if (g->hooks.load_model == NULL) {
        return VS_CORRUPT;
    }
    VS_TRY(g->hooks.load_model(g->hooks.ctx, g->state.epoch, &blob, &len));
    VsStatus st = blob == NULL || vs_hash64(0, blob, len) != g->state.model
                      ? VS_CORRUPT
                      : model_new(g, blob, len, &m);
    g->hooks.load_done(g->hooks.ctx);
    if (st == VS_OK) {
        remember(g, m);
    }
    return st;
}

VsStatus vs_model_ready(VsGraph *g) {
    if (g->codec->fit == NULL || g->state.epoch == 0) {
        g->model = NULL; /* codes without what explains them are damage */
        return g->codec->fit == NULL || g->state.n_live == 0 ? VS_OK : VS_CORRUPT;
    }
    if (g->model != NULL && g->model->hash == g->state.model) {
        return VS_OK;
    }
    for (int i = 0; i < VS_MODELS; i++) {
        VsModel *m = g->models[i];
        if (m != NULL && m->hash == g->state.model) {
            g->models[i] = g->models[0]; /* in use: the last one to be dropped */
            g->models[0] = m;
            g->model = m;
            return VS_OK;
        }
    }
    return load(g);
}

const VsModel *vs_model_unsaved(const VsGraph *g) {
    const VsModel *m = NULL;
    for (int i = 0; i < VS_MODELS && g->model_unsaved && m == NULL; i++) {
        if (g->models[i] != NULL && g->models[i]->hash == g->state.model) {
            m = g->models[i];
        }
    }
    return g->state.epoch > 0 ? m : NULL;
}

void vs_model_saved(VsGraph *g) {
    g->model_unsaved = 0;
}

/* ---- coding --------------------------------------------------------------------- */

int vs_model_leaves(const VsCodecParams *params, const VsModel *m, float error,
                    float times) {
    float rounding = (float)params->dims * m->step * m->step / 12;
    return isfinite(error) && error * error > times * (m->typical + rounding);
}

uint16_t vs_model_encode(VsGraph *g, const void *v, unsigned char *code, int *far) {
    int clipped = 0;
    float error = g->codec->encode(&g->params.code, g->model, v, code, &clipped);
    g->state.clipped += clipped != 0 && g->state.clipped < UINT32_MAX;
    *far = g->model != NULL && vs_model_leaves(&g->params.code, g->model, error, VS_FAR);
    return vs_error_pack(error);
}

int vs_model_stale(const VsGraph *g) {
    return g->codec->fit != NULL && g->state.clipped > g->state.n_live / 16 + 16;
}

/* ---- fitting -------------------------------------------------------------------- */

static int due(const VsGraph *g) {
    uint64_t fitted = g->state.fitted;
    return g->codec->fit != NULL &&
           (g->state.epoch == 0 || fitted == 0 ||
            (fitted < VS_FITTED_ROWS && g->state.n_live >= fitted * 4));
}

/* The vector of a live node as the user gave it, if its row can be read. */
static VsStatus row_vector(VsGraph *g, const VsNode *n, void *out, int *found) {
    *found = 0;
    return (n->flags & VS_STATUS_MASK) == VS_LIVE && g->hooks.vector != NULL
               ? g->hooks.vector(g->hooks.ctx, n->rowid, out, found)
               : VS_OK;
}

/* Up to `want` vectors of live nodes, evenly spread over the node ids, as float32. */
static VsStatus take_sample(VsGraph *g, size_t want, void *room, float *sample,
                            size_t *n) {
    size_t dims = g->params.code.dims, stride = g->state.n_nodes / want + 1;
    *n = 0;
    for (size_t u = 0; u < g->state.n_nodes && *n < want; u += stride) {
        const VsNode *node = NULL;
        const unsigned char *code = NULL;
        const float *raw = NULL;
        float *to = sample + *n * dims;
        int found = 0;
        VS_TRY(vs_node(g, (uint32_t)u, &node));
        if ((node->flags & VS_STATUS_MASK) != VS_LIVE) {
            continue;
        }
        VS_TRY(row_vector(g, node, room, &found));
        if (found) {
            vs_element_to_f32(g->params.code.element, room, to, dims);
        } else if (g->model != NULL) {
            VS_TRY(vs_raw(g, (uint32_t)u, &raw));
            VS_TRY(vs_slot(g, VS_CODE, (uint32_t)u, &code));
            if (raw != NULL) {
                memcpy(to, raw, dims * sizeof *raw);
            } else {
                g->codec->decode(&g->params.code, g->model, code, to);
            }
        }
        *n += found || g->model != NULL;
    }
    return VS_OK;
}

typedef struct Recoding {
    const VsModel *from, *to;
    void *vector;        /* of the element type */
    float *floats;       /* dims of them */
    unsigned char *code; /* the new code */
} Recoding;

/* A row far outside the new range needs its vector. One that is raw stays so: whether its new
 * code tells its neighbours apart is found out where rows are linked, by `rebuild` for all. */
static VsStatus keep_raw(VsGraph *g, uint32_t node, const Recoding *r, float error) {
    const VsCodecParams *p = &g->params.code;
    if (!vs_raw_helps(g) || !vs_model_leaves(p, r->to, error, VS_FAR)) {
        return VS_OK;
    }
    vs_codec_floats(p, r->vector, r->floats);
    return vs_raw_add(g, node, r->floats);
}

/* The code of a node whose row cannot be read: from its raw vector, or from its old code. */
static VsStatus recode_unread(VsGraph *g, uint32_t node, const Recoding *r, float *error,
                              int *clipped) {
    VsCodecParams params = g->params.code;
    const unsigned char *old = NULL;
    const float *raw = NULL;
    VS_TRY(vs_raw(g, node, &raw));
    if (raw == NULL) {
        VS_TRY(vs_slot(g, VS_CODE, node, &old));
        g->codec->decode(&params, r->from, old, r->floats);
    } else {
        memcpy(r->floats, raw, params.dims * sizeof *raw);
        *error = 0;
    }
    params.element = VS_F32;
    *error += g->codec->encode(&params, r->to, r->floats, r->code, clipped);
    *error = nextafterf(*error, INFINITY);
    return VS_OK;
}

static VsStatus recode_node(VsGraph *g, uint32_t node, const Recoding *r) {
    const VsNode *n = NULL;
    unsigned char packed[2];
    int found = 0, clipped = 0;
    VS_TRY(vs_node(g, node, &n));
    if ((n->flags & VS_STATUS_MASK) == VS_FREE) {
        return VS_OK;
    }
    float error = vs_error(n->error);
    VS_TRY(row_vector(g, n, r->vector, &found));
    if (found) {
        error = g->codec->encode(&g->params.code, r->to, r->vector, r->code, &clipped);
    } else {
        VS_TRY(recode_unread(g, node, r, &error, &clipped));
    }
    g->state.clipped += clipped != 0;
    VS_TRY(vs_edit(g, VS_CODE, node, 0, r->code, g->geo[VS_CODE].fixed_size));
    vs_put_u16(packed, vs_error_pack(error));
    VS_TRY(vs_edit(g, VS_NODE, node, offsetof(VsNode, error), packed, sizeof packed));
    return found ? keep_raw(g, node, r, error) : VS_OK;
}

static VsStatus recode_all(VsGraph *g, const Recoding *r) {
    VsStatus st = VS_OK;
    g->state.clipped = 0;
    for (uint32_t u = 0; st == VS_OK && u < g->state.n_nodes; u++) {
        st = recode_node(g, u, r);
        if (st == VS_OK && u % 1024 == 1023 && vs_interrupted(g)) {
            st = VS_INTERRUPT;
        }
    }
    return st;
}

/* Tables that a search with the usual ef scans (search.h). */
#define SCANNED (64 * VS_SCAN_FACTOR)

/* The new model takes the place of the old one, codes included. */
static VsStatus adopt(VsGraph *g, VsModel *m, Recoding *r) {
    r->from = g->model;
    r->to = m;
    remember(g, m);
    g->state.epoch++;
    g->state.model = m->hash;
    g->model_unsaved = 1;
    return recode_all(g, r);
}

/* What fitting works in. */
typedef struct Fit {
    float *sample, *kept; /* kept: for the blur */
    void *trial;
    unsigned char *blob;
    VsFitting with;
} Fit;

/* Fits on the n vectors in f->sample, which stand for so many rows. */
static VsStatus fit(VsGraph *g, size_t n, uint32_t rows, Recoding *r, const Fit *f) {
    const VsCodecParams *p = &g->params.code;
    VsModel *m = NULL;
    /* Nothing walks a flat table, or a small one: eight bits err less. */
    int scans = g->params.kind == VS_FLAT || rows < SCANNED;
    VsNavBits bits = scans && p->nav_bits == VS_NAV_AUTO ? VS_NAV_8 : p->nav_bits;
    size_t kept = vs_blur_keep(p, f->sample, n, f->kept);
    size_t len = g->codec->fit(p, bits, f->sample, n, &f->with, f->blob);
    VS_TRY(model_new(g, f->blob, len, &m));
    g->state.fitted = rows > 0 ? rows : 1;
    g->state.blur = vs_blur(p, m, f->kept, kept, f->trial);
    g->changed = 1; /* the state, if not a code */
    if (g->model != NULL && g->codec->alike(p, g->model, m) && !vs_model_stale(g)) {
        vs_free(&g->alloc, m);
        return VS_OK;
    }
    return adopt(g, m, r);
}

/* Takes the sample that is given, that of the live rows, or the first vector, and fits. */
static VsStatus sample_and_fit(VsGraph *g, const VsSample *given, const void *v,
                               size_t want, Recoding *r, const Fit *f) {
    size_t n = 0, dims = g->params.code.dims;
    VsStatus st = VS_OK;
    if (given != NULL) {
        n = given->n;
        memcpy(f->sample, given->v, n * dims * sizeof *f->sample);
    } else {
        st = take_sample(g, want, r->vector, f->sample, &n);
    }
    if (st == VS_OK && n == 0 && v != NULL) {
        vs_element_to_f32(g->params.code.element, v, f->sample, dims);
        n = 1;
    }
    return st == VS_OK && n > 0
               ? fit(g, n, given != NULL ? given->rows : g->state.n_live, r, f)
               : st;
}

size_t vs_model_sample_size(const VsGraph *g) {
    return g->codec->fit == NULL ? 0 : g->codec->sample_size(&g->params.code);
}

static VsStatus refit(VsGraph *g, const VsSample *given, const void *v) {
    const VsCodecParams *p = &g->params.code;
    size_t want = vs_model_sample_size(g);
    want = g->state.n_live < want ? g->state.n_live : want;
    want = given != NULL ? given->n : want;
    want = want == 0 ? 1 : want;
    VS_TRY(vs_model_ready(g));
    Recoding r = {.vector = vs_alloc(&g->alloc, p->dims, sizeof(float)),
                  .floats = vs_alloc(&g->alloc, p->dims, sizeof(float)),
                  .code = vs_alloc(&g->alloc, 1, g->geo[VS_CODE].slot_size)};
    Fit f = {.sample = vs_alloc(&g->alloc, want * p->dims, sizeof(float)),
             .kept = vs_alloc(&g->alloc, VS_BLUR_TRIED * (size_t)p->dims, sizeof(float)),
             .trial = vs_alloc(&g->alloc, 1, vs_blur_scratch(p)),
             .blob = vs_alloc(&g->alloc, 1, g->codec->model_size(p))};
    f.with.threads = g->hooks.threads == NULL ? 1 : g->hooks.threads(g->hooks.ctx);
    f.with.scratch =
        vs_alloc(&g->alloc, 1, g->codec->fit_scratch(p, want, f.with.threads) + 1);
    VsStatus st = r.vector == NULL || r.floats == NULL || r.code == NULL ||
                          f.sample == NULL || f.kept == NULL || f.trial == NULL ||
                          f.blob == NULL || f.with.scratch == NULL
                      ? VS_NOMEM
                      : sample_and_fit(g, given, v, want, &r, &f);
    vs_free(&g->alloc, r.vector);
    vs_free(&g->alloc, r.floats);
    vs_free(&g->alloc, r.code);
    vs_free(&g->alloc, f.sample);
    vs_free(&g->alloc, f.kept);
    vs_free(&g->alloc, f.trial);
    vs_free(&g->alloc, f.blob);
    vs_free(&g->alloc, f.with.scratch);
    return st;
}

VsStatus vs_model_refit(VsGraph *g, const void *v) {
    return refit(g, NULL, v);
}

VsStatus vs_model_learn(VsGraph *g, const VsSample *sample) {
    return refit(g, sample, NULL);
}

VsStatus vs_model_before_insert(VsGraph *g, const void *v) {
    return due(g) ? vs_model_refit(g, v) : vs_model_ready(g);
}
