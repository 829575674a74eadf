/* The test of four bits; see navigate.h. */
#include "csrc/codec/navigate.h"

#include <math.h>
#include <string.h>

#include "csrc/base/sort.h"

#define QUERIES 64

/* What lies in the scratch memory, in this order. */
typedef struct Trial {
    const unsigned char **code; /* of each vector */
    float *full, *high;         /* orders relative to the query: by eight bits, by four */
    float *vector;
    unsigned char *codes, *query;
    size_t n;
} Trial;

static Trial trial_at(const VsCodecParams *params, size_t n, void *scratch) {
    Trial t = {.code = scratch, .n = n};
    t.full = (float *)(void *)(t.code + VS_NAV_TRIED);
    t.high = t.full + VS_NAV_TRIED;
    t.vector = t.high + VS_NAV_TRIED;
    t.query = (unsigned char *)(t.vector + (size_t)VS_NAV_TRIED * params->dims);
    t.codes = t.query + vs_codec_sq8.query_size(params);
    return t;
}

size_t vs_nav_scratch(const VsCodecParams *params) {
    return VS_NAV_TRIED *
               (sizeof(unsigned char *) + 2 * sizeof(float) +
                params->dims * sizeof(float) + vs_codec_sq8.code_size(params)) +
           vs_codec_sq8.query_size(params) + 8;
}

size_t vs_nav_keep(const VsCodecParams *params, const float *sample, size_t n,
                   void *scratch) {
    Trial t = trial_at(params, n < VS_NAV_TRIED ? n : VS_NAV_TRIED, scratch);
    for (size_t i = 0; i < t.n; i++) {
        memcpy(t.vector + i * params->dims, sample + i * n / t.n * params->dims,
               params->dims * sizeof *sample);
    }
    return t.n;
}

/* How far down the order of four bits VS_NAV_HELD of the nearest are: they, and the others
 * that come before the last of them. The query itself has the order INFINITY in both. */
static size_t depth_of(const Trial *t) {
    double near[VS_NAV_NEAR], found[VS_NAV_HELD];
    size_t n_near = 0, n_found = 0, n = VS_NAV_HELD;
    for (size_t i = 0; i < t->n; i++) {
        n_near = vs_keep_smallest(near, n_near, VS_NAV_NEAR, (double)t->full[i]);
    }
    double reach = near[VS_NAV_NEAR - 1];
    for (size_t i = 0; i < t->n; i++) {
        if ((double)t->full[i] <= reach) {
            n_found = vs_keep_smallest(found, n_found, VS_NAV_HELD, (double)t->high[i]);
        }
    }
    for (size_t i = 0; i < t->n; i++) {
        n += (double)t->full[i] > reach && (double)t->high[i] < found[VS_NAV_HELD - 1];
    }
    return n;
}

int vs_nav_holds(const VsCodecParams *params, const unsigned char *blob, size_t len,
                 size_t n, unsigned depth, void *scratch) {
    VsCodecParams floats = *params; /* the sample's, whatever the column's are */
    VsModel model = {0};
    size_t size = vs_codec_sq8.code_size(params), total = 0, queries = 0;
    Trial t = trial_at(params, n, scratch);
    floats.element = VS_F32;
    if (n < VS_NAV_LEAST ||
        vs_codec_sq8.read_model(&floats, blob, len, &model) != VS_OK) {
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        t.code[i] = t.codes + i * size;
        vs_codec_sq8.encode(&floats, &model, t.vector + i * params->dims,
                            t.codes + i * size, NULL);
    }
    VsQuery q = {
        .params = &floats, .model = &model, .kernels = vs_kernels(), .data = t.query};
    for (size_t i = 0; i < n; i += n / QUERIES) {
        vs_codec_sq8.prepare(&q, t.vector + i * params->dims);
        q.full(&q, t.code, (uint32_t)n, t.full);
        q.score(&q, t.code, (uint32_t)n, t.high);
        t.full[i] = t.high[i] = INFINITY;
        total += depth_of(&t);
        queries++;
    }
    return total * 100 <= queries * VS_NAV_HELD * depth;
}
