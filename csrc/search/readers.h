/*
 * A reader pool: several threads that read one graph while nobody writes it.
 *
 * Each worker but the first has a view: a copy of the VsGraph struct with a scratch of its
 * own, an allocator that always fails and hooks that load nothing, so that nothing of the
 * owner is touched outside the owner's thread. All pages are in memory before the threads
 * start, and the memory of their walks is reserved. Worker 0 is the calling thread and
 * works on the graph itself: it polls for interrupts, and the others stop when it does.
 */
#ifndef VS_SEARCH_READERS_H
#define VS_SEARCH_READERS_H

#include "csrc/graph/graph.h"
#include "csrc/base/threads.h"

/* One item of a loop, on the graph or a view of it. */
typedef VsStatus (*VsItem)(void *ctx, VsGraph *g, unsigned worker, size_t item);

typedef struct VsReaders {
    VsGraph *graph;
    VsGraph *view; /* of workers 1..n-1, at view[worker] */
    unsigned n;    /* workers, at least 1 */
    VsThreadPool thread_pool;
    VsShared next, stop;
    VsStatus status[VS_MAX_THREADS];
    VsItem item;
    /* Work for the caller's thread alone, done between two items of its own; may be NULL.
     * It is called with ctx, and not again at the end. */
    VsStatus (*attend)(void *ctx);
    void *ctx;
    size_t n_items;
} VsReaders;

/* Loads every page of the graph. VS_INTERRUPT, and what loading can fail with. */
VsStatus vs_load_all(VsGraph *g);

/* A reader pool of n threads; with more than one it loads every page. *t is to be closed even
 * when this fails. */
VsStatus vs_readers_open(VsGraph *g, unsigned n, VsReaders *t);
void vs_readers_close(VsReaders *t);

/* item(ctx, graph, worker, i) for each i of 0..n_items-1, in any order and on any worker;
 * walks of a pool up to `ef`. The graph may change between two runs, not during one.
 * Returns the first failure that it sees; the items that were begun are finished. */
VsStatus vs_readers_run(VsReaders *t, size_t n_items, size_t ef, VsItem item, void *ctx);

#endif
