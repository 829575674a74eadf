/* Risk: rows that are copies of one another hide other rows from a search, or are lost. */
#include <math.h>
#include <stdio.h>

#include "csrc/build/pending.h"
#include "check.h"
#include "graph_fixture.h"

enum { DIMS = 12, ROWS = 3000, K = 10, EF = 48 };

/* Rows of which `percent` are copies of `originals` vectors, the rest random. */
typedef struct Data {
    VsMetric metric;
    VsCodecId codec;
    unsigned percent, originals;
    int singly;
} Data;

static VsGraph *open_graph(const VsAlloc *a, const Data *d) {
    VsGraph *g = NULL;
    VsParams params = test_params(DIMS, 8, VS_HNSW);
    VsHooks none = {0};
    params.code.metric = d->metric;
    params.code.codec = d->codec;
    CHECK(vs_graph_open(a, &params, &none, &g) == VS_OK);
    return g;
}

static void row_of(const Data *d, Random *r, float *v) {
    if (random_next(r) % 100 < d->percent) {
        Random original = {1000 + random_next(r) % d->originals * DIMS};
        random_vector(&original, v, DIMS);
        for (int i = 0; i < DIMS; i++) {
            v[i] /= 4; /* near the middle: most walks pass by */
        }
    } else {
        random_vector(r, v, DIMS);
    }
}

static void add(VsGraph *g, const Data *d, int64_t rowid, const float *v) {
    uint32_t node = 0;
    vs_begin(g);
    CHECK((d->singly ? vs_insert : vs_insert_pending)(g, rowid, v, &node) == VS_OK);
    vs_done(g);
}

static VsGraph *build(const VsAlloc *a, const Data *d, unsigned threads, Random *r) {
    VsGraph *g = open_graph(a, d);
    VsBuild options = {.threads = threads};
    float v[DIMS];
    for (int i = 0; i < ROWS; i++) {
        row_of(d, r, v);
        add(g, d, i, v);
    }
    CHECK(vs_link_pending(g, &options) == VS_OK);
    return g;
}

/* Share of K rows that are as near as the K nearest: of copies any will do. */
static double recall(VsGraph *g, Random *r) {
    size_t found = 0, total = 0;
    for (int i = 0; i < 100; i++) {
        float v[DIMS];
        VsQuery q;
        VsHit walk[K], exact[K];
        size_t n_walk = 0, n_exact = 0;
        random_vector(r, v, DIMS);
        CHECK(vs_query_set(g, v, &q) == VS_OK);
        CHECK(vs_search(g, &q, K, EF, walk, &n_walk) == VS_OK);
        CHECK(vs_scan(g, &q, K, exact, &n_exact) == VS_OK && n_exact == K);
        for (size_t a = 0; a < n_walk; a++) {
            for (size_t b = 0; b < a; b++) {
                CHECK(walk[a].node != walk[b].node);
            }
            found += walk[a].order <= exact[K - 1].order;
        }
        total += K;
    }
    return (double)found / (double)total;
}

static void test_copies_hide_no_other_row(void) {
    static const VsMetric metrics[] = {VS_L2, VS_COSINE, VS_DOT, VS_L1};
    static const unsigned percent[] = {5, 40, 90}, originals[] = {1, 10};
    for (int i = 0; i < 4 * 3 * 2 * 2; i++) {
        Data d = {metrics[i % 4], VS_CODEC_NONE, percent[i / 4 % 3],
                  originals[i / 12 % 2], i / 24};
        Heap heap;
        VsAlloc a = heap_alloc(&heap);
        Random r = {(uint64_t)i << 32};
        VsGraph *g = build(&a, &d, 1, &r);
        double found = recall(g, &r);
        CHECK(sound(g));
        CHECKF(found > 0.97, "metric %d, %u %% of %u, singly %d: %.3f", (int)d.metric,
               d.percent, d.originals, d.singly, found);
        CHECKF(g->state.n_roots < 10, "%u seeds", g->state.n_roots);
        vs_graph_close(g);
        CHECK(heap.live == 0);
    }
}

/* The distances that a walk among copies computes are those of a walk without. */
static void test_a_walk_does_not_look_at_every_copy(void) {
    Data d = {VS_L2, VS_CODEC_NONE, 90, 1, 0};
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {5};
    VsGraph *g = build(&a, &d, 1, &r);
    uint64_t before = vs_evaluations(g);
    for (int i = 0; i < 100; i++) {
        float v[DIMS];
        VsQuery q;
        VsHit hits[K];
        size_t n = 0;
        random_vector(&r, v, DIMS);
        CHECK(vs_query_set(g, v, &q) == VS_OK);
        CHECK(vs_search(g, &q, K, EF, hits, &n) == VS_OK);
    }
    CHECKF(vs_evaluations(g) - before < 100 * 400, "%llu",
           (unsigned long long)(vs_evaluations(g) - before) / 100);
    vs_graph_close(g);
}

static void test_a_search_finds_as_many_copies_as_it_asks_for(void) {
    enum { WANTED = 200 };
    for (int singly = 0; singly <= 1; singly++) {
        Data d = {VS_L2, VS_CODEC_NONE, 30, 1, singly};
        Heap heap;
        VsAlloc a = heap_alloc(&heap);
        Random r = {6}, original = {1000};
        VsGraph *g = build(&a, &d, 1, &r);
        static VsHit hits[WANTED];
        float v[DIMS];
        VsQuery q;
        size_t n = 0, copies = 0;
        random_vector(&original, v, DIMS);
        for (int i = 0; i < DIMS; i++) {
            v[i] /= 4;
        }
        CHECK(vs_query_set(g, v, &q) == VS_OK);
        CHECK(!vs_search_scans(g, K, EF, ROWS));
        uint64_t before = vs_evaluations(g);
        CHECK(vs_search(g, &q, WANTED, EF, hits, &n) == VS_OK && n == WANTED);
        CHECK(vs_evaluations(g) - before < ROWS); /* no scan */
        for (size_t i = 0; i < n; i++) {
            copies += hits[i].order == 0;
        }
        CHECKF(copies == WANTED, "%zu", copies);
        vs_graph_close(g);
    }
}

static void test_the_number_of_threads_changes_no_byte_of_copies(void) {
    Data d = {VS_L2, VS_CODEC_NONE, 60, 5, 0};
    uint64_t expected = 0;
    for (unsigned threads = 1; threads <= 4; threads++) {
        Heap heap;
        VsAlloc a = heap_alloc(&heap);
        Random r = {7};
        VsGraph *g = build(&a, &d, threads, &r);
        uint64_t is = fingerprint(g);
        CHECK(threads == 1 || is == expected);
        expected = is;
        vs_graph_close(g);
    }
}

/* The first of a chain goes like any other, and what stands behind it is found. */
static void test_copies_that_come_and_go_keep_every_invariant_and_recall(void) {
    static const VsMetric metrics[] = {VS_L2, VS_COSINE, VS_DOT};
    for (int m = 0; m < 3; m++) {
        Data d = {metrics[m], VS_CODEC_NONE, 60, 3, 0};
        Heap heap;
        VsAlloc a = heap_alloc(&heap);
        Random r = {8};
        VsGraph *g = build(&a, &d, 1, &r);
        VsBuild options = {.threads = 1};
        int64_t rowid = ROWS;
        for (int round = 0; round < 12; round++) {
            for (uint32_t gone = 0; gone < ROWS / 4;) {
                uint32_t node = (uint32_t)(random_next(&r) % g->state.n_nodes);
                const VsNode *at = NULL;
                CHECK(vs_node(g, node, &at) == VS_OK);
                if ((at->flags & VS_STATUS_MASK) == VS_LIVE) {
                    vs_begin(g);
                    CHECK(vs_delete(g, node) == VS_OK);
                    vs_done(g);
                    gone++;
                }
            }
            CHECK(sound(g));
            for (int i = 0; i < ROWS / 4; i++) {
                float v[DIMS];
                row_of(&d, &r, v);
                d.singly = round % 2;
                add(g, &d, rowid++, v);
            }
            CHECK(vs_link_pending(g, &options) == VS_OK);
            CHECK(sound(g));
        }
        double found = recall(g, &r);
        printf("churn of copies, metric %d: recall %.3f, seeds %u\n", (int)d.metric,
               found, g->state.n_roots);
        CHECKF(found > 0.95, "metric %d: %.3f", (int)d.metric, found);
        CHECKF(g->state.n_roots < 20, "%u seeds", g->state.n_roots);
        vs_graph_close(g);
        CHECK(heap.live == 0);
    }
}

static void test_undo_takes_a_copy_back_to_the_byte(void) {
    Data d = {VS_L2, VS_CODEC_NONE, 70, 2, 1};
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {9};
    VsGraph *g = build(&a, &d, 1, &r);
    for (int i = 0; i < 60; i++) {
        float v[DIMS];
        uint32_t node = 0;
        uint64_t before = fingerprint(g);
        row_of(&d, &r, v);
        vs_begin(g);
        CHECK(vs_insert(g, ROWS + i, v, &node) == VS_OK);
        CHECK(vs_delete(g, (uint32_t)i) == VS_OK);
        vs_undo(g);
        CHECK(fingerprint(g) == before);
    }
    vs_graph_close(g);
}

static void test_every_failed_allocation_leaves_copies_linked_or_pending(void) {
    Data d = {VS_L2, VS_CODEC_NONE, 70, 2, 0};
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    long failures = 0;
    for (long fail_at = 0, done = 0; !done; fail_at++) {
        VsGraph *g = open_graph(&a, &d);
        VsBuild options = {.threads = 1};
        Random r = {10};
        for (int i = 0; i < 400; i++) {
            float v[DIMS];
            row_of(&d, &r, v);
            add(g, &d, i, v);
        }
        heap.countdown = fail_at;
        VsStatus st = vs_link_pending(g, &options);
        heap.countdown = -1;
        CHECK(st == VS_OK || st == VS_NOMEM);
        failures += st == VS_NOMEM;
        CHECK(sound(g));
        CHECK(vs_link_pending(g, &options) == VS_OK && sound(g));
        done = st == VS_OK;
        vs_graph_close(g);
    }
    printf("%ld failed allocations\n", failures);
    CHECK(failures > 20);
    CHECK(heap.live == 0);
}

int main(void) {
    test_copies_hide_no_other_row();
    test_a_walk_does_not_look_at_every_copy();
    test_a_search_finds_as_many_copies_as_it_asks_for();
    test_the_number_of_threads_changes_no_byte_of_copies();
    test_copies_that_come_and_go_keep_every_invariant_and_recall();
    test_undo_takes_a_copy_back_to_the_byte();
    test_every_failed_allocation_leaves_copies_linked_or_pending();
    return check_report();
}
