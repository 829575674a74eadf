/* Views of a frozen graph and loops over them; see readers.h. */
#include "csrc/search/readers.h"

#include <string.h>

#include "csrc/graph/fit.h"
#include "csrc/search/scan.h"
#include "csrc/search/walk.h"

VsStatus vs_load_all(VsGraph *g) {
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        VsPageKind kind = (VsPageKind)k;
        uint32_t used = vs_slots_used(&g->state, kind), per = g->geo[kind].per_page;
        uint32_t n_pages = used / per + (used % per != 0);
        for (uint32_t page = 0; page < n_pages; page++) {
            VS_TRY(vs_page_touch(g, kind, page));
            if (page % 256 == 255 && vs_interrupted(g)) {
                return VS_INTERRUPT;
            }
        }
    }
    return VS_OK;
}

/* ---- what a view has in the place of the owner's hooks -------------------------- */

static void *no_memory(void *ctx, void *ptr, size_t size) {
    (void)ctx;
    (void)ptr;
    (void)size;
    return NULL;
}

static void keep(void *ctx, void *ptr) {
    (void)ctx;
    (void)ptr;
}

static VsStatus load_nothing(void *ctx, VsPageKind kind, uint32_t page,
                             const unsigned char **blob, size_t *len, uint64_t *ver) {
    (void)ctx;
    (void)kind;
    (void)page;
    (void)blob;
    (void)len;
    (void)ver;
    return VS_IO;
}

static void loaded_nothing(void *ctx) {
    (void)ctx;
}

static int stopped(void *ctx) {
    return vs_shared_get(ctx) != 0;
}

/* Makes the views what the graph is now, with room for its walks. */
static VsStatus refresh_views(VsReaders *t, size_t ef) {
    VsStatus st = vs_model_ready(t->graph);
    for (unsigned i = 1; st == VS_OK && i < t->n; i++) {
        VsScratch *scratch = t->view[i].scratch;
        t->view[i] = *t->graph;
        t->view[i].scratch = scratch;
        st = vs_walk_reserve(&t->view[i], ef);
        st = st == VS_OK ? vs_scan_reserve(&t->view[i]) : st;
        st = st == VS_OK
                 ? vs_grow(&t->graph->alloc, (void **)&scratch->roots,
                           &scratch->cap_roots, (size_t)t->graph->state.n_roots + 1, 4)
                 : st;
        t->view[i].alloc = (VsAlloc){no_memory, keep, NULL};
        t->view[i].geo[VS_NODE].arena = t->view[i].geo[VS_CODE].arena = NULL;
        vs_graph_share(&t->view[i], NULL);
        t->view[i].hooks = (VsHooks){.load = load_nothing,
                                     .load_done = loaded_nothing,
                                     .interrupted = stopped,
                                     .ctx = &t->stop};
    }
    return st;
}

VsStatus vs_readers_open(VsGraph *g, unsigned n, VsReaders *t) {
    memset(t, 0, sizeof *t);
    t->graph = g;
    t->n = n < 1 ? 1 : n > VS_MAX_THREADS ? VS_MAX_THREADS : n;
    vs_thread_pool_open(&t->thread_pool, t->n);
    if (t->n == 1) {
        return VS_OK;
    }
    t->view = vs_alloc_zero(&g->alloc, t->n, sizeof *t->view);
    VsStatus st = t->view == NULL ? VS_NOMEM : vs_load_all(g);
    for (unsigned i = 1; st == VS_OK && i < t->n; i++) {
        st = vs_scratch_new(&g->alloc, vs_query_bytes(&g->params.code),
                            &t->view[i].scratch);
    }
    return st;
}

void vs_readers_close(VsReaders *t) {
    for (unsigned i = 1; t->view != NULL && i < t->n; i++) {
        vs_scratch_free(&t->graph->alloc, t->view[i].scratch);
    }
    vs_free(&t->graph->alloc, t->view);
    t->view = NULL;
    vs_thread_pool_close(&t->thread_pool);
}

/* ---- loops ---------------------------------------------------------------------- */

/* Items taken at once: an item takes some 10 to 100 us. */
#define CHUNK 4

static void work(void *ctx, unsigned worker) {
    VsReaders *t = ctx;
    VsGraph *g = worker == 0 ? t->graph : &t->view[worker];
    VsStatus st = VS_OK;
    while (st == VS_OK && vs_shared_get(&t->stop) == 0) {
        size_t from = (size_t)vs_take(&t->next, CHUNK);
        if (from >= t->n_items) {
            break;
        }
        for (size_t i = from; st == VS_OK && i < t->n_items && i < from + CHUNK; i++) {
            st = t->item(t->ctx, g, worker, i);
        }
        if (st == VS_OK && worker == 0 && t->attend != NULL) {
            st = t->attend(t->ctx);
        }
        if (st == VS_OK && worker == 0 && vs_interrupted(g)) {
            st = VS_INTERRUPT;
        }
    }
    if (st != VS_OK) {
        vs_shared_set(&t->stop, 1);
    }
    t->status[worker] = st;
}

VsStatus vs_readers_run(VsReaders *t, size_t n_items, size_t ef, VsItem item, void *ctx) {
    unsigned n = n_items < (size_t)t->n * CHUNK ? 1 : t->n;
    VsStatus st = n > 1 ? refresh_views(t, ef) : VS_OK;
    if (st != VS_OK) {
        return st;
    }
    t->item = item;
    t->ctx = ctx;
    t->n_items = n_items;
    vs_shared_set(&t->next, 0);
    vs_shared_set(&t->stop, 0);
    memset(t->status, 0, sizeof t->status);
    vs_thread_pool_run(&t->thread_pool, n, work, t);
    for (unsigned i = 0; i < n; i++) { /* an interrupt of one stops them all */
        if (st == VS_OK || st == VS_INTERRUPT) {
            st = t->status[i] == VS_OK ? st : t->status[i];
        }
        if (i > 0) {
            t->graph->scratch->evaluations += t->view[i].scratch->evaluations;
            t->view[i].scratch->evaluations = 0;
        }
    }
    return st;
}
