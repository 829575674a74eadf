/* Risk: bytes that are not what was written are believed, or what is written is not all
 * of the graph. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "check.h"
#include "disk_fixture.h"

#include "csrc/base/crc32c.h"
#include "csrc/graph/fit.h"
#include "csrc/graph/snapshot.h"

enum { ROWS = 300 };

static VsGraph *open_graph(const VsAlloc *a, Store *store) {
    VsGraph *g = NULL;
    VsParams params = test_params(DIMS, 4, VS_HNSW);
    VsHooks hooks = {
        .load = get_page, .load_done = no_done, .interrupted = interrupted, .ctx = store};
    store->polls_left = -1;
    CHECK(vs_graph_open(a, &params, &hooks, &g) == VS_OK);
    return g;
}

/* ---- what is written is all ------------------------------------------------------ */

static Store store, other_store;

/* A graph that knows the files only. */
static uint64_t fingerprint_of_files(const VsAlloc *a, const VsState *state,
                                     const unsigned char *edits, size_t n_edits) {
    VsGraph *g = open_graph(a, &store);
    CHECK(vs_graph_reset(g, state) == VS_OK);
    CHECK(edits == NULL ||
          vs_overlay_add(g->overlay, state->ver, edits, n_edits) == VS_OK);
    uint64_t h = fingerprint(g);
    vs_graph_close(g);
    return h;
}

static void test_pages_and_log_together_are_the_whole_graph(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {1};
    const unsigned char *edits = NULL;
    size_t n = 0;
    store.n = 0;
    VsGraph *g = open_graph(&a, &store);
    insert_rows(g, &r, 0, ROWS);
    CHECK(vs_flush_pages(g, put_page, &store) == VS_OK);
    CHECK(fingerprint_of_files(&a, &g->state, NULL, 0) == fingerprint(g));
    insert_rows(g, &r, ROWS, ROWS + 20);
    vs_begin(g);
    CHECK(vs_delete(g, 5) == VS_OK);
    vs_done(g);
    CHECK(vs_flush_log(g, &edits, &n) == VS_OK);
    CHECK(fingerprint_of_files(&a, &g->state, edits, n) == fingerprint(g));
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

static void test_edits_that_no_log_row_can_hold_are_written_as_pages(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {2};
    store.n = 0;
    VsGraph *g = open_graph(&a, &store);
    insert_rows(g, &r, 0, 100);
    CHECK(vs_flush_pages(g, put_page, &store) == VS_OK);
    insert_rows(g, &r, 100, ROWS);
    while (!g->redo_overflow) { /* the same bytes again and again */
        const unsigned char *slot = NULL;
        CHECK(vs_slot(g, VS_CODE, 7, &slot) == VS_OK);
        unsigned char copy[DIMS * 4];
        memcpy(copy, slot, sizeof copy);
        vs_begin(g);
        CHECK(vs_edit(g, VS_CODE, 7, 0, copy, sizeof copy) == VS_OK);
        vs_done(g);
    }
    CHECK(vs_flush_pages(g, put_page, &store) == VS_OK);
    CHECK(fingerprint_of_files(&a, &g->state, NULL, 0) == fingerprint(g));
    vs_graph_close(g);
}

static void test_another_history_has_another_stamp(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {3}, other = {4};
    const unsigned char *edits = NULL;
    size_t n = 0;
    VsGraph *g = open_graph(&a, &store), *h = open_graph(&a, &other_store);
    insert_rows(g, &r, 0, 1);
    insert_rows(h, &other, 0, 1);
    CHECK(vs_flush_log(g, &edits, &n) == VS_OK && vs_flush_log(h, &edits, &n) == VS_OK);
    CHECK(g->state.ver == h->state.ver && g->state.n_nodes == h->state.n_nodes);
    CHECK(g->state.stamp != h->state.stamp);
    insert_rows(g, &r, 1, 2);
    insert_rows(h, &other, 1, 2);
    store.n = other_store.n = 0;
    h->state.stamp = g->state.stamp;
    CHECK(vs_flush_pages(g, put_page, &store) == VS_OK);
    CHECK(vs_flush_pages(h, put_page, &other_store) == VS_OK);
    CHECK(g->state.stamp != h->state.stamp);
    vs_graph_close(g);
    vs_graph_close(h);
}

static void test_a_page_gets_the_edits_after_its_version_in_their_order(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    VsOverlay *o = NULL;
    VsGeometry geo[VS_PAGE_KINDS];
    unsigned char data[2048] = {0}, bytes[64], value[3] = {1, 2, 3};
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        geo[k] = vs_geometry(1024, 16, 0, 16);
    }
    CHECK(vs_overlay_new(&a, geo, &o) == VS_OK);
    for (uint64_t ver = 1; ver <= 3; ver++) {
        VsBuffer b = {.data = bytes, .cap = sizeof bytes};
        vs_edit_write(&b, VS_CODE, 2, (uint32_t)ver, &value[ver - 1], 1);
        vs_edit_write(&b, VS_CODE, 2, 9, &value[ver - 1], 1);
        CHECK(vs_overlay_add(o, ver, b.data, b.len) == VS_OK);
    }
    vs_overlay_apply(o, VS_CODE, 0, 1, data);
    CHECK(data[32 + 1] == 0 && data[32 + 2] == 2 && data[32 + 3] == 3);
    CHECK(data[32 + 9] == 3);
    vs_overlay_keep(o, 1, 2);
    memset(data, 0, sizeof data);
    vs_overlay_apply(o, VS_CODE, 0, 0, data);
    CHECK(data[32 + 1] == 0 && data[32 + 2] == 2 && data[32 + 3] == 0);
    CHECK(vs_overlay_bytes(o) > 0 && vs_overlay_page_count(o) == 1);
    vs_overlay_free(o);
    CHECK(heap.live == 0);
}

static void test_going_back_leaves_nothing_of_what_came_after(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {9};
    VsHistory history = {.n = 0};
    const unsigned char *edits = NULL;
    size_t n = 0;
    VsGraph *g = open_graph(&a, &store);
    insert_rows(g, &r, 0, 50);
    CHECK(vs_flush_log(g, &edits, &n) == VS_OK);
    vs_history_push(g, &history);
    VsState then = g->state;
    uint64_t before = fingerprint(g);
    size_t bytes = vs_overlay_bytes(g->overlay);
    insert_rows(g, &r, 50, 60);
    CHECK(vs_flush_log(g, &edits, &n) == VS_OK);
    vs_history_push(g, &history);
    insert_rows(g, &r, 60, 70); /* not flushed */
    CHECK(vs_history_return(g, &history, &then));
    CHECK(fingerprint(g) == before && g->state.stamp == then.stamp && !g->changed);
    CHECK(vs_overlay_bytes(g->overlay) == bytes);
    vs_history_clear(g, &history);
    vs_graph_close(g);
    CHECK(heap.live == 0);
}

/* ---- what is read is checked ----------------------------------------------------- */

static void check_state_bytes(const VsState *s, size_t size) {
    unsigned char blob[VS_STATE_SIZE], edits[20] = "twenty bytes of edit";
    VsStateRow row;
    CHECK(vs_state_encode(s, edits, sizeof edits, 1, blob) == size);
    CHECK(vs_state_decode(blob, size, 7, 99, &row) == VS_OK);
    CHECK(memcmp(&row.state, s, sizeof *s) == 0);
    CHECK(vs_state_decode(blob, size, 8, 99, &row) == VS_CORRUPT);
    CHECK(vs_state_decode(blob, size, 7, 98, &row) == VS_CORRUPT);
    CHECK(vs_state_decode(blob, size - 1, 7, 99, &row) == VS_CORRUPT);
    for (size_t i = 0; i < size; i++) {
        blob[i] ^= 4;
        CHECKF(vs_state_decode(blob, size, 7, 99, &row) == VS_CORRUPT, "byte %zu", i);
        blob[i] ^= 4;
    }
    CHECK(vs_state_decode(blob, size, 7, 99, &row) == VS_OK);
    CHECK(vs_state_check_edits(&row, edits, sizeof edits) == VS_OK);
    CHECK(vs_state_check_edits(&row, edits, sizeof edits - 1) == VS_CORRUPT);
    for (size_t i = 0; i < sizeof edits; i++) {
        edits[i] ^= 4;
        CHECK(vs_state_check_edits(&row, edits, sizeof edits) == VS_CORRUPT);
        edits[i] ^= 4;
    }
}

static void test_a_changed_byte_of_a_state_or_its_edits_is_refused(void) {
    VsParams params = test_params(DIMS, 4, VS_HNSW);
    VsState s = vs_state_initial(&params);
    s.ver = 7;
    s.stamp = 99;
    CHECK(vs_state_format(&s) == 1);
    check_state_bytes(&s, 112);
    s.n_nodes = 9;
    s.n_raw = 5;
    s.raw_rows = 4;
    s.raw_free = 2;
    s.blur = 0.25f;
    s.judged = 70;
    s.blurred = 7;
    s.checkpointed[VS_RAW_AT] = 3;
    CHECK(vs_state_format(&s) == 2);
    check_state_bytes(&s, VS_STATE_SIZE);
}

/* A state whose checksum is right, with counters that cannot be. */
static void test_a_state_that_cannot_be_is_refused(void) {
    enum { BAD = 18 };
    VsParams params = test_params(DIMS, 4, VS_HNSW);
    VsState s = vs_state_initial(&params), bad[BAD];
    VsStateRow row;
    unsigned char blob[VS_STATE_SIZE];
    s.n_nodes = 10;
    s.n_live = 6;
    s.n_dead = 3;
    s.n_upper = 2;
    s.n_roots = 1;
    s.entry = 2;
    s.ver = s.checkpoint_ver = 5;
    s.n_raw = 3;
    s.raw_rows = 2;
    s.raw_free = 1;
    for (int i = 0; i < BAD; i++) {
        bad[i] = s;
    }
    bad[0].n_live = 11;
    bad[1].n_dead = 5;
    bad[2].entry = 10;
    bad[3].free_head = 10;
    bad[4].upper_free = 2;
    bad[5].n_roots = 11;
    bad[6].max_level = VS_MAX_LEVEL + 1;
    bad[7].checkpoint_ver = 6;
    bad[8].ef_search = 0;
    bad[9].ef_search = VS_MAX_EF + 1;
    bad[10].n_upper = 10 * VS_MAX_LEVEL + 1;
    bad[11].ver = bad[11].checkpoint_ver = UINT64_MAX / 2;
    bad[12].raw_rows = 4;
    bad[13].n_raw = 11;
    bad[14].raw_free = 3;
    bad[15].blur = -1;
    bad[16].blur = NAN;
    bad[17].blurred = 1;
    vs_state_encode(&s, NULL, 0, 0, blob);
    CHECK(vs_state_decode(blob, sizeof blob, s.ver, s.stamp, &row) == VS_OK);
    for (int i = 0; i < BAD; i++) {
        vs_state_encode(&bad[i], NULL, 0, 0, blob);
        CHECKF(vs_state_decode(blob, sizeof blob, bad[i].ver, bad[i].stamp, &row) ==
                   VS_CORRUPT,
               "state %d", i);
    }
}

static void resum(unsigned char *p, size_t n) {
    uint32_t crc = vs_crc32c(0, p, 12);
    vs_put_u32(p + 12, vs_crc32c(crc, p + VS_PAGE_HEADER, n - VS_PAGE_HEADER));
}

static void test_a_changed_byte_or_a_slot_too_many_in_a_page_is_refused(void) {
    VsGeometry geo = vs_geometry(200, 8, 2, 16); /* 14 bytes a slot on disk */
    unsigned char data[4096], back[4096], blob[4096];
    uint32_t ver = 0, n = geo.per_page;
    memset(data, 0xFF, sizeof data); /* links: none */
    size_t len = vs_page_encode(&geo, VS_NODE, 3, 8, data, n, blob);
    CHECK(vs_page_decode(&geo, VS_NODE, 3, blob, len, back, &ver) == VS_OK && ver == 8);
    CHECK(memcmp(data, back, (size_t)n * geo.slot_size) == 0);
    CHECK(vs_page_decode(&geo, VS_NODE, 4, blob, len, back, &ver) == VS_CORRUPT);
    CHECK(vs_page_decode(&geo, VS_UPPER, 3, blob, len, back, &ver) == VS_CORRUPT);
    for (size_t i = 0; i < len; i++) {
        blob[i] ^= 4;
        CHECKF(vs_page_decode(&geo, VS_NODE, 3, blob, len, back, &ver) == VS_CORRUPT,
               "byte %zu", i);
        blob[i] ^= 4;
    }
    for (size_t more = 1; more <= 14; more++) { /* the last: a whole slot */
        memset(blob + len, 0, more);
        resum(blob, len + more);
        CHECK(vs_page_decode(&geo, VS_NODE, 3, blob, len + more, back, &ver) ==
              VS_CORRUPT);
    }
}

static void test_links_of_three_bytes_end_before_the_one_that_means_none(void) {
    static const uint32_t links[] = {0, 0xFFFFFE, 0xFFFFFF, 0x1000000, VS_NIL};
    VsGeometry geo = vs_geometry(200, 8, 1, 12);
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        unsigned char slot[12] = {0}, back[4096], blob[64];
        uint32_t ver;
        vs_put_u32(slot + 8, links[i]);
        size_t len = vs_page_encode(&geo, VS_NODE, 0, 1, slot, 1, blob);
        int wide = links[i] >= 0xFFFFFF && links[i] != VS_NIL;
        CHECK(len == VS_PAGE_HEADER + (wide ? 12 : 11));
        CHECK(vs_page_decode(&geo, VS_NODE, 0, blob, len, back, &ver) == VS_OK);
        CHECK(vs_get_u32(back + 8) == links[i]);
    }
}

static void test_an_edit_outside_of_its_slot_is_refused(void) {
    VsGeometry geo[VS_PAGE_KINDS];
    unsigned char bytes[64], four[4] = {0};
    VsEdit e;
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        geo[k] = vs_geometry(1024, 16, 0, 16);
    }
    for (uint32_t offset = 0; offset < 20; offset++) {
        VsBuffer b = {.data = bytes, .cap = sizeof bytes};
        size_t at = 0;
        vs_edit_write(&b, VS_CODE, 1, offset, four, 4);
        CHECK(vs_edit_read(geo, b.data, b.len, &at, &e) ==
              (offset <= 12 ? VS_OK : VS_CORRUPT));
        for (size_t cut = 0; cut < b.len; cut++) {
            at = 0;
            CHECK(vs_edit_read(geo, b.data, cut, &at, &e) == VS_CORRUPT);
        }
    }
}

static void test_a_state_cannot_count_pages_that_neither_disk_nor_log_has(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {5};
    store.n = 0;
    VsGraph *g = open_graph(&a, &store);
    insert_rows(g, &r, 0, ROWS);
    CHECK(vs_flush_pages(g, put_page, &store) == VS_OK);
    CHECK(vs_graph_judge(g) == VS_OK);
    g->state.n_nodes += g->geo[VS_CODE].per_page;
    CHECK(vs_graph_judge(g) == VS_CORRUPT);
    vs_graph_close(g);
}

typedef struct Models {
    const unsigned char *blob;
    size_t len;
} Models;

static VsStatus give_model(void *ctx, uint32_t epoch, const unsigned char **blob,
                           size_t *len) {
    const Models *m = ctx;
    (void)epoch;
    *blob = m->blob;
    *len = m->len;
    return VS_OK;
}

/* Sound by itself, but of another table. */
static void test_a_model_is_the_one_that_the_state_names(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {8};
    Models models = {NULL, 0};
    VsGraph *g[3];
    VsParams params = test_params(DIMS, 4, VS_HNSW);
    VsHooks hooks = {.load_model = give_model, .load_done = no_done, .ctx = &models};
    params.code.codec = VS_CODEC_SQ8;
    for (int i = 0; i < 3; i++) {
        CHECK(vs_graph_open(&a, &params, &hooks, &g[i]) == VS_OK);
        insert_rows(g[i], &r, 0, i < 2 ? 20 : 0);
    }
    CHECK(g[0]->state.epoch == g[1]->state.epoch);
    CHECK(vs_graph_reset(g[2], &g[0]->state) == VS_OK);
    models = (Models){g[1]->model->blob, g[1]->model->len};
    CHECK(vs_model_ready(g[2]) == VS_CORRUPT);
    models.blob = NULL;
    CHECK(vs_model_ready(g[2]) == VS_CORRUPT);
    models = (Models){g[0]->model->blob, g[0]->model->len};
    CHECK(vs_model_ready(g[2]) == VS_OK);
    for (int i = 0; i < 3; i++) {
        vs_graph_close(g[i]);
    }
    CHECK(heap.live == 0);
}

/* ---- each flaw is found ---------------------------------------------------------- */

static VsFlaw flaw_of(VsGraph *g) {
    VsFinding finding = {0};
    CHECK(vs_validate(g, &finding) == VS_OK);
    return finding.flaw;
}

typedef struct Wrong {
    VsFlaw flaw;
    VsPageKind kind;
    uint32_t offset;
    uint32_t value;
    uint32_t len;
} Wrong;

static void test_each_flaw_of_a_graph_is_named(void) {
    Wrong wrong[] = {
        {VS_FLAW_STATUS, VS_NODE, offsetof(VsNode, seq), 100000, 4},
        {VS_FLAW_LEVEL, VS_NODE, offsetof(VsNode, rowid), 987654, 4},
        {VS_FLAW_INDEG, VS_NODE, offsetof(VsNode, indeg), 77, 2},
        {VS_FLAW_INDEG, VS_NODE, offsetof(VsNode, indeg_old), 77, 2},
        {VS_FLAW_ROOT, VS_NODE, offsetof(VsNode, flags), VS_LIVE | VS_IS_ROOT, 1},
        {VS_FLAW_LINK, VS_NODE, (uint32_t)sizeof(VsNode), 42, 4}, /* itself */
        {VS_FLAW_PAGE, VS_NODE, (uint32_t)sizeof(VsNode), 100000, 4},
        {VS_FLAW_COUNT, VS_NODE, offsetof(VsNode, flags), VS_DEAD, 1},
    };
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {6};
    VsGraph *g = open_graph(&a, &store);
    insert_rows(g, &r, 0, ROWS);
    const VsNode *n = NULL;
    CHECK(vs_node(g, 42, &n) == VS_OK && n->level == 0 && n->indeg_old > 0);
    while (vs_level_of(&g->params, wrong[1].value) == 0) {
        wrong[1].value++;
    }
    CHECK(flaw_of(g) == VS_FLAW_NONE);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const Wrong *w = &wrong[i];
        vs_begin(g);
        CHECK(vs_edit(g, w->kind, 42, w->offset, &w->value, w->len) == VS_OK);
        if (w->flaw == VS_FLAW_ROOT) { /* so that the counts agree */
            g->state.n_roots++;
            uint32_t seed = 42;
            CHECK(vs_edit(g, VS_ROOT, g->state.n_roots - 1, 0, &seed, 4) == VS_OK);
        }
        VsFlaw found = flaw_of(g);
        CHECKF(found == w->flaw, "%zu: %s", i, vs_flaw_text(found));
        vs_undo(g);
        CHECK(flaw_of(g) == VS_FLAW_NONE);
    }
    g->state.entry = 42;
    CHECK(flaw_of(g) == VS_FLAW_ENTRY);
    vs_graph_close(g);
}

static void test_a_check_can_be_interrupted_in_each_of_its_passes(void) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {7};
    VsFinding finding;
    VsGraph *g = open_graph(&a, &store);
    insert_rows(g, &r, 0, ROWS);
    int polls = 0;
    for (VsStatus st = VS_INTERRUPT; st == VS_INTERRUPT; polls++) {
        store.polls_left = polls + 1;
        st = vs_validate(g, &finding);
    }
    CHECKF(polls - 1 >= 4, "%d", polls); /* pages, nodes, links, reachability */
    store.polls_left = -1;
    vs_graph_close(g);
}

int main(void) {
    test_pages_and_log_together_are_the_whole_graph();
    test_edits_that_no_log_row_can_hold_are_written_as_pages();
    test_another_history_has_another_stamp();
    test_a_page_gets_the_edits_after_its_version_in_their_order();
    test_going_back_leaves_nothing_of_what_came_after();
    test_a_changed_byte_of_a_state_or_its_edits_is_refused();
    test_a_state_that_cannot_be_is_refused();
    test_a_changed_byte_or_a_slot_too_many_in_a_page_is_refused();
    test_links_of_three_bytes_end_before_the_one_that_means_none();
    test_an_edit_outside_of_its_slot_is_refused();
    test_a_state_cannot_count_pages_that_neither_disk_nor_log_has();
    test_a_model_is_the_one_that_the_state_names();
    test_each_flaw_of_a_graph_is_named();
    test_a_check_can_be_interrupted_in_each_of_its_passes();
    return check_report();
}
