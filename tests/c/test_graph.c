/* Risk: an operation on the graph, or taking it back, breaks an invariant or loses a row.
 */
#include <math.h>
#include <stdio.h>

#include "check.h"
#include "graph_fixture.h"

#include "csrc/build/choose.h"

enum { DIMS = 12 };

static VsGraph *open_graph(const VsAlloc *a, uint32_t m, VsIndexKind kind) {
    VsGraph *g = NULL;
    VsParams params = test_params(DIMS, m, kind);
    VsHooks none = {0};
    CHECK(vs_graph_open(a, &params, &none, &g) == VS_OK);
    return g;
}

static uint32_t insert(VsGraph *g, int64_t rowid, const float *v) {
    uint32_t node = VS_NIL;
    vs_begin(g);
    CHECK(vs_insert(g, rowid, v, &node) == VS_OK);
    vs_done(g);
    return node;
}

/* Share of the exact 10 nearest that the walk finds, over 50 random queries whose
 * elements have any sign (0) or the given one. */
static double recall_of(VsGraph *g, Random *r, size_t ef, int sign) {
    size_t found = 0, total = 0;
    for (int i = 0; i < 50; i++) {
        float v[DIMS];
        VsQuery q;
        VsHit walk[10], exact[10];
        size_t n_walk = 0, n_exact = 0;
        random_vector(r, v, DIMS);
        for (int d = 0; sign != 0 && d < DIMS; d++) {
            v[d] = fabsf(v[d]) * (float)sign;
        }
        CHECK(vs_query_set(g, v, &q) == VS_OK);
        CHECK(vs_search(g, &q, 10, ef, walk, &n_walk) == VS_OK);
        for (size_t b = 0; b < n_walk; b++) {
            const VsNode *node = NULL;
            CHECK(vs_node(g, walk[b].node, &node) == VS_OK &&
                  (node->flags & VS_STATUS_MASK) == VS_LIVE);
        }
        CHECK(vs_scan(g, &q, 10, exact, &n_exact) == VS_OK);
        for (size_t a = 0; a < n_exact; a++) {
            for (size_t b = 0; b < n_walk; b++) {
                found += walk[b].node == exact[a].node;
            }
        }
        total += n_exact;
    }
    return total == 0 ? 1 : (double)found / (double)total;
}

static double recall(VsGraph *g, Random *r, size_t ef) {
    return recall_of(g, r, ef, 0);
}

static void test_inserting_keeps_every_invariant_and_recall(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 8, VS_HNSW);
    Random r = {1};
    float v[DIMS];
    CHECK(sound(g));
    for (int i = 0; i < 3000; i++) {
        random_vector(&r, v, DIMS);
        insert(g, i, v);
        if (i < 100 || i % 500 == 0) {
            CHECK(sound(g));
        }
    }
    CHECK(sound(g));
    CHECK(recall(g, &r, 64) > 0.95);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

/* Lengths from 1 / 32 to 32. Queries against positive rows ask for the longest rows, those
 * in the other direction for the shortest. */
static void test_dot_finds_the_longest_rows_and_the_shortest(void) {
    enum { ROWS = 4000 };
    for (int positive = 0; positive <= 1; positive++) {
        Heap heap;
        VsAlloc a = heap_alloc(&heap);
        VsGraph *g = NULL;
        VsParams params = test_params(DIMS, 8, VS_HNSW);
        VsHooks none = {0};
        Random r = {2};
        float v[DIMS];
        params.code.metric = VS_DOT;
        CHECK(vs_graph_open(&a, &params, &none, &g) == VS_OK);
        for (int i = 0; i < ROWS; i++) {
            random_vector(&r, v, DIMS);
            float length = ldexpf(1, (int)(random_next(&r) % 11) - 5);
            for (int d = 0; d < DIMS; d++) {
                v[d] = (positive ? fabsf(v[d]) : v[d]) * length;
            }
            insert(g, i, v);
        }
        CHECK(sound(g));
        CHECKF(g->state.n_roots < 10, "%u seeds", g->state.n_roots);
        double any = recall_of(g, &r, 64, positive);
        CHECKF(any > 0.95, "positive %d: %.3f", positive, any);
        double against = recall_of(g, &r, 64, -positive);
        CHECKF(against > 0.95, "positive %d, against: %.3f", positive, against);
        vs_graph_close(g);
        CHECK(heap.live == 0);
    }
}

static void test_a_walk_looks_at_a_part_of_the_graph(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 8, VS_HNSW);
    Random r = {7};
    float v[DIMS];
    int nearer = 0;
    for (int i = 0; i < 3000; i++) {
        random_vector(&r, v, DIMS);
        insert(g, i, v);
    }
    for (int i = 0; i < 50; i++) {
        VsQuery q;
        VsHit hits[10];
        size_t n = 0;
        uint32_t entry = VS_NIL;
        float from, to;
        random_vector(&r, v, DIMS);
        CHECK(vs_query_set(g, v, &q) == VS_OK);
        uint64_t before = vs_evaluations(g);
        CHECK(vs_search(g, &q, 10, 64, hits, &n) == VS_OK && n == 10);
        CHECK(vs_evaluations(g) - before < 1500);
        CHECK(vs_descend(g, &q, 0, &entry) == VS_OK);
        CHECK(vs_order(g, &q, g->state.entry, &from) == VS_OK);
        CHECK(vs_order(g, &q, entry, &to) == VS_OK && to <= from);
        nearer += to < from;
    }
    CHECKF(nearer > 40, "%d", nearer);
    vs_graph_close(g);
}

static void test_tombstones_go_by_themselves(void) {
    enum { ROWS = 1500, DELETED = 1000 };
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 8, VS_HNSW);
    Random r = {8};
    float v[DIMS];
    uint32_t node[ROWS], most = 0;
    for (int i = 0; i < ROWS; i++) {
        random_vector(&r, v, DIMS);
        node[i] = insert(g, i, v);
    }
    for (int i = 0; i < DELETED; i++) {
        vs_begin(g);
        CHECK(vs_delete(g, node[i]) == VS_OK);
        vs_done(g);
        most = g->state.n_dead > most ? g->state.n_dead : most;
    }
    printf("at most %u tombstones\n", most);
    CHECK(sound(g));
    CHECK(most < 150);
    vs_graph_close(g);
}

/* 0 and 1, and two candidates for the links of 0: one behind 1, one on the other side. */
static void test_a_link_leads_where_no_other_does(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 8, VS_HNSW);
    static const float place[] = {0, 1, 1.1f, -1.1f};
    uint32_t node[4];
    int diverse = 0;
    for (int i = 0; i < 4; i++) {
        float v[DIMS] = {place[i]};
        node[i] = insert(g, i, v);
    }
    VsHit behind = {1.21f, node[2]}, other = {1.21f, node[3]};
    CHECK(vs_is_diverse(g, &behind, &node[1], 1, 1, &diverse) == VS_OK && !diverse);
    CHECK(vs_is_diverse(g, &other, &node[1], 1, 1, &diverse) == VS_OK && diverse);
    CHECK(vs_is_diverse(g, &behind, &node[1], 0, 1, &diverse) == VS_OK && diverse);
    vs_graph_close(g);
}

static void test_churn_keeps_every_invariant_and_recall(void) {
    enum { ROWS = 1500, ROUNDS = 40 };
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 6, VS_HNSW);
    Random r = {2};
    uint32_t node[ROWS];
    int64_t rowid = 0;
    float v[DIMS];
    for (int i = 0; i < ROWS; i++) {
        random_vector(&r, v, DIMS);
        node[i] = insert(g, rowid++, v);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < ROWS / 20; i++) {
            size_t at = random_next(&r) % ROWS;
            vs_begin(g);
            CHECK(vs_delete(g, node[at]) == VS_OK);
            vs_done(g);
            random_vector(&r, v, DIMS);
            node[at] = insert(g, rowid++, v);
        }
        CHECK(sound(g));
        vs_begin(g);
        CHECK(vs_consolidate(g, ROWS / 3) == VS_OK);
        vs_done(g);
        CHECK(sound(g));
        CHECK(g->state.n_live == ROWS);
        CHECK(g->state.n_nodes < ROWS * 3 / 2);
    }
    printf("after churn: recall %.3f, nodes %u, dead %u, seeds %u\n", recall(g, &r, 64),
           g->state.n_nodes, g->state.n_dead, g->state.n_roots);
    CHECK(recall(g, &r, 64) > 0.93);
    CHECK(g->state.n_roots < 10);
    for (int i = 0; i < ROWS; i++) {
        vs_begin(g);
        CHECK(vs_delete(g, node[i]) == VS_OK);
        vs_done(g);
        if (i % 100 == 0) {
            CHECK(sound(g));
        }
    }
    CHECK(g->state.n_live == 0 && g->state.n_nodes == 0);
    CHECK(sound(g));
    insert(g, 7, v);
    CHECK(sound(g));
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

static void test_ten_thousand_equal_vectors_are_all_found(void) {
    enum { ROWS = 10000 };
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 8, VS_HNSW);
    float v[DIMS] = {1, 2, 3};
    VsQuery q;
    static VsHit hits[ROWS];
    size_t n = 0;
    for (int i = 0; i < ROWS; i++) {
        insert(g, i, v);
    }
    CHECK(sound(g));
    printf("equal vectors: %u seeds\n", g->state.n_roots);
    CHECK(g->state.n_roots < 50);
    CHECK(vs_query_set(g, v, &q) == VS_OK);
    CHECK(vs_search(g, &q, 10, 10, hits, &n) == VS_OK && n == 10);
    CHECK(vs_search(g, &q, ROWS, 10, hits, &n) == VS_OK && n == ROWS);
    vs_graph_close(g);
}

/* The bytes of everything that a statement can change. */
static void test_undo_restores_every_byte(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 4, VS_HNSW);
    Random r = {4};
    float v[DIMS];
    uint32_t node = 0;
    for (int i = 0; i < 400; i++) {
        random_vector(&r, v, DIMS);
        uint64_t before = fingerprint(g);
        vs_begin(g);
        CHECK(vs_insert(g, i, v, &node) == VS_OK);
        vs_undo(g);
        CHECK(fingerprint(g) == before);
        insert(g, i, v);
        if (i % 3 == 2) {
            uint32_t victim = (uint32_t)(random_next(&r) % g->state.n_nodes);
            before = fingerprint(g);
            vs_begin(g);
            VsStatus st = vs_delete(g, victim);
            vs_undo(g);
            CHECK(fingerprint(g) == before);
            vs_begin(g);
            CHECK(vs_delete(g, victim) == st);
            if (st == VS_OK) {
                vs_done(g);
            } else {
                vs_undo(g);
            }
        }
    }
    CHECK(sound(g));
    vs_graph_close(g);
}

static void test_every_failed_allocation_leaves_the_graph_as_it_was(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 4, VS_HNSW);
    Random r = {5};
    float v[DIMS];
    uint32_t node = 0;
    long failures = 0;
    for (int i = 0; i < 120; i++) {
        random_vector(&r, v, DIMS);
        int deleting = i % 4 == 3;
        uint32_t victim = (uint32_t)(random_next(&r) % (g->state.n_nodes + 1));
        for (long fail_at = 0;; fail_at++) {
            uint64_t before = fingerprint(g);
            vs_begin(g);
            heap.countdown = fail_at;
            VsStatus st = deleting ? vs_delete(g, victim) : vs_insert(g, i, v, &node);
            heap.countdown = -1;
            if (st != VS_NOMEM) {
                CHECK(st == VS_OK || deleting);
                if (st == VS_OK) {
                    vs_done(g);
                } else {
                    vs_undo(g);
                }
                break;
            }
            failures++;
            vs_undo(g);
            CHECK(fingerprint(g) == before);
        }
    }
    printf("%ld failed allocations\n", failures);
    CHECK(sound(g));
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

static void test_flat_reuses_the_places_of_deleted_rows(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsGraph *g = open_graph(&a, 8, VS_FLAT);
    float v[DIMS] = {0};
    for (int i = 0; i < 10; i++) {
        v[0] = (float)i;
        insert(g, i, v);
    }
    vs_begin(g);
    CHECK(vs_delete(g, 4) == VS_OK);
    vs_done(g);
    CHECK(sound(g));
    CHECK(insert(g, 11, v) == 4);
    CHECK(sound(g));
    vs_graph_close(g);
}

static void test_levels_follow_from_the_rowid_with_the_right_frequency(void) {
    VsParams params = test_params(DIMS, 16, VS_HNSW);
    int count[VS_MAX_LEVEL + 1] = {0};
    for (int64_t i = 0; i < 160000; i++) {
        count[vs_level_of(&params, i)]++;
    }
    CHECK(count[1] + count[2] + count[3] > 9500 &&
          count[1] + count[2] + count[3] < 10500);
    CHECK(count[2] > 480 && count[2] < 700);
}

int main(void) {
    test_inserting_keeps_every_invariant_and_recall();
    test_dot_finds_the_longest_rows_and_the_shortest();
    test_a_walk_looks_at_a_part_of_the_graph();
    test_tombstones_go_by_themselves();
    test_a_link_leads_where_no_other_does();
    test_churn_keeps_every_invariant_and_recall();
    test_ten_thousand_equal_vectors_are_all_found();
    test_undo_restores_every_byte();
    test_every_failed_allocation_leaves_the_graph_as_it_was();
    test_flat_reuses_the_places_of_deleted_rows();
    test_levels_follow_from_the_rowid_with_the_right_frequency();
    return check_report();
}
