/* Allocation of search memory; see scratch.h. */
#include "csrc/graph/scratch.h"

VsStatus vs_scratch_new(const VsAlloc *a, size_t query_size, VsScratch **out) {
    VsScratch *s = vs_alloc_zero(a, 1, sizeof *s);
    VsStatus st = s == NULL ? VS_NOMEM : VS_OK;
    *out = s;
    for (int i = 0; st == VS_OK && i < VS_QUERIES; i++) {
        s->query[i] = vs_alloc(a, 1, query_size);
        st = s->query[i] == NULL ? VS_NOMEM : VS_OK;
    }
    return st;
}

void vs_scratch_free(const VsAlloc *a, VsScratch *s) {
    if (s == NULL) {
        return;
    }
    for (int i = 0; i < VS_QUERIES; i++) {
        vs_free(a, s->query[i]);
    }
    vs_free(a, s->visited);
    vs_free(a, s->touched);
    vs_free(a, s->pool);
    vs_free(a, s->roots);
    vs_free(a, s->scan);
    vs_free(a, s);
}
