/* Risk: a graph reads a page that is not its own, or one that changes or goes away under it;
 * or what is shared is never given back. */
#include <string.h>

#include "disk_fixture.h"

#include "csrc/base/crc32c.h"
#include "csrc/store/page_cache.h"
#include "csrc/graph/snapshot.h"
#include "csrc/base/threads.h"

enum { ROWS = 300, GRAPHS = 3 };

static VsLock lock = VS_LOCK_INIT;
static Store store, other_store;

/* ---- graphs of a file, as connections have them ----------------------------------- */

typedef struct Peers {
    Heap heap, cache_heap;
    VsAlloc alloc, cache_alloc;
    VsState state;
    VsPageCache *page_cache;
    VsGraph *graph[GRAPHS];
} Peers;

static VsGraph *open_graph(const VsAlloc *a, Store *from) {
    VsGraph *g = NULL;
    VsParams params = test_params(DIMS, 4, VS_HNSW);
    VsHooks hooks = {.load = get_page, .load_done = no_done, .ctx = from};
    CHECK(vs_graph_open(a, &params, &hooks, &g) == VS_OK);
    return g;
}

/* Fills a file. */
static VsState write_file(Store *to, uint64_t seed) {
    Heap heap;
    VsAlloc a = heap_alloc(&heap);
    Random r = {seed};
    to->n = 0;
    VsGraph *g = open_graph(&a, to);
    insert_rows(g, &r, 0, ROWS);
    CHECK(vs_flush_pages(g, put_page, to) == VS_OK);
    VsState state = g->state;
    vs_graph_close(g);
    return state;
}

static VsGraph *join(Peers *p, Store *from, const VsState *state) {
    VsGraph *g = open_graph(&p->alloc, from);
    if (p->page_cache == NULL) {
        p->page_cache = vs_page_cache_new(&p->cache_alloc, &lock, g->geo);
        CHECK(p->page_cache != NULL);
        vs_page_cache_set_users(p->page_cache, GRAPHS);
    }
    vs_graph_share(g, p->page_cache);
    CHECK(vs_graph_reset(g, state) == VS_OK);
    return g;
}

static void open_peers(Peers *p) {
    *p = (Peers){.page_cache = NULL};
    p->alloc = heap_alloc(&p->heap);
    p->cache_alloc = heap_alloc(&p->cache_heap);
    p->state = write_file(&store, 1);
    for (int i = 0; i < GRAPHS; i++) {
        p->graph[i] = join(p, &store, &p->state);
    }
}

static void close_peers(Peers *p) {
    for (int i = 0; i < GRAPHS; i++) {
        vs_graph_close(p->graph[i]);
    }
    CHECK(vs_page_cache_count(p->page_cache) == 0);
    vs_page_cache_close(p->page_cache);
    CHECKF(p->heap.live == 0 && p->cache_heap.live == 0, "%ld, %ld", p->heap.live,
           p->cache_heap.live);
}

/* Pages of g in memory that h has too, and in the same place / all that g has. */
static size_t same_pages(const VsGraph *g, const VsGraph *h) {
    size_t n = 0;
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        for (uint32_t i = 0; i < g->table[k].n_leaves * VS_LEAF_PAGES; i++) {
            const unsigned char *page = vs_table_get(&g->table[k], i);
            n += page != NULL && page == vs_table_get(&h->table[k], i);
        }
    }
    return n;
}

static size_t pages_of(const VsGraph *g) {
    return same_pages(g, g);
}

/* ---- one copy ---------------------------------------------------------------------- */

static void test_graphs_of_one_page_cache_hold_each_page_once(void) {
    Peers p;
    open_peers(&p);
    uint64_t want = fingerprint(p.graph[0]);
    long blocks = p.cache_heap.live;
    CHECK(pages_of(p.graph[0]) == store.n &&
          vs_page_cache_count(p.page_cache) == store.n);
    for (int i = 1; i < GRAPHS; i++) {
        CHECK(fingerprint(p.graph[i]) == want);
        CHECK(same_pages(p.graph[i], p.graph[0]) == store.n);
    }
    blocks += VS_PAGE_KINDS; /* an arena keeps an empty chunk ready */
    CHECKF(p.cache_heap.live <= blocks, "%ld of %ld", p.cache_heap.live, blocks);
    close_peers(&p);
}

static void test_pages_stay_for_those_who_hold_them_and_go_with_the_last(void) {
    Peers p;
    open_peers(&p);
    uint64_t want = fingerprint(p.graph[0]);
    CHECK(fingerprint(p.graph[1]) == want);
    vs_graph_close(p.graph[0]);
    CHECK(fingerprint(p.graph[1]) == want && sound(p.graph[1]));
    vs_graph_close(p.graph[1]);
    CHECK(vs_page_cache_count(p.page_cache) == 0);
    CHECK(fingerprint(p.graph[2]) == want);
    p.graph[0] = p.graph[1] = NULL;
    close_peers(&p);
}

static void test_a_page_cache_lives_as_long_as_its_last_page(void) {
    Peers p;
    VsTable table[VS_PAGE_KINDS];
    open_peers(&p);
    (void)fingerprint(p.graph[0]);
    CHECK(vs_tables_clone(p.graph[0], p.graph[0]->table, table) == VS_OK);
    for (int i = 0; i < GRAPHS; i++) {
        vs_graph_close(p.graph[i]);
    }
    vs_page_cache_close(p.page_cache); /* a stream goes on reading */
    CHECK(vs_table_get(&table[VS_NODE], 0) != NULL && p.cache_heap.live > 0);
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        vs_table_clear(&p.alloc, &table[k]);
    }
    CHECK(p.heap.live == 0 && p.cache_heap.live == 0);
}

/* ---- nobody's page changes ---------------------------------------------------------- */

static void test_a_writer_copies_what_others_read(void) {
    Peers p;
    Random r = {5};
    open_peers(&p);
    uint64_t want = fingerprint(p.graph[0]), second = fingerprint(p.graph[1]);
    CHECK(second == want);
    insert_rows(p.graph[1], &r, ROWS, ROWS + 40);
    CHECK(fingerprint(p.graph[1]) != want && sound(p.graph[1]));
    CHECK(fingerprint(p.graph[0]) == want && fingerprint(p.graph[2]) == want);
    vs_begin(p.graph[0]);
    CHECK(vs_delete(p.graph[0], 7) == VS_OK);
    vs_undo(p.graph[0]); /* puts bytes back, in pages of its own */
    CHECK(fingerprint(p.graph[0]) == want && fingerprint(p.graph[2]) == want);
    close_peers(&p);
}

static void test_snapshots_of_one_graph_keep_their_pages_from_the_others(void) {
    Peers p;
    Random r = {6};
    VsHistory history = {.n = 0};
    const unsigned char *edits = NULL;
    size_t n = 0;
    open_peers(&p);
    VsGraph *g = p.graph[0];
    uint64_t want = fingerprint(p.graph[1]);
    CHECK(fingerprint(g) == want);
    vs_history_push(g, &history);
    insert_rows(g, &r, ROWS, ROWS + 20);
    CHECK(vs_flush_log(g, &edits, &n) == VS_OK);
    vs_history_push(g, &history);
    vs_graph_close(p.graph[1]);
    p.graph[1] = NULL;
    CHECK(vs_history_return(g, &history, &p.state));
    CHECK(fingerprint(g) == want && fingerprint(p.graph[2]) == want);
    vs_history_clear(g, &history);
    close_peers(&p);
}

/* ---- the same bytes, or none --------------------------------------------------------- */

static void test_a_page_of_other_bytes_is_never_taken_for_another(void) {
    Peers p;
    open_peers(&p);
    unsigned char *first = vs_page_cache_page(p.page_cache, VS_CODE), *second, *third;
    memset(first, 1, 64);
    CHECK(vs_page_cache_offer(p.page_cache, VS_CODE, 77, first) == first);
    second = vs_page_cache_page(p.page_cache, VS_CODE);
    CHECK(vs_page_cache_offer(p.page_cache, VS_CODE, 77, second) == second &&
          second[0] == 0);
    third = vs_page_cache_offer_copy(p.page_cache, VS_CODE, 77, first, 1);
    CHECK(third != first); /* its first slot only */
    vs_page_release(&p.alloc, third);
    third = vs_page_cache_offer_copy(p.page_cache, VS_CODE, 77, first,
                                     p.graph[0]->geo[VS_CODE].per_page);
    CHECK(third == first);
    vs_page_release(&p.alloc, third);
    vs_page_release(&p.alloc, first);
    vs_page_release(&p.alloc, second);
    close_peers(&p);
}

/* Two files that had one name, one after the other: the same versions, other vectors; with
 * the log, the same keys too. */
static void test_files_with_the_same_keys_do_not_mix(void) {
    Peers p;
    const unsigned char *edits = NULL;
    size_t n = 0;
    open_peers(&p);
    VsState other = write_file(&other_store, 2);
    CHECK(other.ver == p.state.ver && other.n_nodes == p.state.n_nodes);
    VsGraph *h = join(&p, &other_store, &other);
    uint64_t first = fingerprint(p.graph[0]), second = fingerprint(h);
    CHECK(first != second && fingerprint(p.graph[1]) == first);
    for (int i = 0; i < 2; i++) { /* edits of one version on both */
        VsGraph *g = i == 0 ? p.graph[0] : h, *reader;
        Random r = {(uint64_t)i + 10};
        insert_rows(g, &r, ROWS, ROWS + 10);
        CHECK(vs_flush_log(g, &edits, &n) == VS_OK);
        VsState now = i == 0 ? p.state : other;
        reader = join(&p, i == 0 ? &store : &other_store, &now);
        CHECK(vs_overlay_add(reader->overlay, g->state.ver, edits, n) == VS_OK);
        reader->state = g->state;
        for (int k = 0; k < VS_PAGE_KINDS; k++) {
            CHECK(vs_table_reserve(&p.alloc, &reader->table[k], 64) == VS_OK);
        }
        CHECK(fingerprint(reader) == fingerprint(g) && sound(reader));
        if (i == 0) {
            vs_graph_close(p.graph[2]);
            p.graph[2] = reader; /* stays, with its pages */
        } else {
            vs_graph_close(reader);
        }
    }
    vs_graph_close(h);
    close_peers(&p);
}

static void resum(unsigned char *blob, size_t n) {
    uint32_t crc = vs_crc32c(0, blob, 12);
    vs_put_u32(blob + 12, vs_crc32c(crc, blob + VS_PAGE_HEADER, n - VS_PAGE_HEADER));
}

static VsStatus read_all(VsGraph *g) {
    VsStatus first = VS_OK;
    for (size_t i = 0; i < store.n; i++) {
        VsStatus st = vs_page_touch(g, store.page[i].kind, store.page[i].page);
        first = first == VS_OK ? st : first;
    }
    return first;
}

static void test_no_page_comes_on_the_page_cache_before_it_is_verified(void) {
    Peers p;
    open_peers(&p);
    uint64_t want = fingerprint(p.graph[1]); /* keeps the sound pages there */
    for (size_t i = 0; i < store.n; i++) {
        unsigned char sane[2048];
        memcpy(sane, store.page[i].blob, sizeof sane);
        for (int resummed = 0; resummed < 2; resummed++) {
            size_t len = store.page[i].len;
            int links = store.page[i].kind == VS_NODE || store.page[i].kind == VS_UPPER;
            unsigned char *blob = store.page[i].blob;
            if (resummed && !links) {
                continue; /* any code is one */
            }
            memset(blob + len - 2, 0x7E, 2); /* a link beyond the last node */
            if (resummed) {
                resum(blob, len);
            }
            VsGraph *g = join(&p, &store, &p.state);
            CHECKF(read_all(g) == VS_CORRUPT, "page %zu", i);
            CHECK(vs_page_cache_count(p.page_cache) == store.n);
            vs_graph_close(g);
            VsGraph *alone = join(&p, &store, &p.state);
            CHECK(vs_page_touch(alone, store.page[i].kind, store.page[i].page) ==
                  VS_CORRUPT);
            vs_graph_close(alone);
            memcpy(blob, sane, sizeof sane);
        }
    }
    CHECK(fingerprint(p.graph[1]) == want && fingerprint(p.graph[0]) == want);
    CHECK(vs_page_cache_count(p.page_cache) == store.n);
    close_peers(&p);
}

static void test_hostile_pages_are_not_listed_on_an_empty_page_cache_either(void) {
    Peers p;
    open_peers(&p);
    for (size_t i = 0; i < store.n; i++) {
        unsigned char *blob = store.page[i].blob;
        memset(blob + store.page[i].len - 2, 0x7E, 2);
        if (store.page[i].kind != VS_CODE && store.page[i].kind != VS_ROOT) {
            resum(blob, store.page[i].len);
        }
    }
    for (int i = 0; i < GRAPHS; i++) {
        CHECK(read_all(p.graph[i]) == VS_CORRUPT && pages_of(p.graph[i]) == 0);
        CHECKF(vs_page_cache_count(p.page_cache) == 0, "%zu",
               vs_page_cache_count(p.page_cache));
    }
    close_peers(&p);
}

/* ---- the log, and checkpointing ------------------------------------------------------------ */

/* One graph commits through the log; the others replay it. */
static void commit_and_replay(Peers *p, uint64_t seed, int rows, int first) {
    Random r = {seed};
    const unsigned char *edits = NULL;
    size_t n = 0;
    VsGraph *writer = p->graph[0];
    insert_rows(writer, &r, first, first + rows);
    CHECK(vs_flush_log(writer, &edits, &n) == VS_OK);
    for (int i = 1; i < GRAPHS; i++) {
        CHECK(vs_replay(p->graph[i], &writer->state, edits, n) == VS_OK);
    }
}

static void test_those_who_replay_a_log_go_on_sharing(void) {
    Peers p;
    open_peers(&p);
    for (int i = 0; i < GRAPHS; i++) {
        (void)fingerprint(p.graph[i]);
    }
    for (int round = 0; round < 5; round++) {
        commit_and_replay(&p, 40 + (uint64_t)round, 8, ROWS + 8 * round);
        uint64_t want = fingerprint(p.graph[0]);
        for (int i = 1; i < GRAPHS; i++) {
            CHECK(fingerprint(p.graph[i]) == want && sound(p.graph[i]));
        }
        CHECK(same_pages(p.graph[1], p.graph[2]) == pages_of(p.graph[1]));
    }
    VsGraph *late =
        join(&p, &store, &p.graph[0]->state); /* and who reads pages and log */
    vs_graph_close(late);
    close_peers(&p);
}

static void test_after_a_checkpoint_all_share_again(void) {
    Peers p;
    open_peers(&p);
    for (int i = 0; i < GRAPHS; i++) {
        (void)fingerprint(p.graph[i]);
    }
    commit_and_replay(&p, 50, 30, ROWS);
    VsGraph *folder = p.graph[1], *writer = p.graph[0];
    CHECK(same_pages(writer, folder) < pages_of(writer)); /* what it wrote is its own */
    CHECK(vs_flush_pages(folder, put_page, &store) == VS_OK);
    VsGraph *fresh = join(&p, &store, &folder->state);
    uint64_t want = fingerprint(folder);
    CHECK(fingerprint(fresh) == want && same_pages(fresh, folder) == pages_of(folder));
    vs_checkpointed_elsewhere(writer, folder->state.checkpoint_ver);
    writer->state = folder->state;
    CHECK(fingerprint(writer) == want && sound(writer));
    CHECKF(same_pages(writer, folder) == pages_of(writer), "%zu of %zu",
           same_pages(writer, folder), pages_of(writer));
    vs_graph_close(fresh);
    close_peers(&p);
}

static void test_a_replayed_link_that_leads_nowhere_is_refused(void) {
    Peers p;
    unsigned char bytes[64], link[4];
    open_peers(&p);
    VsGraph *g = p.graph[0];
    (void)fingerprint(g);
    (void)fingerprint(p.graph[1]);
    size_t listed = vs_page_cache_count(p.page_cache);
    VsBuffer b = {.data = bytes, .cap = sizeof bytes};
    VsState next = g->state;
    next.ver++;
    vs_put_u32(link, next.n_nodes);
    vs_edit_write(&b, VS_NODE, 3, (uint32_t)sizeof(VsNode), link, 4);
    CHECK(vs_replay(g, &next, b.data, b.len) == VS_CORRUPT);
    CHECK(vs_page_cache_count(p.page_cache) == listed);
    close_peers(&p);
}

/* ---- without memory ------------------------------------------------------------------ */

static void test_without_memory_for_the_page_cache_pages_are_a_graphs_own(void) {
    Peers p;
    open_peers(&p);
    Heap plain;
    VsAlloc a = heap_alloc(&plain);
    VsGraph *g = open_graph(&a, &store);
    CHECK(vs_graph_reset(g, &p.state) == VS_OK);
    uint64_t want = fingerprint(g);
    vs_graph_close(g);
    for (long k = 0; k < 40; k++) {
        p.cache_heap.countdown = k;
        for (int i = 0; i < GRAPHS; i++) {
            CHECK(fingerprint(p.graph[i]) == want);
            CHECK(vs_graph_reset(p.graph[i], &p.state) == VS_OK);
        }
        p.cache_heap.countdown = -1;
        CHECK(vs_page_cache_count(p.page_cache) == 0);
    }
    for (long k = 0; k < 4; k++) {
        p.cache_heap.countdown = k;
        VsPageCache *none = vs_page_cache_new(&p.cache_alloc, &lock, p.graph[0]->geo);
        CHECK(none == NULL);
    }
    p.cache_heap.countdown = -1;
    close_peers(&p);
}

/* ---- threads ------------------------------------------------------------------------- */

enum { WORKERS = 4, TURNS = 3000, KEYS = 40 };

static void *plain_resize(void *ctx, void *ptr, size_t size) {
    (void)ctx;
    return realloc(ptr, size);
}

static void plain_release(void *ctx, void *ptr) {
    (void)ctx;
    free(ptr);
}

typedef struct Crowd {
    VsPageCache *page_cache;
    size_t size; /* of a page */
    VsShared wrong;
} Crowd;

/* Takes, offers, holds and gives back pages of few keys and, for each, of two contents. */
static void jostle(void *ctx, unsigned worker) {
    Crowd *c = ctx;
    Random r = {worker + 1};
    unsigned char *held[16] = {NULL};
    for (int turn = 0; turn < TURNS; turn++) {
        unsigned char **at = &held[random_next(&r) % 16];
        uint64_t what = random_next(&r);
        unsigned key = (unsigned)(what % KEYS);
        unsigned byte = 2 * key + (unsigned)((what >> 40) % 16 / 15);
        if (*at != NULL && what >> 60 < 8) {
            for (size_t i = 1; i < c->size; i += 61) {
                (void)vs_take(&c->wrong, (*at)[i] != (*at)[0]);
            }
            vs_page_hold(*at);
            vs_page_release(NULL, *at);
            vs_page_release(NULL, *at);
            *at = NULL;
        } else if (*at == NULL) {
            unsigned char *page = vs_page_cache_page(c->page_cache, VS_CODE);
            memset(page, (int)byte, c->size);
            *at = vs_page_cache_offer(c->page_cache, VS_CODE,
                                      vs_page_cache_key(VS_CODE, key, 0, 1), page);
            (void)vs_take(&c->wrong, (*at)[0] != byte || (*at)[c->size - 1] != byte);
        }
    }
    for (int i = 0; i < 16; i++) {
        vs_page_release(NULL, held[i]);
    }
}

static void test_threads_find_and_give_back_pages_of_one_page_cache(void) {
    VsAlloc a = {plain_resize, plain_release, NULL};
    VsGraph *g = open_graph(&a, &store);
    const VsGeometry *geo = &g->geo[VS_CODE];
    Crowd c = {.page_cache = vs_page_cache_new(&a, &lock, g->geo),
               .size = (size_t)geo->per_page * geo->slot_size};
    vs_parallel(WORKERS, jostle, &c);
    CHECKF(vs_shared_get(&c.wrong) == 0, "%lld", vs_shared_get(&c.wrong));
    CHECK(vs_page_cache_count(c.page_cache) == 0);
    vs_page_cache_close(c.page_cache);
    vs_graph_close(g);
}

int main(void) {
    test_graphs_of_one_page_cache_hold_each_page_once();
    test_pages_stay_for_those_who_hold_them_and_go_with_the_last();
    test_a_page_cache_lives_as_long_as_its_last_page();
    test_a_writer_copies_what_others_read();
    test_snapshots_of_one_graph_keep_their_pages_from_the_others();
    test_a_page_of_other_bytes_is_never_taken_for_another();
    test_files_with_the_same_keys_do_not_mix();
    test_no_page_comes_on_the_page_cache_before_it_is_verified();
    test_hostile_pages_are_not_listed_on_an_empty_page_cache_either();
    test_those_who_replay_a_log_go_on_sharing();
    test_after_a_checkpoint_all_share_again();
    test_a_replayed_link_that_leads_nowhere_is_refused();
    test_without_memory_for_the_page_cache_pages_are_a_graphs_own();
    test_threads_find_and_give_back_pages_of_one_page_cache();
    return check_report();
}
