/*
 * An index in memory; see vecsql.h. The one file of the core that uses libc's allocator:
 * here is no SQLite to ask.
 */
#include "csrc/memory/memory_index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/kernel/batch.h"
#include "csrc/build/pending.h"
#include "csrc/build/nodes.h"
#include "csrc/kernel/float.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"
#include "csrc/search/search.h"
#include "csrc/search/team.h"
#include "csrc/graph/validate.h"

struct VsMemoryIndex {
    VsGraph *graph;
    int64_t next;
    unsigned threads;
    const float *adding; /* vectors of the running call, the first for rowid `first` */
    int64_t first;
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

/* A row's vector, if it came in the running call. */
static VsStatus vector_of(void *ctx, int64_t rowid, void *out, int *found) {
    const VsMemoryIndex *index = ctx;
    size_t dims = index->graph->params.code.dims;
    *found = index->adding != NULL && rowid >= index->first && rowid < index->next;
    if (*found) {
        memcpy(out, index->adding + (size_t)(rowid - index->first) * dims,
               dims * sizeof(float));
    }
    return VS_OK;
}

VsMemoryIndex *vs_memory_open(uint32_t dims, int metric, int kind, int codec, uint32_t m,
                              uint32_t ef_construction) {
    VsParams params = {
        .code = {.dims = dims, .metric = (VsMetric)metric, .codec = (VsCodecId)codec},
        .kind = (VsIndexKind)kind,
        .m = m,
        .ef_construction = ef_construction,
        .ef_search = 64,
        .page_bytes = 4048};
    VsMemoryIndex *index = vs_alloc_zero(&libc_alloc, 1, sizeof *index);
    VsHooks hooks = {.vector = vector_of, .ctx = index};
    if (index == NULL || metric < VS_L2 || metric > VS_DOT || kind < VS_HNSW ||
        kind > VS_FLAT || codec < VS_CODEC_NONE || codec > VS_CODEC_PQ ||
        ef_construction == 0 ||
        vs_graph_open(&libc_alloc, &params, &hooks, &index->graph) != VS_OK) {
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
    index->adding = vectors;
    index->first = index->next;
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
    index->adding = NULL;
    return st == VS_OK ? linked : st;
}

int vs_memory_delete(VsMemoryIndex *index, uint32_t node) {
    vs_begin(index->graph);
    return finish(index, vs_delete(index->graph, node));
}

/* Of an order by all that a code knows. sq8 and pq compare cosine by l2 of unit vectors:
 * |a - b|^2 = 2 (1 - cos). */
static float distance_of(const VsQuery *q, float order) {
    VsMetric metric = q->params->metric;
    int learns = q->params->codec != VS_CODEC_NONE;
    float scaled = learns ? order * q->scale : order;
    return metric == VS_L2       ? sqrtf(scaled)
           : metric != VS_COSINE ? scaled
           : learns              ? scaled / 2
                                 : 1 + scaled;
}

typedef struct Candidate {
    float low;
    int64_t rowid;
} Candidate;

typedef struct Search {
    const float *queries, *vectors;
    size_t k, ef;
    size_t room;           /* candidates of a query */
    VsHit *hits;           /* room for each worker */
    Candidate *candidates; /* the same */
    int64_t *rowids;
    float *distances;
} Search;

static const float *vector_at(const Search *s, int64_t rowid, size_t dims) {
    return s->vectors + (size_t)rowid * dims;
}

static int compare_candidates(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

/* Puts a row among the n nearest of the answer, which are in order; returns how many
 * there are then. */
static size_t put_nearest(const Search *s, size_t item, size_t n, int64_t rowid,
                          float distance) {
    int64_t *rowids = s->rowids + item * s->k;
    float *distances = s->distances + item * s->k;
    if (n == s->k && distance >= distances[n - 1]) {
        return n;
    }
    size_t at = n < s->k ? n : n - 1;
    for (; at > 0 && distance < distances[at - 1]; at--) {
        rowids[at] = rowids[at - 1];
        distances[at] = distances[at - 1];
    }
    rowids[at] = rowid;
    distances[at] = distance;
    return n < s->k ? n + 1 : n;
}

/* The hits by the least distance that their rows are likely to have. */
static VsStatus likely(VsGraph *g, const VsQuery *q, const VsHit *hits, size_t n,
                       Candidate *out) {
    float share = vs_likely_share(&g->params.code), high;
    int bounded = g->params.code.codec != VS_CODEC_PQ; /* its errors do add up */
    for (size_t i = 0; i < n; i++) {
        const VsNode *node = NULL;
        float part = share;
        VsStatus st = vs_node(g, hits[i].node, &node);
        st = st == VS_OK ? vs_share_of(g, hits[i].node, share, &part) : st;
        if (st != VS_OK) {
            return st;
        }
        out[i] = (Candidate){-INFINITY, node->rowid};
        if (bounded) {
            vs_bounds(q, hits[i].order, vs_error(node->error), part, &out[i].low, &high);
        }
    }
    qsort(out, n, sizeof *out, compare_candidates);
    return VS_OK;
}

/* Compares candidates by their vectors until nothing nearer can be expected, as a cursor
 * does (ext/query/rerank.c). Vectors are fetched a few ahead. */
static size_t rerank(const Search *s, const VsQuery *q, const float *query, size_t item,
                     const Candidate *c, size_t n) {
    const VsCodecParams *p = q->params;
    size_t kept = 0, bytes = p->dims * sizeof *query;
    for (size_t i = 0; i < n; i++) {
        if (kept == s->k && c[i].low > s->distances[item * s->k + kept - 1]) {
            break;
        }
        for (size_t f = i == 0 ? 1 : i + VS_LOOKAHEAD; f < n && f <= i + VS_LOOKAHEAD;
             f++) {
            vs_fetch_code_far((const unsigned char *)vector_at(s, c[f].rowid, p->dims),
                              bytes);
        }
        const float *v = vector_at(s, c[i].rowid, p->dims);
        double d = vs_metric_distance(p->metric, p->element, query, v, p->dims);
        kept = put_nearest(s, item, kept, c[i].rowid, (float)d);
    }
    return kept;
}

static VsStatus search_one(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    const Search *s = ctx;
    const VsCodecParams *p = &g->params.code;
    const float *query = s->queries + item * p->dims;
    VsHit *hits = s->hits + worker * s->room;
    VsQuery q;
    size_t n = 0, kept = 0;
    VsStatus st = vs_query_set(g, query, &q);
    st = st == VS_OK ? vs_search(g, &q, s->room, s->ef, hits, &n) : st;
    if (st == VS_OK && s->vectors != NULL) {
        Candidate *c = s->candidates + worker * s->room;
        st = likely(g, &q, hits, n, c);
        kept = st == VS_OK ? rerank(s, &q, query, item, c, n) : 0;
    }
    for (size_t i = 0; st == VS_OK && s->vectors == NULL && i < n && i < s->k; i++) {
        const VsNode *node = NULL;
        st = vs_node(g, hits[i].node, &node);
        if (st == VS_OK) {
            float d = distance_of(&q, hits[i].order);
            kept = put_nearest(s, item, kept, node->rowid, d);
        }
    }
    for (; kept < s->k; kept++) {
        s->rowids[item * s->k + kept] = -1;
        s->distances[item * s->k + kept] = INFINITY;
    }
    return st;
}

int vs_memory_search(VsMemoryIndex *index, const float *queries, size_t n, size_t k,
                     size_t ef, const float *vectors, int64_t *rowids, float *distances) {
    const VsGraph *g = index->graph;
    size_t room = vectors == NULL ? k : g->codec->candidates(k, ef);
    unsigned threads = room > VS_SCAN_SORTED ? 1 : index->threads;
    VsTeam team;
    VsStatus st = vs_team_open(index->graph, threads, &team);
    Search s = {.queries = queries,
                .vectors = vectors,
                .k = k,
                .ef = ef,
                .room = room,
                .hits = vs_alloc(&libc_alloc, room * team.n, sizeof(VsHit)),
                .candidates = vs_alloc(&libc_alloc, room * team.n, sizeof(Candidate)),
                .rowids = rowids,
                .distances = distances};
    st = s.hits == NULL || s.candidates == NULL ? VS_NOMEM : st;
    st = st == VS_OK ? vs_team_run(&team, n, vs_search_room(g, room, ef), search_one, &s)
                     : st;
    vs_team_close(&team);
    free(s.hits);
    free(s.candidates);
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
