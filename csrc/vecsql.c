/*
 * An index in memory; see vecsql.h. The one file of the core that uses libc's allocator:
 * here is no SQLite to ask.
 */
#include "vecsql.h"

#include <math.h>
#include <stdlib.h>

#include "build.h"
#include "hnsw.h"
#include "kernels.h"
#include "search.h"
#include "team.h"
#include "validate.h"

struct VsMemoryIndex {
    VsGraph *graph;
    int64_t next;
    unsigned threads;
};

static void *libc_resize(void *ctx, void *ptr, size_t size) {
    (void)ctx;
    return realloc(ptr, size);
}

static void libc_release(void *ctx, void *ptr) {
    (void)ctx;
    free(ptr);
}

static const VsAlloc libc_alloc = {libc_resize, libc_release, NULL};

const char *vs_kernels_name(void) {
    return vs_kernels()->name;
}

VsMemoryIndex *vs_memory_open(uint32_t dims, int metric, int kind, uint32_t m,
                              uint32_t ef_construction) {
    VsParams params = {.code = {.dims = dims, .metric = (VsMetric)metric},
                       .kind = (VsIndexKind)kind,
                       .m = m,
                       .ef_construction = ef_construction,
                       .ef_search = 64,
                       .page_bytes = 4048};
    VsHooks none = {0};
    VsMemoryIndex *index = vs_alloc_zero(&libc_alloc, 1, sizeof *index);
    if (index == NULL || metric < VS_L2 || metric > VS_DOT || kind < VS_HNSW ||
        kind > VS_FLAT || ef_construction == 0 ||
        vs_graph_open(&libc_alloc, &params, &none, &index->graph) != VS_OK) {
        free(index);
        return NULL;
    }
    return index;
}

void vs_memory_close(VsMemoryIndex *index) {
    if (index != NULL) {
        vs_graph_close(index->graph);
        free(index);
    }
}

/* There is no log to write here: edits are forgotten as soon as they are made. */
static int finish(VsMemoryIndex *index, VsStatus st) {
    if (st == VS_OK) {
        vs_done(index->graph);
        vs_forget(index->graph);
    } else {
        vs_undo(index->graph);
    }
    return (int)st;
}

void vs_memory_threads(VsMemoryIndex *index, unsigned threads) {
    index->threads = threads;
}

int vs_memory_add(VsMemoryIndex *index, const float *vectors, size_t n) {
    VsGraph *g = index->graph;
    VsBuild build = {.threads = index->threads};
    int st = VS_OK;
    for (size_t i = 0; st == VS_OK && i < n; i++) {
        uint32_t node;
        st = vs_pending_due(g) ? (int)vs_link_pending(g, &build) : VS_OK;
        if (st == VS_OK) {
            vs_begin(g);
            st = finish(index,
                        vs_insert_pending(g, index->next,
                                          vectors + i * g->params.code.dims, &node));
        }
        index->next += st == VS_OK;
    }
    int linked = (int)vs_link_pending(g, &build);
    vs_forget(g);
    return st == VS_OK ? linked : st;
}

int vs_memory_delete(VsMemoryIndex *index, uint32_t node) {
    vs_begin(index->graph);
    return finish(index, vs_delete(index->graph, node));
}

static float distance_of(VsMetric metric, float order) {
    return metric == VS_L2 ? sqrtf(order) : metric == VS_COSINE ? 1 + order : order;
}

typedef struct Search {
    const float *queries;
    size_t k, ef;
    VsHit *hits; /* k for each worker */
    int64_t *rowids;
    float *distances;
} Search;

static VsStatus search_one(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    const Search *s = ctx;
    VsHit *hits = s->hits + worker * s->k;
    int64_t *rowids = s->rowids + item * s->k;
    float *distances = s->distances + item * s->k;
    VsQuery q;
    size_t n = 0;
    VsStatus st = vs_query_set(g, s->queries + item * g->params.code.dims, &q);
    st = st == VS_OK ? vs_search(g, &q, s->k, s->ef, NULL, hits, &n) : st;
    for (size_t i = 0; st == VS_OK && i < s->k; i++) {
        const VsNode *node = NULL;
        rowids[i] = -1;
        distances[i] = INFINITY;
        if (i < n) {
            st = vs_node(g, hits[i].node, &node);
            rowids[i] = st == VS_OK ? node->rowid : -1;
            distances[i] = distance_of(g->params.code.metric, hits[i].order);
        }
    }
    return st;
}

int vs_memory_search(VsMemoryIndex *index, const float *queries, size_t n, size_t k,
                     size_t ef, int64_t *rowids, float *distances) {
    unsigned threads = k > VS_SCAN_SORTED ? 1 : index->threads;
    VsTeam team;
    VsStatus st = vs_team_open(index->graph, threads, &team);
    Search s = {queries, k,        ef, vs_alloc(&libc_alloc, k * team.n, sizeof(VsHit)),
                rowids,  distances};
    st = s.hits == NULL ? VS_NOMEM : st;
    st = st == VS_OK
             ? vs_team_run(&team, n, vs_search_room(index->graph, k, ef), search_one, &s)
             : st;
    vs_team_close(&team);
    free(s.hits);
    return (int)st;
}

uint64_t vs_memory_evaluations(const VsMemoryIndex *index) {
    return vs_evaluations(index->graph);
}

const char *vs_memory_validate(VsMemoryIndex *index) {
    VsFinding finding;
    if (vs_validate(index->graph, &finding) != VS_OK) {
        return "the check ran out of memory";
    }
    return finding.flaw == VS_FLAW_NONE ? NULL : vs_flaw_text(finding.flaw);
}
