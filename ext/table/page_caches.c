/*
 * The page caches of the process: which graphs share pages (csrc/store/page_cache.h).
 *
 * Graphs of one file, with pages of the same form, use one page cache. The file is known by the
 * absolute name that SQLite gives; a database without one (in memory, temporary) has no
 * page cache. Two files that had the name one after the other, two tables of one file: pages are
 * shared if their bytes are the same, so it does not matter who meets in a page cache. It only
 * decides when memory is given back: with the last graph.
 *
 * All of this is per loaded copy of the library and touches no memory of SQLite's: there is
 * nothing to do at sqlite3_shutdown, and the list is empty when the last connection closes
 * (SQLite unloads the library then). A process that forks while another of its threads is
 * in here must not use vecsql in the child, as it must not use SQLite.
 */
#include <stdlib.h>
#include <string.h>

#include "csrc/store/page_cache.h"
#include "ext/table/index.h"
#include "ext/table/page_caches.h"

static void *resize(void *ctx, void *ptr, size_t size) {
    (void)ctx;
    return realloc(ptr, size);
}

static void release(void *ctx, void *ptr) {
    (void)ctx;
    free(ptr);
}

VsAlloc vsx_page_cache_alloc = {resize, release, NULL};

typedef struct Entry Entry;

struct Entry {
    Entry *next;
    VsPageCache *page_cache;
    int users;
    char file[]; /* its name */
};

static VsLock lock = VS_LOCK_INIT; /* of the list, and of all page caches */
static Entry *entries;

static Entry *find(const char *file, const VsGraph *graph) {
    Entry *e = entries;
    while (e != NULL && (strcmp(e->file, file) != 0 ||
                         !vs_page_cache_fits(e->page_cache, graph->geo))) {
        e = e->next;
    }
    return e;
}

static Entry *new_entry(const char *file, const VsGraph *graph) {
    size_t len = strlen(file) + 1;
    Entry *e = vs_alloc_zero(&vsx_page_cache_alloc, 1, sizeof *e + len);
    if (e == NULL) {
        return NULL;
    }
    memcpy(e->file, file, len);
    e->page_cache = vs_page_cache_new(&vsx_page_cache_alloc, &lock, graph->geo);
    if (e->page_cache == NULL) {
        vs_free(&vsx_page_cache_alloc, e);
        return NULL;
    }
    return e;
}

static void free_entry(Entry *e) {
    if (e != NULL) {
        vs_page_cache_close(e->page_cache);
        vs_free(&vsx_page_cache_alloc, e);
    }
}

void vsx_page_cache_join(const VsxIndex *index, VsGraph *graph) {
    const char *file = sqlite3_db_filename(index->global->db, index->schema);
    if (file == NULL || *file == '\0') {
        return;
    }
    Entry *fresh =
        new_entry(file, graph); /* before the lock, which it takes when it goes */
    vs_lock(&lock);
    Entry *e = find(file, graph);
    if (e == NULL && fresh != NULL) {
        e = fresh;
        fresh = NULL;
        e->next = entries;
        entries = e;
    }
    if (e != NULL) {
        vs_page_cache_set_users(e->page_cache, ++e->users);
        vs_graph_share(graph, e->page_cache);
    }
    vs_unlock(&lock);
    free_entry(fresh);
}

static void leave(const VsPageCache *page_cache) {
    vs_lock(&lock);
    Entry **at = &entries, *gone = NULL;
    while ((*at)->page_cache != page_cache) {
        at = &(*at)->next;
    }
    vs_page_cache_set_users((*at)->page_cache, --(*at)->users);
    if ((*at)->users == 0) {
        gone = *at;
        *at = gone->next;
    }
    vs_unlock(&lock);
    free_entry(gone);
}

void vsx_page_cache_close(VsGraph *graph) {
    const VsPageCache *page_cache = graph != NULL ? graph->geo[VS_NODE].page_cache : NULL;
    vs_graph_close(graph);
    if (page_cache != NULL) {
        leave(page_cache);
    }
}
