/*
 * An index in memory; see memory_index.h. The one file of the core that uses libc's allocator:
 * here is no SQLite to ask.
 */
#include "csrc/memory/memory_index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/build/nodes.h"
#include "csrc/build/pending.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"
#include "csrc/graph/validate.h"
#include "csrc/kernel/batch.h"
#include "csrc/kernel/float.h"
#include "csrc/memory/image.h"
#include "csrc/search/search.h"
#include "csrc/search/readers.h"

#define NO_NODE VS_NIL
#define EXPECTED (VS_NIL - 1) /* a row of an image whose node was not met yet */

struct VsMemoryIndex {
    VsGraph *graph;
    unsigned threads;
    uint32_t *node_of;    /* of a row, or NO_NODE */
    size_t n_rows;        /* numbers that node_of has room for */
    const float *vectors; /* of the running call, NULL between calls */
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

/* The matrix has the vector of every row that the graph can name. */
static VsStatus vector_of(void *ctx, int64_t rowid, void *out, int *found) {
    const VsMemoryIndex *index = ctx;
    size_t dims = index->graph->params.code.dims;
    *found = index->vectors != NULL;
    if (*found) {
        memcpy(out, index->vectors + (size_t)rowid * dims, dims * sizeof(float));
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
        free(index->node_of);
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

/* Makes room for the number of a row. */
static VsStatus reserve_row(VsMemoryIndex *index, int64_t row) {
    size_t had = index->n_rows;
    if (row < 0 || row > VS_MAX_NODES) {
        return VS_RANGE;
    }
    VsStatus st = vs_grow(&libc_alloc, (void **)&index->node_of, &index->n_rows,
                          (size_t)row + 1, sizeof *index->node_of);
    for (size_t i = had; i < index->n_rows; i++) {
        index->node_of[i] = NO_NODE;
    }
    return st;
}

static VsStatus add_row(VsMemoryIndex *index, int64_t row, const VsBuild *build) {
    VsGraph *g = index->graph;
    uint32_t node;
    VS_TRY(vs_pending_due(g) ? vs_link_pending(g, build) : VS_OK);
    VS_TRY(reserve_row(index, row));
    if (index->node_of[row] != NO_NODE) {
        return VS_RANGE;
    }
    const float *v = index->vectors + (size_t)row * g->params.code.dims;
    vs_begin(g);
    VS_TRY((VsStatus)finish(index, vs_insert_pending(g, row, v, &node)));
    index->node_of[row] = node;
    return VS_OK;
}

int vs_memory_add(VsMemoryIndex *index, const float *vectors, const int64_t *rows,
                  size_t n) {
    VsBuild build = {.threads = index->threads};
    VsStatus st = VS_OK;
    index->vectors = vectors;
    for (size_t i = 0; st == VS_OK && i < n; i++) {
        st = add_row(index, rows[i], &build);
    }
    VsStatus linked = vs_link_pending(index->graph, &build);
    vs_forget(index->graph);
    index->vectors = NULL;
    return (int)(st == VS_OK ? linked : st);
}

int vs_memory_has(const VsMemoryIndex *index, int64_t row) {
    return row >= 0 && (uint64_t)row < index->n_rows && index->node_of[row] != NO_NODE;
}

int vs_memory_remove(VsMemoryIndex *index, const float *vectors, int64_t row) {
    if (!vs_memory_has(index, row)) {
        return VS_RANGE;
    }
    index->vectors = vectors;
    vs_begin(index->graph);
    int st = finish(index, vs_delete(index->graph, index->node_of[row]));
    index->vectors = NULL;
    if (st == VS_OK) {
        index->node_of[row] = NO_NODE;
    }
    return st;
}

static void scale_to_unit(const float *v, size_t dims, float *out) {
    double sum = 0;
    for (size_t i = 0; i < dims; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    double length = sum > 0 ? sqrt(sum) : 1;
    for (size_t i = 0; i < dims; i++) {
        out[i] = (float)((double)v[i] / length);
    }
}

size_t vs_memory_prepare(const float *vectors, size_t n, uint32_t dims, float *unit) {
    for (size_t row = 0; row < n; row++) {
        const float *v = vectors + row * dims;
        if (vs_element_first_nonfinite(VS_F32, v, dims) < dims) {
            return row;
        }
        if (unit != NULL) {
            scale_to_unit(v, dims, unit + row * dims);
        }
    }
    return n;
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
    const VsMemorySearch *asked;
    size_t room;           /* candidates of a query */
    VsHit *hits;           /* room for each worker */
    Candidate *candidates; /* the same */
} Search;

static const float *vector_at(const VsMemorySearch *s, int64_t row, size_t dims) {
    return s->vectors + (size_t)row * dims;
}

static int compare_candidates(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

/* The distance of two vectors as the answer has it. */
static float distance_between(const VsMemorySearch *s, const VsCodecParams *p,
                              const float *query, const float *v) {
    VsMetric metric = s->as_hnswlib && p->metric == VS_COSINE ? VS_DOT : p->metric;
    double d = vs_metric_distance(metric, p->element, query, v, p->dims);
    return (float)(!s->as_hnswlib ? d : metric == VS_L2 ? d * d : 1 + d);
}

/* The same for a distance of the metric that no row is nearer than. */
static float least_distance(const VsMemorySearch *s, const VsCodecParams *p, float low) {
    if (!s->as_hnswlib || p->metric == VS_COSINE) {
        return low;
    }
    return p->metric == VS_DOT ? 1 + low : low > 0 ? low * low : -INFINITY;
}

/* Puts a row among the n nearest of the answer, which are in order, equal ones by row;
 * returns how many there are then. */
static size_t put_nearest(const VsMemorySearch *s, size_t item, size_t n, int64_t row,
                          float distance) {
    int64_t *rows = s->found + item * s->k;
    float *distances = s->distances + item * s->k;
    size_t at = n;
    while (at > 0 && (distance < distances[at - 1] ||
                      (distance == distances[at - 1] && row < rows[at - 1]))) {
        at--;
    }
    if (at == s->k) {
        return n;
    }
    size_t moved = (n < s->k ? n : s->k - 1) - at;
    memmove(rows + at + 1, rows + at, moved * sizeof *rows);
    memmove(distances + at + 1, distances + at, moved * sizeof *distances);
    rows[at] = row;
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
        VS_TRY(vs_node(g, hits[i].node, &node));
        VS_TRY(vs_share_of(g, hits[i].node, share, &part));
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
static size_t rerank(const VsMemorySearch *s, const VsCodecParams *p, const float *query,
                     size_t item, const Candidate *c, size_t n) {
    size_t kept = 0, bytes = p->dims * sizeof *query;
    for (size_t i = 0; i < n; i++) {
        if (kept == s->k &&
            least_distance(s, p, c[i].low) > s->distances[item * s->k + kept - 1]) {
            break;
        }
        for (size_t f = i == 0 ? 1 : i + VS_LOOKAHEAD; f < n && f <= i + VS_LOOKAHEAD;
             f++) {
            vs_prefetch_code_far((const unsigned char *)vector_at(s, c[f].rowid, p->dims),
                                 bytes);
        }
        const float *v = vector_at(s, c[i].rowid, p->dims);
        kept = put_nearest(s, item, kept, c[i].rowid, distance_between(s, p, query, v));
    }
    return kept;
}

/* Fills up what a query did not find. */
static void pad(const VsMemorySearch *s, size_t item, size_t kept) {
    for (; kept < s->k; kept++) {
        s->found[item * s->k + kept] = -1;
        s->distances[item * s->k + kept] = INFINITY;
    }
}

static VsStatus search_graph(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    const Search *search = ctx;
    const VsMemorySearch *s = search->asked;
    const float *query = s->queries + item * g->params.code.dims;
    VsHit *hits = search->hits + worker * search->room;
    VsQuery q;
    size_t n = 0, kept = 0;
    VsStatus st = vs_query_set(g, query, &q);
    st = st == VS_OK ? vs_search(g, &q, search->room, s->ef, hits, &n) : st;
    if (st == VS_OK && s->vectors != NULL) {
        Candidate *c = search->candidates + worker * search->room;
        st = likely(g, &q, hits, n, c);
        kept = st == VS_OK ? rerank(s, q.params, query, item, c, n) : 0;
    }
    for (size_t i = 0; st == VS_OK && s->vectors == NULL && i < n && i < s->k; i++) {
        const VsNode *node = NULL;
        st = vs_node(g, hits[i].node, &node);
        if (st == VS_OK) {
            float d = distance_of(&q, hits[i].order);
            kept = put_nearest(s, item, kept, node->rowid, d);
        }
    }
    pad(s, item, kept);
    return st;
}

static VsStatus search_rows(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    const VsMemorySearch *s = ((const Search *)ctx)->asked;
    const VsCodecParams *p = &g->params.code;
    const float *query = s->queries + item * p->dims;
    size_t kept = 0;
    (void)worker;
    for (size_t i = 0; i < s->n_rows; i++) {
        const float *v = vector_at(s, s->rows[i], p->dims);
        kept = put_nearest(s, item, kept, s->rows[i], distance_between(s, p, query, v));
    }
    pad(s, item, kept);
    return VS_OK;
}

int vs_memory_search(VsMemoryIndex *index, const VsMemorySearch *asked) {
    const VsGraph *g = index->graph;
    size_t ef = asked->ef;
    size_t room = asked->rows != NULL      ? 1
                  : asked->vectors == NULL ? asked->k
                                           : g->codec->candidates(asked->k, ef);
    unsigned threads = room > VS_SCAN_SORTED ? 1 : index->threads;
    VsReaders readers;
    VsStatus st = vs_readers_open(index->graph, threads, &readers);
    Search s = {.asked = asked,
                .room = room,
                .hits = vs_alloc(&libc_alloc, room * readers.n, sizeof(VsHit)),
                .candidates = vs_alloc(&libc_alloc, room * readers.n, sizeof(Candidate))};
    st = s.hits == NULL || s.candidates == NULL ? VS_NOMEM : st;
    st = st == VS_OK
             ? vs_readers_run(&readers, asked->n, vs_search_room(g, room, ef),
                              asked->rows != NULL ? search_rows : search_graph, &s)
             : st;
    vs_readers_close(&readers);
    free(s.hits);
    free(s.candidates);
    return (int)st;
}

/* ---- images ---------------------------------------------------------------------- */

size_t vs_memory_image_size(VsMemoryIndex *index) {
    return vs_image_size(index->graph);
}

int vs_memory_image(VsMemoryIndex *index, unsigned char *out, size_t room, size_t *len) {
    return (int)vs_image_write(index->graph, out, room, len);
}

/* Finds the node of each expected row. */
static VsStatus meet_rows(VsMemoryIndex *index, size_t n_rows) {
    VsGraph *g = index->graph;
    size_t met = 0;
    VsStatus st = VS_OK;
    for (uint32_t node = 0; st == VS_OK && node < g->state.n_nodes; node++) {
        const VsNode *n = NULL;
        st = vs_node(g, node, &n);
        if (st != VS_OK || (n->flags & VS_STATUS_MASK) != VS_LIVE) {
            continue;
        }
        if (n->rowid < 0 || (uint64_t)n->rowid >= index->n_rows ||
            index->node_of[n->rowid] != EXPECTED) {
            return VS_CORRUPT;
        }
        index->node_of[n->rowid] = node;
        met++;
    }
    return st == VS_OK && met != n_rows ? VS_CORRUPT : st;
}

int vs_memory_restore(VsMemoryIndex *index, const unsigned char *image, size_t len,
                      const int64_t *rows, size_t n_rows) {
    VsFinding finding = {.flaw = VS_FLAW_NONE};
    VsStatus st = vs_image_read(index->graph, image, len);
    for (size_t i = 0; st == VS_OK && i < n_rows; i++) {
        st = reserve_row(index, rows[i]);
        if (st == VS_OK) {
            index->node_of[rows[i]] = EXPECTED;
        }
    }
    st = st == VS_OK ? meet_rows(index, n_rows) : st;
    st = st == VS_OK ? vs_validate(index->graph, &finding) : st;
    return (int)(st == VS_OK && finding.flaw != VS_FLAW_NONE ? VS_CORRUPT : st);
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
