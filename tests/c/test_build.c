/* Risk: rows linked many at a time make a worse or a broken graph, one that depends on
 * the number of threads, or one that is half linked after a failure. */
#include <stdio.h>

#include "csrc/build/pending.h"
#include "csrc/search/readers.h"
#include "check.h"
#include "graph_fixture.h"

enum { DIMS = 12 };

static int interrupt_after = -1;

static int interrupted(void *ctx) {
    (void)ctx;
    return interrupt_after >= 0 && interrupt_after-- <= 0;
}

static VsGraph *open_graph(const VsAlloc *a, uint32_t m) {
    VsGraph *g = NULL;
    VsParams params = test_params(DIMS, m, VS_HNSW);
    VsHooks hooks = {.interrupted = interrupted};
    CHECK(vs_graph_open(a, &params, &hooks, &g) == VS_OK);
    return g;
}

static uint32_t add(VsGraph *g, int64_t rowid, const float *v) {
    uint32_t node = VS_NIL;
    vs_begin(g);
    CHECK(vs_insert_pending(g, rowid, v, &node) == VS_OK);
    vs_done(g);
    return node;
}

static uint32_t pending(VsGraph *g) {
    uint32_t n = 0;
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        const VsNode *v = NULL;
        CHECK(vs_node(g, u, &v) == VS_OK);
        n += (v->flags & VS_PENDING) != 0;
    }
    return n;
}

/* Queries are like the rows: a row, moved a little. */
static double recall(VsGraph *g, size_t ef) {
    Random r = {99};
    size_t found = 0, total = 0;
    for (int i = 0; i < 500; i++) {
        float v[DIMS];
        const unsigned char *row = NULL;
        VsQuery q;
        VsHit walk[10], exact[10];
        size_t n_walk = 0, n_exact = 0;
        random_vector(&r, v, DIMS);
        CHECK(vs_slot(g, VS_CODE, (uint32_t)(random_next(&r) % g->state.n_nodes), &row) ==
              VS_OK);
        for (int j = 0; j < DIMS; j++) {
            v[j] = v[j] / 2 + ((const float *)(const void *)row)[j];
        }
        CHECK(vs_query_set(g, v, &q) == VS_OK);
        CHECK(vs_search(g, &q, 10, ef, walk, &n_walk) == VS_OK);
        CHECK(vs_scan(g, &q, 10, exact, &n_exact) == VS_OK);
        for (size_t a = 0; a < n_exact; a++) {
            for (size_t b = 0; b < n_walk; b++) {
                found += walk[b].node == exact[a].node;
            }
        }
        total += n_exact;
    }
    return (double)found / (double)total;
}

/* One row at a time, or all at once as the owner does it. Rows come in clusters, one
 * after the other: sorted input. */
static VsGraph *build(const VsAlloc *a, int rows, unsigned threads) {
    VsGraph *g = open_graph(a, 8);
    VsBuild options = {.threads = threads};
    Random r = {7};
    float centre[DIMS], v[DIMS];
    for (int i = 0; i < rows; i++) {
        uint32_t node = 0;
        if (i % 500 == 0) {
            random_vector(&r, centre, DIMS);
        }
        random_vector(&r, v, DIMS);
        for (int j = 0; j < DIMS; j++) {
            v[j] = centre[j] + v[j] / 2;
        }
        if (threads == 0) {
            vs_begin(g);
            CHECK(vs_insert(g, i, v, &node) == VS_OK);
            vs_done(g);
        } else {
            CHECK(!vs_pending_due(g) || vs_link_pending(g, &options) == VS_OK);
            add(g, i, v);
        }
    }
    CHECK(vs_link_pending(g, &options) == VS_OK);
    return g;
}

static void test_rows_linked_in_batches_are_found_as_well_as_rows_linked_singly(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *one = build(&a, 6000, 0), *many = build(&a, 6000, 1);
    double singly = recall(one, 24), batched = recall(many, 24);
    printf("recall@10, ef 24: singly %.4f, in batches %.4f; seeds %u, %u\n", singly,
           batched, one->state.n_roots, many->state.n_roots);
    CHECK(sound(one) && sound(many));
    CHECK(pending(many) == 0);
    CHECK(singly > 0.9 && batched > singly - 0.005);
    CHECK(many->state.n_roots < 10);
    vs_graph_close(one);
    vs_graph_close(many);
    CHECK(heap.live == 0);
}

static void test_the_number_of_threads_changes_no_byte(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    uint64_t expected = 0;
    for (unsigned threads = 1; threads <= 5; threads++) {
        VsGraph *g = build(&a, 4000, threads);
        uint64_t is = fingerprint(g);
        CHECK(threads == 1 || is == expected);
        expected = is;
        vs_graph_close(g);
    }
    CHECK(heap.live == 0);
}

static void test_pending_rows_are_found_exactly_and_can_be_deleted(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = build(&a, 3000, 1);
    VsBuild options = {.threads = 1};
    Random r = {3};
    float v[DIMS];
    uint32_t node[300];
    for (int i = 0; i < 300; i++) {
        VsQuery q;
        VsHit hit;
        size_t n = 0;
        random_vector(&r, v, DIMS);
        node[i] = add(g, 10000 + i, v);
        CHECK(vs_query_set(g, v, &q) == VS_OK);
        CHECK(vs_search(g, &q, 1, 10, &hit, &n) == VS_OK);
        CHECK(n == 1 && hit.node == node[i]);
    }
    CHECK(pending(g) == 300 && sound(g));
    for (int i = 0; i < 300; i += 3) {
        vs_begin(g);
        CHECK(vs_delete(g, node[i]) == VS_OK);
        vs_done(g);
    }
    CHECK(pending(g) == 200 && sound(g));
    for (uint32_t u = 0; u < 3000; u += 2) { /* deletions between, with repair */
        vs_begin(g);
        CHECK(vs_delete(g, u) == VS_OK);
        vs_done(g);
    }
    CHECK(pending(g) == 200 && sound(g));
    CHECK(vs_link_pending(g, &options) == VS_OK);
    CHECK(pending(g) == 0 && sound(g));
    CHECK(g->state.n_live == 1700);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

/* Then a pending row is all that is left, and becomes the entry point. */
static void test_pending_rows_survive_the_deletion_of_every_linked_row(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 4);
    VsBuild options = {.threads = 2};
    Random r = {5};
    float v[DIMS];
    uint32_t linked[50];
    for (int i = 0; i < 200; i++) {
        random_vector(&r, v, DIMS);
        uint32_t node = add(g, i, v);
        if (i < 50) {
            linked[i] = node;
            CHECK(vs_link_pending(g, &options) == VS_OK);
        }
    }
    for (int i = 0; i < 50; i++) {
        vs_begin(g);
        CHECK(vs_delete(g, linked[i]) == VS_OK);
        vs_done(g);
        CHECK(sound(g));
    }
    CHECK(g->state.n_live == 150);
    CHECK(vs_link_pending(g, &options) == VS_OK);
    CHECK(pending(g) == 0 && sound(g));
    CHECK(recall(g, 64) > 0.95);
    vs_graph_close(g);
}

static void test_equal_vectors_linked_at_once_are_all_found(void) {
    enum { ROWS = 5000 };
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 8);
    VsBuild options = {.threads = 2};
    float v[DIMS] = {1, 2, 3};
    VsQuery q;
    static VsHit hits[ROWS];
    size_t n = 0;
    for (int i = 0; i < ROWS; i++) {
        add(g, i, v);
    }
    CHECK(vs_link_pending(g, &options) == VS_OK);
    printf("equal vectors: %u seeds\n", g->state.n_roots);
    CHECK(sound(g) && pending(g) == 0);
    CHECK(vs_query_set(g, v, &q) == VS_OK);
    CHECK(vs_search(g, &q, 10, 10, hits, &n) == VS_OK && n == 10);
    CHECK(vs_search(g, &q, ROWS, 10, hits, &n) == VS_OK && n == ROWS);
    vs_graph_close(g);
}

static void test_an_interrupt_loses_no_row(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    long interrupts = 0;
    for (unsigned threads = 1; threads <= 2; threads++) {
        VsGraph *g = build(&a, 1200, 1);
        VsBuild options = {.threads = threads};
        Random r = {11};
        float v[DIMS];
        VsStatus st = VS_INTERRUPT;
        for (int i = 0; i < 800; i++) {
            random_vector(&r, v, DIMS);
            add(g, 5000 + i, v);
        }
        uint32_t left = pending(g);
        for (int polls = 0; st == VS_INTERRUPT; polls += 1 + polls / 8) {
            interrupt_after = polls;
            st = vs_link_pending(g, &options);
            interrupt_after = -1;
            interrupts += st == VS_INTERRUPT;
            CHECK(st == VS_OK || st == VS_INTERRUPT);
            CHECK(pending(g) <= left);
            left = pending(g);
            CHECK(sound(g));
            CHECK(g->state.n_live == 2000);
        }
        CHECK(left == 0);
        vs_graph_close(g);
    }
    printf("%ld interrupts\n", interrupts);
    CHECK(interrupts > 20);
    CHECK(heap.live == 0);
}

static void test_every_failed_allocation_leaves_rows_linked_or_pending(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    long failures = 0;
    for (unsigned threads = 1; threads <= 2; threads++) {
        for (long fail_at = 0, done = 0; !done; fail_at++) {
            VsGraph *g = open_graph(&a, 4);
            VsBuild options = {.threads = threads};
            Random r = {13};
            float v[DIMS];
            for (int i = 0; i < 600; i++) {
                random_vector(&r, v, DIMS);
                add(g, i, v);
            }
            heap.countdown = fail_at;
            VsStatus st = vs_link_pending(g, &options);
            heap.countdown = -1;
            CHECK(st == VS_OK || st == VS_NOMEM);
            failures += st == VS_NOMEM;
            CHECK(fail_at % 7 != 0 || sound(g));
            CHECK(vs_link_pending(g, &options) == VS_OK);
            CHECK(pending(g) == 0);
            CHECK(fail_at % 7 != 0 || sound(g));
            done = st == VS_OK;
            vs_graph_close(g);
        }
    }
    printf("%ld failed allocations\n", failures);
    CHECK(failures > 20);
    CHECK(heap.live == 0);
}

static void test_undoing_a_pending_row_restores_every_byte(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = build(&a, 500, 1);
    Random r = {17};
    float v[DIMS];
    for (int i = 0; i < 100; i++) {
        uint32_t node = 0;
        random_vector(&r, v, DIMS);
        uint64_t before = fingerprint(g);
        vs_begin(g);
        CHECK(vs_insert_pending(g, 1000 + i, v, &node) == VS_OK);
        vs_undo(g);
        CHECK(fingerprint(g) == before);
        add(g, 1000 + i, v);
    }
    CHECK(pending(g) == 100 && sound(g));
    vs_graph_close(g);
}

/* ---- threads --------------------------------------------------------------------- */

typedef struct Sum {
    VsShared next, sum;
    unsigned char seen[1000];
} Sum;

static void add_up(void *ctx, unsigned worker) {
    Sum *s = ctx;
    (void)worker;
    for (long long i; (i = vs_take(&s->next, 1)) < 1000;) {
        s->seen[i]++;
        vs_take(&s->sum, i);
    }
}

static void test_every_item_of_a_loop_is_done_once(void) {
    for (unsigned n = 0; n < 9; n++) {
        VsThreadPool thread_pool;
        vs_thread_pool_open(&thread_pool, n);
        for (unsigned run = 0; run < 40; run++) {
            Sum s = {.sum = {0}};
            vs_thread_pool_run(&thread_pool, run % (n + 1), add_up, &s);
            CHECK(vs_shared_get(&s.sum) == 999 * 500);
            for (int i = 0; i < 1000; i++) {
                CHECK(s.seen[i] == 1);
            }
        }
        vs_thread_pool_close(&thread_pool);
    }
    CHECK(vs_processors() >= 1);
}

static void note_worker(void *ctx, unsigned worker) {
    (void)vs_take(&((VsShared *)ctx)[worker], 1);
}

static void test_a_run_has_the_workers_that_it_asks_for(void) {
    VsShared seen[6] = {{0}};
    VsThreadPool thread_pool;
    vs_thread_pool_open(&thread_pool, 5);
    CHECK(thread_pool.started == 4);
    vs_thread_pool_run(&thread_pool, 5, note_worker, seen);
    vs_thread_pool_run(&thread_pool, 3, note_worker, seen);
    vs_thread_pool_run(&thread_pool, 1, note_worker, seen);
    vs_thread_pool_close(&thread_pool);
    const long long runs[6] = {3, 2, 2, 1, 1, 0};
    for (int i = 0; i < 6; i++) {
        CHECK(vs_shared_get(&seen[i]) == runs[i]);
    }
}

static VsStatus fail_at_100(void *ctx, VsGraph *g, unsigned worker, size_t item) {
    (void)ctx;
    (void)worker;
    return item == 100 && g->state.n_live > 0 ? VS_RANGE : VS_OK;
}

static void test_a_failure_of_one_worker_is_the_loops(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = build(&a, 100, 1);
    for (unsigned n = 1; n < 5; n++) {
        VsReaders readers;
        CHECK(vs_readers_open(g, n, &readers) == VS_OK);
        CHECK(vs_readers_run(&readers, 500, 8, fail_at_100, NULL) == VS_RANGE);
        CHECK(vs_readers_run(&readers, 50, 8, fail_at_100, NULL) == VS_OK);
        vs_readers_close(&readers);
    }
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

int main(void) {
    test_every_item_of_a_loop_is_done_once();
    test_a_run_has_the_workers_that_it_asks_for();
    test_a_failure_of_one_worker_is_the_loops();
    test_rows_linked_in_batches_are_found_as_well_as_rows_linked_singly();
    test_the_number_of_threads_changes_no_byte();
    test_pending_rows_are_found_exactly_and_can_be_deleted();
    test_pending_rows_survive_the_deletion_of_every_linked_row();
    test_equal_vectors_linked_at_once_are_all_found();
    test_an_interrupt_loses_no_row();
    test_every_failed_allocation_leaves_rows_linked_or_pending();
    test_undoing_a_pending_row_restores_every_byte();
    return check_report();
}
