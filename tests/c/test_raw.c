/* Risk: rows that codes do not tell apart, or that come from elsewhere, are not found; or the
 * vectors that the index keeps of them get lost or stay behind. */
#include <stddef.h>
#include <string.h>

#include "csrc/build/pending.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/raw.h"
#include "disk_fixture.h"

enum { D = 24, ROWS = 3000, LATER = 400, NEAREST = 10, QUERIES = 60 };

typedef struct Table {
    Heap heap;
    Store store;
    VsGraph *g;
    float v[ROWS + LATER][D];
    uint32_t node[ROWS + LATER];
    unsigned char model[65536];
    size_t model_len;
} Table;

static VsStatus vector_of(void *ctx, int64_t rowid, void *out, int *found) {
    const Table *t = (const Table *)((const char *)ctx - offsetof(Table, store));
    memcpy(out, t->v[rowid], sizeof t->v[rowid]);
    *found = 1;
    return VS_OK;
}

static VsStatus model_of(void *ctx, uint32_t epoch, const unsigned char **blob,
                         size_t *len) {
    const Table *t = (const Table *)((const char *)ctx - offsetof(Table, store));
    (void)epoch;
    *blob = t->model;
    *len = t->model_len;
    return VS_OK;
}

static void open_graph(Table *t, VsMetric metric, VsCodecId codec) {
    VsParams params = test_params(D, 8, VS_HNSW);
    VsHooks hooks = {.load = get_page,
                     .load_done = no_done,
                     .load_model = model_of,
                     .vector = vector_of,
                     .ctx = &t->store};
    params.code.metric = metric;
    params.code.codec = codec;
    t->store.n = 0;
    t->store.polls_left = -1;
    VsAlloc alloc = heap_alloc(&t->heap);
    CHECK(vs_graph_open(&alloc, &params, &hooks, &t->g) == VS_OK);
}

/* Half of the rows around the origin, then clusters that are narrow and far apart. */
static void draw(Table *t, uint64_t seed) {
    Random r = {seed};
    for (int i = 0; i < ROWS + LATER; i++) {
        random_vector(&r, t->v[i], D);
        for (int j = 0; i >= ROWS / 2 && j < D; j++) {
            t->v[i][j] = t->v[i][j] * 0.3f + (float)((i % 5 + j) % 5) * 20;
        }
    }
}

static VsStatus insert(Table *t, int i) {
    vs_begin(t->g);
    VsStatus st = vs_insert_pending(t->g, i, t->v[i], &t->node[i]);
    if (st == VS_OK) {
        vs_done(t->g);
    } else {
        vs_undo(t->g);
    }
    return st;
}

static void fill(Table *t, int from, int to, unsigned threads) {
    VsBuild build = {.threads = threads};
    for (int i = from; i < to; i++) {
        CHECK(insert(t, i) == VS_OK);
        if (i % 500 == 499) {
            CHECK(vs_link_pending(t->g, &build) == VS_OK);
        }
    }
    CHECK(vs_link_pending(t->g, &build) == VS_OK);
}

static void delete_row(Table *t, int i) {
    vs_begin(t->g);
    CHECK(vs_delete(t->g, t->node[i]) == VS_OK);
    vs_done(t->g);
}

static double distance(const Table *t, const float *a, const float *b) {
    return vs_metric_distance(t->g->params.code.metric, VS_F32, a, b, D);
}

/* Share of the nearest NEAREST live rows that walks find. */
static double recall(Table *t, int from, int to) {
    static VsHit hits[64];
    int found = 0, queries = 0;
    for (int q = from; q < to; q += (to - from) / QUERIES + 1, queries++) {
        double limit[NEAREST + 1];
        size_t n = 0, kept = 0;
        VsQuery query;
        for (int i = 0; i < to; i++) {
            double d = distance(t, t->v[q], t->v[i]);
            size_t at = kept < NEAREST ? kept++ : kept;
            for (; at > 0 && d < limit[at - 1]; at--) {
                limit[at] = limit[at - 1];
            }
            limit[at] = d;
        }
        CHECK(vs_query_set(t->g, t->v[q], &query) == VS_OK);
        CHECK(vs_search(t->g, &query, NEAREST, 64, hits, &n) == VS_OK);
        for (size_t i = 0; i < n; i++) {
            const VsNode *node = NULL;
            CHECK(vs_node(t->g, hits[i].node, &node) == VS_OK);
            found += distance(t, t->v[q], t->v[node->rowid]) <=
                     limit[NEAREST - 1] * (1 + 1e-6) + 1e-9;
        }
    }
    return (double)found / (NEAREST * queries);
}

static Table t;

static void test_rows_that_codes_do_not_tell_apart_are_found(void) {
    static const VsCodecId codecs[] = {VS_CODEC_NONE, VS_CODEC_SQ8, VS_CODEC_PQ};
    static const double less[] = {0, 0.02, 0.09}; /* no vector is read here */
    draw(&t, 1);
    for (int metric = VS_L2; metric <= VS_COSINE; metric++) {
        double most = 0;
        for (int i = 0; i < 3; i++) {
            open_graph(&t, (VsMetric)metric, codecs[i]);
            fill(&t, 0, ROWS, 1);
            CHECK((t.g->state.raw_rows > 0) == (i > 0));
            double share = recall(&t, ROWS / 2, ROWS);
            most = i == 0 ? share : most;
            CHECKF(share >= most - less[i], "codec %d, metric %d: recall %.3f of %.3f",
                   codecs[i], metric, share, most);
            CHECK(sound(t.g));
            vs_graph_close(t.g);
            CHECK(t.heap.live == 0);
        }
    }
}

/* One range, no structure: codes are enough, and no page of raw rows exists. */
static void test_ordinary_rows_have_no_raw_vector(void) {
    Random r = {2};
    for (int i = 0; i < ROWS; i++) {
        random_vector(&r, t.v[i], D);
    }
    for (int metric = VS_L2; metric <= VS_DOT; metric++) {
        open_graph(&t, (VsMetric)metric, VS_CODEC_SQ8);
        fill(&t, 0, ROWS, 1);
        CHECK(t.g->state.raw_rows == 0);
        CHECK(t.g->state.n_raw == 0);
        CHECK(t.g->table[VS_RAW].n_leaves == 0);
        CHECK(t.g->table[VS_RAW_AT].n_leaves == 0);
        vs_graph_close(t.g);
    }
}

static void test_threads_change_no_byte_of_raw_rows(void) {
    uint64_t want = 0;
    draw(&t, 3);
    for (unsigned threads = 1; threads <= 4; threads++) {
        open_graph(&t, VS_L2, VS_CODEC_SQ8);
        fill(&t, 0, ROWS, threads);
        uint64_t got = fingerprint(t.g);
        CHECK(threads == 1 || got == want);
        want = got;
        vs_graph_close(t.g);
    }
}

/* Slots of deleted rows are used again; with the last raw row all are given up. */
static void test_slots_of_deleted_rows_are_taken_again(void) {
    draw(&t, 4);
    open_graph(&t, VS_L2, VS_CODEC_SQ8);
    fill(&t, 0, ROWS, 1);
    uint32_t slots = t.g->state.n_raw, rows = t.g->state.raw_rows;
    for (int i = ROWS - LATER; i < ROWS; i++) {
        delete_row(&t, i);
    }
    vs_begin(t.g);
    CHECK(vs_consolidate(t.g, 4 * ROWS) == VS_OK);
    vs_done(t.g);
    CHECK(sound(t.g));
    CHECK(t.g->state.raw_rows < rows);
    CHECK(t.g->state.raw_free != VS_NIL);
    fill(&t, ROWS, ROWS + LATER, 1);
    CHECK(sound(t.g));
    CHECK(t.g->state.n_raw <= slots + LATER / 2);
    for (int i = 0; i < ROWS + LATER; i++) {
        if (i < ROWS - LATER || i >= ROWS) {
            delete_row(&t, i);
        }
    }
    CHECK(t.g->state.n_raw == 0);
    CHECK(t.g->state.raw_free == VS_NIL);
    CHECK(sound(t.g));
    fill(&t, 0, ROWS, 1); /* RAW_AT still tells of the rows that are gone */
    CHECK(sound(t.g));
    vs_graph_close(t.g);
    CHECK(t.heap.live == 0);
}

static void test_undo_takes_a_raw_row_back(void) {
    draw(&t, 5);
    open_graph(&t, VS_L2, VS_CODEC_SQ8);
    fill(&t, 0, ROWS, 1);
    uint32_t ordinary = 0, raw = VS_NIL;
    for (int i = 0; i < ROWS; i++) {
        const float *v = NULL;
        CHECK(vs_raw(t.g, t.node[i], &v) == VS_OK);
        if (v == NULL) {
            ordinary = t.node[i];
        } else {
            raw = t.node[i];
        }
    }
    uint64_t before = fingerprint(t.g);
    vs_begin(t.g);
    CHECK(vs_raw_add(t.g, ordinary, t.v[0]) == VS_OK);
    CHECK(vs_raw_drop(t.g, raw) == VS_OK);
    CHECK(fingerprint(t.g) != before);
    vs_undo(t.g);
    CHECK(fingerprint(t.g) == before);
    vs_graph_close(t.g);
}

static void test_every_failed_allocation_leaves_raw_rows_sound(void) {
    VsBuild build = {.threads = 1};
    long failures = 0;
    VsStatus st = VS_NOMEM;
    draw(&t, 6);
    open_graph(&t, VS_L2, VS_CODEC_SQ8);
    fill(&t, 0, ROWS / 2 + 200, 1);
    CHECK(t.g->state.raw_rows > 0);
    int row = ROWS / 2 + 200;
    for (long skip = 0; st == VS_NOMEM; skip += 1 + skip / 20) {
        uint64_t before = fingerprint(t.g);
        t.heap.countdown = skip;
        st = insert(&t, row);
        t.heap.countdown = -1;
        CHECK(st == VS_OK || fingerprint(t.g) == before);
        failures += st != VS_OK;
    }
    CHECK(st == VS_OK);
    st = VS_NOMEM;
    for (long skip = 0; st == VS_NOMEM; skip += 1 + skip / 20) {
        t.heap.countdown = skip;
        st = vs_link_pending(t.g, &build);
        t.heap.countdown = -1;
        CHECK(sound(t.g));
        failures += st != VS_OK;
    }
    CHECK(st == VS_OK);
    CHECK(failures > 3);
    vs_graph_close(t.g);
    CHECK(t.heap.live == 0);
}

/* What pages and log rows say is the graph, and a connection that follows the log has the
 * same. */
static void test_raw_rows_come_back_from_pages_and_log(void) {
    static Table other;
    const unsigned char *edits = NULL;
    size_t n = 0;
    draw(&t, 7);
    open_graph(&t, VS_L2, VS_CODEC_SQ8);
    fill(&t, 0, 300, 1);
    CHECK(vs_flush_pages(t.g, put_page, &t.store) == VS_OK);
    const VsModel *m = vs_model_unsaved(t.g);
    CHECK(m != NULL);
    memcpy(t.model, m->blob, m->len);
    t.model_len = m->len;
    memcpy(other.v, t.v, sizeof t.v);
    memcpy(other.model, t.model, sizeof t.model);
    other.model_len = t.model_len;
    open_graph(&other, VS_L2, VS_CODEC_SQ8);
    other.store = t.store;
    CHECK(vs_graph_reset(other.g, &t.g->state) == VS_OK);
    CHECK(t.g->state.raw_rows == 0);
    /* 20 rows at the same far place: near each other by any code */
    t.g->state.blurred = t.g->state.judged = 1000;
    for (int i = 300; i < 320; i++) {
        for (int j = 0; j < D; j++) {
            t.v[i][j] = 1e4f + t.v[i][j];
        }
    }
    memcpy(other.v, t.v, sizeof t.v);
    fill(&t, 300, 320, 1);
    CHECK(t.g->state.raw_rows >= 20);
    CHECK(vs_flush_log(t.g, &edits, &n) == VS_OK);
    CHECK(vs_replay(other.g, &t.g->state, edits, n) == VS_OK);
    CHECK(vs_model_ready(other.g) == VS_OK);
    CHECK(fingerprint(other.g) == fingerprint(t.g));
    CHECK(sound(other.g));
    vs_graph_close(other.g);
    CHECK(vs_flush_pages(t.g, put_page, &t.store) == VS_OK);
    open_graph(&other, VS_L2, VS_CODEC_SQ8);
    other.store = t.store;
    CHECK(vs_graph_reset(other.g, &t.g->state) == VS_OK);
    CHECK(sound(other.g));
    CHECK(fingerprint(other.g) == fingerprint(t.g));
    vs_graph_close(other.g);
    vs_graph_close(t.g);
}

/* A hint that leads to a slot of another node makes no row raw. */
static void test_a_hint_that_leads_astray_is_followed_no_further(void) {
    const float *v = NULL;
    unsigned char hint[4];
    uint32_t raw = VS_NIL;
    draw(&t, 8);
    open_graph(&t, VS_L2, VS_CODEC_SQ8);
    fill(&t, 0, ROWS, 1);
    for (int i = 0; i < ROWS && raw == VS_NIL; i++) {
        CHECK(vs_raw(t.g, t.node[i], &v) == VS_OK);
        raw = v != NULL ? t.node[i] : raw;
    }
    for (uint32_t at = 0; at < 3; at++) {
        const uint32_t hints[] = {0, t.g->state.n_raw + 1, UINT32_MAX};
        vs_put_u32(hint, hints[at]);
        vs_begin(t.g);
        CHECK(vs_edit(t.g, VS_RAW_AT, raw, 0, hint, 4) == VS_OK);
        CHECK(vs_raw(t.g, raw, &v) == VS_OK && v == NULL);
        VsFinding finding;
        CHECK(vs_validate(t.g, &finding) == VS_OK && finding.flaw == VS_FLAW_RAW);
        vs_undo(t.g);
    }
    CHECK(sound(t.g));
    vs_graph_close(t.g);
}

int main(void) {
    test_rows_that_codes_do_not_tell_apart_are_found();
    test_ordinary_rows_have_no_raw_vector();
    test_threads_change_no_byte_of_raw_rows();
    test_slots_of_deleted_rows_are_taken_again();
    test_undo_takes_a_raw_row_back();
    test_every_failed_allocation_leaves_raw_rows_sound();
    test_raw_rows_come_back_from_pages_and_log();
    test_a_hint_that_leads_astray_is_followed_no_further();
    return check_report();
}
