/* Risk: a stream loses a node, gives one twice, or sees what was written after it began. */
#include "../../csrc/stream.h"

#include "check.h"
#include "graph_fixture.h"

enum { DIMS = 8, NODES = 3000 };

static VsGraph *filled(const VsAlloc *a, VsIndexKind kind, size_t n, Random *r) {
    VsParams params = test_params(DIMS, 8, kind);
    VsHooks none = {0};
    VsGraph *g = NULL;
    CHECK(vs_graph_open(a, &params, &none, &g) == VS_OK);
    for (size_t i = 0; i < n; i++) {
        float v[DIMS];
        uint32_t node;
        random_vector(r, v, DIMS);
        vs_begin(g);
        CHECK(vs_insert(g, (int64_t)i, v, &node) == VS_OK);
        vs_done(g);
    }
    return g;
}

static void delete_some(VsGraph *g, uint32_t from, uint32_t to) {
    for (uint32_t u = from; u < to; u++) {
        vs_begin(g);
        CHECK(vs_delete(g, u) == VS_OK);
        vs_done(g);
    }
}

/* Reads to the end, with vs_stream_rest when the walk has given everything. Counts how
 * often each rowid came; returns how many came out of order. */
static size_t drain(VsStream *s, size_t want, unsigned char *seen, size_t *total) {
    VsHit hits[256];
    size_t n = 0, late = 0;
    float last = -1e30f;
    for (int rested = 0;;) {
        CHECK(vs_stream_next(s, want, hits, &n) == VS_OK);
        if (n == 0 && rested) {
            return late;
        }
        if (n == 0) {
            CHECK(vs_stream_rest(s, NULL) == VS_OK);
            rested = 1;
        }
        for (size_t i = 0; i < n; i++) {
            const VsNode *node = NULL;
            CHECK(vs_stream_node(s, hits[i].node, &node) == VS_OK);
            seen[node->rowid]++;
            ++*total;
            late += hits[i].order < last;
            last = hits[i].order < last ? last : hits[i].order;
        }
    }
}

static void test_a_stream_gives_every_live_node_once_and_nearly_in_order(void) {
    static const VsIndexKind kinds[] = {VS_HNSW, VS_FLAT};
    for (int kind = 0; kind < 2; kind++) {
        for (size_t want = 1; want <= 200; want = want * 5 + 2) {
            Heap heap;
            VsAlloc a = heap_alloc(&heap);
            Random r = {11};
            VsGraph *g = filled(&a, kinds[kind], NODES, &r);
            VsStream *s = NULL;
            unsigned char seen[NODES] = {0};
            size_t total = 0;
            float q[DIMS];
            delete_some(g, 100, 400);
            random_vector(&r, q, DIMS);
            CHECK(vs_stream_open(g, q, 32, &s) == VS_OK);
            size_t late = drain(s, want, seen, &total);
            CHECKF(total == g->state.n_live, "%zu of %u", total, g->state.n_live);
            CHECKF(late <= total / 50, "%zu of %zu late", late, total);
            for (int i = 0; i < NODES; i++) {
                CHECK(seen[i] == (i < 100 || i >= 400));
            }
            vs_stream_close(s);
            vs_graph_close(g);
            CHECK(heap.live == 0);
        }
    }
}

static void test_the_first_of_a_stream_are_those_of_a_search(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {3};
    VsGraph *g = filled(&a, VS_HNSW, NODES, &r);
    size_t found = 0, searched = 0;
    for (int i = 0; i < 50; i++) {
        VsHit truth[10], hits[10], walk[10];
        VsQuery query;
        VsStream *s = NULL;
        size_t n = 0;
        float q[DIMS];
        random_vector(&r, q, DIMS);
        CHECK(vs_query_set(g, q, &query) == VS_OK);
        CHECK(vs_scan(g, &query, 10, NULL, truth, &n) == VS_OK);
        CHECK(vs_search(g, &query, 10, 40, NULL, walk, &n) == VS_OK);
        CHECK(vs_stream_open(g, q, 40, &s) == VS_OK);
        CHECK(vs_stream_next(s, 10, hits, &n) == VS_OK && n == 10);
        vs_stream_close(s);
        for (int j = 0; j < 10; j++) {
            for (int l = 0; l < 10; l++) {
                found += hits[j].node == truth[l].node;
                searched += walk[j].node == truth[l].node;
            }
        }
    }
    CHECKF(found >= searched && found >= 480, "%zu, search %zu", found, searched);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

static void test_rest_gives_what_is_admitted_in_strict_order(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {5};
    VsGraph *g = filled(&a, VS_HNSW, NODES, &r);
    uint64_t words[NODES / 64 + 1] = {0};
    VsStream *s = NULL;
    VsHit hits[64];
    size_t n = 0, total = 0;
    float q[DIMS], last = -1e30f;
    for (uint32_t u = 0; u < NODES; u += 7) {
        words[u >> 6] |= (uint64_t)1 << (u & 63);
    }
    VsAdmit admit = {words, NODES, (NODES + 6) / 7};
    random_vector(&r, q, DIMS);
    CHECK(vs_stream_open(g, q, 16, &s) == VS_OK);
    CHECK(vs_stream_rest(s, &admit) == VS_OK);
    do {
        CHECK(vs_stream_next(s, 64, hits, &n) == VS_OK);
        for (size_t i = 0; i < n; i++) {
            CHECK(hits[i].order >= last);
            last = hits[i].order;
            total += hits[i].node % 7 == 0; /* the entry point came before */
        }
    } while (n > 0);
    CHECKF(total == admit.count, "%zu of %u", total, admit.count);
    CHECKF(vs_stream_evaluations(s) < admit.count + 100, "%llu",
           (unsigned long long)vs_stream_evaluations(s));
    vs_stream_close(s);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

/* Deletions, insertions into the places of the deleted, and an undone statement. */
static void rewrite(VsGraph *g, Random *r) {
    delete_some(g, 0, NODES / 2);
    CHECK(vs_consolidate(g, NODES) == VS_OK);
    for (int64_t i = 0; i < NODES; i++) {
        float v[DIMS];
        uint32_t node;
        random_vector(r, v, DIMS);
        vs_begin(g);
        CHECK(vs_insert(g, i % 10, v, &node) == VS_OK);
        if (i % 3 == 0) {
            vs_undo(g);
        } else {
            vs_done(g);
        }
    }
}

static void test_a_stream_does_not_see_later_writes(void) {
    for (size_t before = 0; before <= 64; before += 32) {
        Heap heap;
        VsAlloc a = heap_alloc(&heap);
        Random r = {7};
        VsGraph *g = filled(&a, VS_HNSW, NODES, &r);
        VsStream *s = NULL, *other = NULL;
        VsHit hits[64];
        unsigned char seen[NODES] = {0};
        size_t n = 0, total = 0;
        float q[DIMS];
        random_vector(&r, q, DIMS);
        CHECK(vs_stream_open(g, q, 32, &s) == VS_OK);
        CHECK(vs_stream_open(g, q, 32, &other) == VS_OK);
        CHECK(vs_stream_next(s, before, hits, &n) == VS_OK && n == before);
        CHECK(!vs_stream_moved(s));
        vs_stream_close(other); /* one of two leaves the list */
        vs_begin(g);
        vs_done(g);
        rewrite(g, &r);
        CHECK(vs_stream_moved(s));
        for (size_t i = 0; i < n; i++) {
            const VsNode *node = NULL;
            CHECK(vs_stream_node(s, hits[i].node, &node) == VS_OK);
            seen[node->rowid]++;
        }
        total = n;
        drain(s, 32, seen, &total);
        CHECKF(total == NODES, "%zu", total);
        for (int i = 0; i < NODES; i++) {
            CHECK(seen[i] == 1);
        }
        vs_stream_close(s);
        vs_graph_close(g);
        CHECK(heap.live == 0);
    }
}

static void test_a_stream_outlives_its_graph(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {9};
    VsGraph *g = filled(&a, VS_HNSW, 100, &r);
    VsStream *s = NULL;
    VsHit hits[8];
    size_t n;
    float q[DIMS] = {0};
    CHECK(vs_stream_open(g, q, 32, &s) == VS_OK);
    vs_graph_close(g);
    CHECK(vs_stream_next(s, 8, hits, &n) == VS_MOVED);
    vs_stream_close(s);
    CHECK(heap.live == 0);
}

static void test_an_empty_graph_ends_at_once(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {1};
    VsGraph *g = filled(&a, VS_HNSW, 0, &r);
    VsStream *s = NULL;
    VsHit hits[8];
    size_t n = 1;
    float q[DIMS] = {0};
    CHECK(vs_stream_open(g, q, 32, &s) == VS_OK);
    CHECK(vs_stream_next(s, 8, hits, &n) == VS_OK && n == 0);
    CHECK(vs_stream_rest(s, NULL) == VS_OK);
    CHECK(vs_stream_next(s, 8, hits, &n) == VS_OK && n == 0);
    vs_stream_close(s);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

/* One stream with the n-th allocation failing: no memory, or moved once the pin failed. */
static int survives(VsGraph *g, Heap *heap, long n) {
    VsStream *s = NULL;
    VsHit hits[64];
    size_t got = 0;
    float q[DIMS] = {0};
    heap->countdown = n;
    VsStatus st = vs_stream_open(g, q, 32, &s);
    for (int i = 0; st == VS_OK && i < 4; i++) {
        st = vs_stream_next(s, 64, hits, &got);
    }
    vs_begin(g);
    vs_undo(g);
    for (int i = 0; st == VS_OK && i < 4; i++) {
        st = vs_stream_next(s, 64, hits, &got);
    }
    st = st == VS_OK ? vs_stream_rest(s, NULL) : st;
    int failed = heap->countdown == 0;
    heap->countdown = -1;
    CHECK(st == VS_OK || ((st == VS_NOMEM || st == VS_MOVED) && failed));
    vs_stream_close(s);
    return failed;
}

static void test_every_failed_allocation_is_reported_and_nothing_leaks(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {13};
    VsGraph *g = filled(&a, VS_HNSW, 500, &r);
    long n = 0, live = heap.live;
    while (survives(g, &heap, n)) {
        CHECKF(heap.live == live, "%ld blocks after failure %ld", heap.live - live, n);
        n++;
    }
    CHECKF(n > 10, "%ld", n);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

int main(void) {
    test_a_stream_gives_every_live_node_once_and_nearly_in_order();
    test_the_first_of_a_stream_are_those_of_a_search();
    test_rest_gives_what_is_admitted_in_strict_order();
    test_a_stream_does_not_see_later_writes();
    test_a_stream_outlives_its_graph();
    test_an_empty_graph_ends_at_once();
    test_every_failed_allocation_is_reported_and_nothing_leaks();
    return check_report();
}
