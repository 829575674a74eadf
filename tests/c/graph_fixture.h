/* Shared by the graph tests: random vectors, and what to compare of a graph. */
#ifndef GRAPH_FIXTURE_H
#define GRAPH_FIXTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/build/nodes.h"
#include "csrc/graph/log.h"
#include "csrc/search/search.h"
#include "csrc/graph/validate.h"
#include "csrc/base/hash.h"
#include "check.h"
#include "heap.h"

static inline VsParams test_params(uint32_t dims, uint32_t m, VsIndexKind kind) {
    return (VsParams){.code = {.dims = dims, .metric = VS_L2, .codec = VS_CODEC_NONE},
                      .kind = kind,
                      .m = m,
                      .ef_construction = 64,
                      .ef_search = 64,
                      .page_bytes = 1024};
}

typedef struct Random {
    uint64_t state;
} Random;

static inline uint64_t random_next(Random *r) {
    return vs_mix64(r->state++);
}

static inline void random_vector(Random *r, float *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        v[i] = (float)(random_next(r) >> 40) / 16777216.0f - 0.5f;
    }
}

static inline int sound(VsGraph *g) {
    VsFinding finding;
    VsStatus st = vs_validate(g, &finding);
    if (st != VS_OK || finding.flaw != VS_FLAW_NONE) {
        printf("status %d: %s (node %u)\n", st, vs_flaw_text(finding.flaw), finding.node);
        return 0;
    }
    return 1;
}

/* Of the state and of every slot of every page. */
static inline uint64_t fingerprint(VsGraph *g) {
    uint64_t h = vs_hash64(0, &g->state, sizeof g->state);
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        for (uint32_t i = 0; i < vs_slots_used(&g->state, (VsPageKind)k); i++) {
            const unsigned char *p = NULL;
            CHECK(vs_slot(g, (VsPageKind)k, i, &p) == VS_OK);
            h = vs_hash64(h, p, g->geo[k].slot_size);
        }
    }
    return h;
}

#endif
