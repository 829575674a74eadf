/* Risk: a scan leaves a row out by half of its code that the whole code, or its vector,
 * would have let in. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "csrc/graph/fit.h"
#include "csrc/search/scan.h"
#include "csrc/search/hits.h"
#include "csrc/codec/prefilter.h"
#include "csrc/codec/sq8.h"
#include "check.h"
#include "graph_fixture.h"

enum { MOST_BLOCKS = 70, MOST_ROWS = 700, MOST_DIMS = 384 };

/* ---- kernels ---------------------------------------------------------------------- */

static int64_t plain_sum(const int8_t *w, const unsigned char *code, size_t blocks,
                         int squares) {
    int64_t sum = 0;
    for (size_t i = 0; i < blocks * VS_BLOCK; i++) {
        unsigned char both = code[i / VS_BLOCK * VS_BLOCK_BYTES + i % VS_BLOCK_BYTES];
        int h = i % VS_BLOCK < VS_BLOCK_BYTES ? both & 15 : both >> 4;
        sum += h * (squares * 4 * h + w[i]);
    }
    return sum;
}

/* The codes end where their memory does. */
static void check_sums(Random *r, size_t blocks, int extreme) {
    static int8_t weights[VS_BLOCK * (MOST_BLOCKS + 1)];
    static int8_t arranged[VS_BLOCK * (MOST_BLOCKS + 1)];
    const VsCodeKernels *const *list = vs_code_kernels_available();
    size_t size = blocks * VS_BLOCK;
    memset(weights, 0, sizeof weights);
    for (size_t i = 0; i < blocks * VS_BLOCK; i++) {
        weights[i] =
            (int8_t)(extreme ? 127 * extreme : (int)(random_next(r) % 255) - 127);
    }
    for (uint32_t n = 1; n <= VS_RUN; n++) {
        unsigned char *code = malloc(n * size);
        CHECK(code != NULL);
        for (size_t i = 0; i < n * size; i++) {
            code[i] = (unsigned char)(extreme ? 255 : random_next(r));
        }
        for (int t = 0; list[t] != NULL; t++) {
            memcpy(arranged, weights, sizeof weights);
            list[t]->arrange(arranged, blocks);
            for (int squares = 0; squares < 2; squares++) {
                VsCodeSums run = squares ? list[t]->sums_l2 : list[t]->sums_dot;
                uint64_t all = UINT64_MAX >> (VS_RUN - n);
                int64_t want[VS_RUN];
                for (uint32_t i = 0; i < n; i++) {
                    want[i] = plain_sum(weights, code + i * size, blocks, squares);
                }
                for (int k = 0; k < 4 && all != 0; k++) { /* all, and fewer and fewer */
                    VsCodeRun these = {code, all}, later = {code, all & random_next(r)};
                    int32_t sum[VS_RUN], some = (int32_t)want[random_next(r) % n];
                    int32_t least, low = INT32_MAX;
                    for (uint32_t i = 0; i < VS_RUN; i++) {
                        sum[i] = INT32_MAX;
                    }
                    least = run(arranged, these, later, blocks, sum);
                    uint64_t pass = list[t]->at_most(sum, some);
                    for (uint32_t i = 0; i < VS_RUN; i++) {
                        int wanted = (int)(all >> i & 1);
                        low = sum[i] < low ? sum[i] : low;
                        CHECK((i < n && sum[i] == want[i]) ||
                              (!wanted && sum[i] == INT32_MAX));
                        CHECK((pass >> i & 1) == (sum[i] <= some));
                    }
                    CHECK(least == low);
                    all &= random_next(r) | random_next(r) >> k;
                }
            }
        }
        free(code);
    }
}

static void test_sums_are_the_same_everywhere(void) {
    Random r = {1};
    for (size_t blocks = 1; blocks <= MOST_BLOCKS; blocks += blocks < 9 ? 1 : 20) {
        for (int i = 0; i < 4; i++) {
            check_sums(&r, blocks, 0);
        }
        check_sums(&r, blocks, 1); /* the largest sums, the smallest */
        check_sums(&r, blocks, -1);
    }
}

/* ---- tables ----------------------------------------------------------------------- */

typedef struct Table {
    VsGraph *g;
    Heap heap;
    VsAlloc alloc;
    uint32_t dims;
    float v[MOST_ROWS][MOST_DIMS];
} Table;

/* Vectors in clusters, so that some rows are near a query and most are far; `outliers`
 * of them far out of the range that the model learnt. */
static void fill(Table *t, Random *r, uint32_t dims, VsMetric metric, uint32_t rows,
                 int outliers) {
    VsParams params = test_params(dims, 4, VS_FLAT);
    VsHooks hooks = {0};
    uint32_t node;
    params.code.codec = VS_CODEC_SQ8;
    params.code.metric = metric;
    t->alloc = heap_alloc(&t->heap);
    t->dims = dims;
    CHECK(vs_graph_open(&t->alloc, &params, &hooks, &t->g) == VS_OK);
    for (uint32_t i = 0; i < rows; i++) {
        random_vector(r, t->v[i], dims);
        for (uint32_t j = 0; i >= 8 && j < dims; j++) {
            t->v[i][j] = t->v[i % 8][j] + t->v[i][j] * 0.3f;
            t->v[i][j] *= outliers && i % 97 == 96 ? 20 : 1;
        }
        if (outliers && i % 101 == 100) {
            memset(t->v[i], 0, sizeof t->v[i]);
        }
        vs_begin(t->g);
        CHECK(vs_insert(t->g, i, t->v[i], &node) == VS_OK);
        vs_done(t->g);
    }
}

static void remove_rows(Table *t, Random *r, uint32_t rows, uint32_t share) {
    for (uint32_t i = 0; i < rows; i++) {
        if (random_next(r) % 100 < share) {
            vs_begin(t->g);
            CHECK(vs_delete(t->g, i) == VS_OK);
            vs_done(t->g);
        }
    }
}

static const VsNode *live_node(VsGraph *g, uint32_t u) {
    const VsNode *node = NULL;
    CHECK(vs_node(g, u, &node) == VS_OK);
    return (node->flags & VS_STATUS_MASK) == VS_LIVE ? node : NULL;
}

static int compare_floats(const void *a, const void *b) {
    const float *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* ---- the bound itself -------------------------------------------------------------- */

static void check_most(Table *t, const VsQuery *q, uint64_t *left_out) {
    VsGraph *g = t->g;
    VsPrefilter prefilter;
    vs_prefilter_set(&prefilter, q);
    CHECK((prefilter.kernels == NULL) == q->as_floats);
    if (q->as_floats) { /* of one that leaves the range the high planes tell nothing */
        return;
    }
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        const unsigned char *code = NULL;
        float order, other;
        CHECK(vs_slot(g, VS_CODE, u, &code) == VS_OK);
        uint32_t rest = vs_prefilter_rest(&g->params.code, code, 1);
        q->full(q, &code, 1, &order);
        CHECK(vs_order(g, q, (u * 7 + 1) % g->state.n_nodes, &other) == VS_OK);
        const float limits[] = {order, nextafterf(order, INFINITY), other, 0};
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            VsCodeRun one = {code, 1}, none = {code, 0};
            int32_t sum[VS_RUN], most = vs_prefilter_most(&prefilter, limits[i], rest);
            (void)prefilter.sums(prefilter.weights, one, none, prefilter.blocks, sum);
            CHECK(sum[0] <= most || order >= limits[i]);
            *left_out += sum[0] > most;
        }
    }
    CHECK(vs_prefilter_most(&prefilter, INFINITY, 0) == INT32_MAX);
    CHECK(vs_prefilter_most(&prefilter, NAN, 0) == INT32_MAX);
}

/* ---- scans against their definition ------------------------------------------------- */

static void check_candidates(Table *t, const VsQuery *q, size_t k, float within,
                             const VsAdmit *admit) {
    static float high[MOST_ROWS], low[MOST_ROWS];
    static unsigned char is[MOST_ROWS];
    VsGraph *g = t->g;
    VsCandidates found = {0};
    VsWanted wanted = {k, within, admit};
    size_t rows = 0, want = 0;
    memset(is, 0, sizeof is);
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        const VsNode *node = live_node(g, u);
        float order, upper;
        low[u] = INFINITY;
        if (node != NULL && vs_admitted(admit, u)) {
            float error = vs_error(node->error);
            CHECK(vs_order(g, q, u, &order) == VS_OK);
            vs_bounds(q, order, error, 1, &low[u], &upper);
            high[rows++] = upper;
        }
    }
    qsort(high, rows, sizeof *high, compare_floats);
    float limit = k < rows && high[k - 1] < within ? high[k - 1] : within;
    CHECK(vs_scan_candidates(g, q, &wanted, &found) == VS_OK);
    CHECK(found.reach == limit);
    vs_candidates_sort(found.at, found.n);
    for (size_t i = 0; i < found.n; i++) {
        CHECK(i == 0 || found.at[i - 1].low <= found.at[i].low);
        CHECK(found.at[i].low == low[found.at[i].node]);
        is[found.at[i].node]++;
    }
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        const VsNode *node = live_node(g, u);
        int may = node != NULL && vs_admitted(admit, u) && low[u] <= limit;
        CHECK(is[u] == may);
        want += (size_t)may;
    }
    CHECK(found.n == want);
    vs_free(&g->alloc, found.at);
}

static void check_scan(Table *t, const VsQuery *q, size_t k) {
    static VsHit want[MOST_ROWS], got[MOST_ROWS];
    VsGraph *g = t->g;
    size_t rows = 0, n = 0;
    for (uint32_t u = 0; u < g->state.n_nodes; u++) {
        if (live_node(g, u) != NULL) {
            want[rows].node = u;
            CHECK(vs_order(g, q, u, &want[rows++].order) == VS_OK);
        }
    }
    vs_hits_sort(want, rows);
    CHECK(vs_scan(g, q, k, got, &n) == VS_OK);
    CHECK(n == (k < rows ? k : rows));
    CHECK(memcmp(want, got, n * sizeof *got) == 0);
}

static void check_table(Table *t, Random *r, uint64_t *left_out, uint32_t *in_range) {
    uint64_t words[MOST_ROWS / 64 + 1];
    VsQuery q;
    for (int i = 0; i < 4; i++) {
        float v[MOST_DIMS];
        uint32_t n = t->g->state.n_nodes;
        random_vector(r, v, t->dims);
        for (uint32_t j = 0; i > 0 && j < t->dims; j++) { /* near one of the clusters */
            v[j] = t->v[i % n][j] + 0.2f * v[j];
        }
        VsAdmit admit = {words, n - n / 9, 0};
        for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
            words[w] = w % 4 == 3 ? 0 : random_next(r) & random_next(r);
        }
        for (uint32_t u = 0; u < n; u++) {
            admit.count += live_node(t->g, u) != NULL && vs_admitted(&admit, u);
        }
        CHECK(vs_query_set(t->g, v, &q) == VS_OK);
        check_most(t, &q, left_out);
        *in_range += !q.as_floats;
        for (size_t k = 1; k <= 600; k += k < 4 ? 1 : k * 5) {
            float other, low, high;
            CHECK(vs_order(t->g, &q, (uint32_t)(k % n), &other) == VS_OK);
            vs_bounds(&q, other, 0, 1, &low, &high);
            check_candidates(t, &q, k, INFINITY, NULL);
            check_candidates(t, &q, k, INFINITY, &admit);
            check_candidates(t, &q, k, high, NULL);
            check_candidates(t, &q, SIZE_MAX, low, &admit);
            check_scan(t, &q, k);
        }
    }
}

static void test_a_scan_gives_what_its_definition_gives(void) {
    static Table t;
    static const uint32_t dims[] = {1, 3, 33, 64, 65, 128, 200, 384};
    static const uint32_t rows[] = {1, 7, 40, 333, MOST_ROWS};
    Random r = {5};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (int metric = VS_L2; metric <= VS_DOT; metric++) {
            uint64_t left_out = 0;
            uint32_t in_range = 0;
            for (size_t n = d % 2; n < sizeof rows / sizeof *rows; n += 2 - d % 2 / 2) {
                fill(&t, &r, dims[d], (VsMetric)metric, rows[n], (int)(n + d) % 2);
                check_table(&t, &r, &left_out, &in_range);
                remove_rows(&t, &r, rows[n], 30);
                if (t.g->state.n_live > 0) {
                    check_table(&t, &r, &left_out, &in_range);
                }
                vs_graph_close(t.g);
                CHECK(t.heap.live == 0);
            }
            CHECK(left_out > 100 || in_range < 16); /* the bounds are of use */
        }
    }
}

/* What a scan found out of a page does not outlive its codes. */
static void test_notes_of_a_page_go_when_it_is_written(void) {
    static Table t;
    Random r = {7};
    VsQuery q;
    VsCandidates found = {0};
    const VsWanted three = {3, INFINITY, NULL};
    fill(&t, &r, 64, VS_L2, 300, 0);
    CHECK(vs_query_set(t.g, t.v[0], &q) == VS_OK);
    CHECK(vs_scan_candidates(t.g, &q, &three, &found) == VS_OK);
    vs_free(&t.g->alloc, found.at);
    const VsTable *codes = &t.g->table[VS_CODE];
    const unsigned char *page = vs_table_get(codes, 1);
    uint32_t per_page = t.g->geo[VS_CODE].per_page, note = vs_table_note(codes, 1);
    CHECK(note == 1 + vs_prefilter_rest(&t.g->params.code, page, per_page));
    unsigned char low[32];
    memset(low, 0xF0, sizeof low); /* as far from the middle as it gets */
    vs_begin(t.g);
    CHECK(vs_edit(t.g, VS_CODE, per_page + 2, 32, low, sizeof low) == VS_OK);
    CHECK(vs_table_note(codes, 1) == 0);
    CHECK(vs_scan_candidates(t.g, &q, &three, &found) == VS_OK);
    vs_free(&t.g->alloc, found.at);
    CHECK(vs_table_note(codes, 1) == 1 + 225 * 64);
    vs_undo(t.g);
    CHECK(vs_table_note(codes, 1) == 0);
    vs_graph_close(t.g);
}

/* Writes the code of a node: `high` and `low` are bytes of its planes, of which the first
 * `farther` high ones are one more in both nibbles. */
static void set_code(VsGraph *g, uint32_t node, unsigned char high, unsigned char low,
                     size_t farther) {
    unsigned char code[2 * VS_BLOCK_BYTES];
    memset(code, high, VS_BLOCK_BYTES);
    memset(code, high + 0x11, farther);
    memset(code + VS_BLOCK_BYTES, low, VS_BLOCK_BYTES);
    vs_begin(g);
    CHECK(vs_edit(g, VS_CODE, node, 0, code, sizeof code) == VS_OK);
    vs_done(g);
}

/* All rows are 15 off in every dimension, which their high nibbles tell. One is only 8 or
 * 24 off, which they do not tell: the low nibbles of its page are farther from the middle
 * than those of all pages before. */
static void
test_a_page_whose_low_nibbles_tell_more_is_not_prefiltered_by_the_last_limit(void) {
    static Table t;
    Random r = {9};
    VsQuery q;
    VsHit hit;
    size_t n = 0;
    float v[64];
    fill(&t, &r, 64, VS_L2, MOST_ROWS, 0);
    uint32_t per_page = t.g->geo[VS_CODE].per_page, pages = 40, node;
    for (uint32_t i = MOST_ROWS; i < pages * per_page; i++) {
        vs_begin(t.g);
        CHECK(vs_insert(t.g, i, t.v[i % MOST_ROWS], &node) == VS_OK);
        vs_done(t.g);
    }
    for (uint32_t u = 0; u < t.g->state.n_nodes; u++) {
        set_code(t.g, u, 0x88, 0x77, 0);
    }
    for (int i = 0; i < 64; i++) {
        v[i] = (float)(120 + t.g->model->zero) * t.g->model->step;
    }
    CHECK(vs_query_set(t.g, v, &q) == VS_OK);
    for (uint32_t page = 20; page < pages; page++) {
        uint32_t near = page * per_page + 5;
        set_code(t.g, near, 0x88, 0x00, 5);
        CHECK(vs_scan(t.g, &q, 1, &hit, &n) == VS_OK);
        CHECK(n == 1 && hit.node == near);
        set_code(t.g, near, 0x88, 0x77, 0);
    }
    vs_graph_close(t.g);
}

/* Sums are kept of 512 runs at a time, here some 32,000 rows. */
static void test_a_scan_of_several_parts_finds_what_one_of_each_row_finds(void) {
    static Table t;
    enum { ROWS = 70000, K = 20 };
    Random r = {13};
    static VsHit all[ROWS];
    fill(&t, &r, 5, VS_L2, 100, 0);
    uint32_t node;
    for (uint32_t i = 100; i < ROWS; i++) {
        float v[5];
        random_vector(&r, v, 5);
        vs_begin(t.g);
        CHECK(vs_insert(t.g, i, v, &node) == VS_OK);
        vs_done(t.g);
    }
    for (int with = 0; with < 6; with++) {
        float v[5];
        VsQuery q;
        VsHit hits[K];
        size_t n = 0, n_all = 0, k = with < 3 ? 1 : K;
        random_vector(&r, v, 5);
        CHECK(vs_query_set(t.g, v, &q) == VS_OK);
        for (uint32_t u = 0; u < ROWS; u++) {
            all[n_all].node = u;
            CHECK(vs_order(t.g, &q, u, &all[n_all++].order) == VS_OK);
        }
        vs_hits_sort(all, n_all);
        CHECK(vs_scan(t.g, &q, k, hits, &n) == VS_OK);
        CHECK(n == k && memcmp(hits, all, k * sizeof *hits) == 0);
    }
    vs_graph_close(t.g);
    CHECK(t.heap.live == 0);
}

int main(void) {
    test_sums_are_the_same_everywhere();
    test_a_scan_gives_what_its_definition_gives();
    test_notes_of_a_page_go_when_it_is_written();
    test_a_page_whose_low_nibbles_tell_more_is_not_prefiltered_by_the_last_limit();
    test_a_scan_of_several_parts_finds_what_one_of_each_row_finds();
    return check_report();
}
