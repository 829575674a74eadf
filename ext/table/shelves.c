/*
 * The shelves of the process: which graphs share pages (csrc/store/shelf.h).
 *
 * Graphs of one file, with pages of the same form, use one shelf. The file is known by the
 * absolute name that SQLite gives; a database without one (in memory, temporary) has no
 * shelf. Two files that had the name one after the other, two tables of one file: pages are
 * shared if their bytes are the same, so it does not matter who meets on a shelf. It only
 * decides when memory is given back: with the last graph.
 *
 * All of this is per loaded copy of the library and touches no memory of SQLite's: there is
 * nothing to do at sqlite3_shutdown, and the list is empty when the last connection closes
 * (SQLite unloads the library then). A process that forks while another of its threads is
 * in here must not use vecsql in the child, as it must not use SQLite.
 */
#include <stdlib.h>
#include <string.h>

#include "csrc/store/shelf.h"
#include "ext/table/index.h"
#include "ext/table/shelves.h"

static void *resize(void *ctx, void *ptr, size_t size) {
    (void)ctx;
    return realloc(ptr, size);
}

static void release(void *ctx, void *ptr) {
    (void)ctx;
    free(ptr);
}

VsAlloc vsx_shelf_alloc = {resize, release, NULL};

typedef struct Entry Entry;

struct Entry {
    Entry *next;
    VsShelf *shelf;
    int users;
    char file[]; /* its name */
};

static VsLock lock = VS_LOCK_INIT; /* of the list, and of all shelves */
static Entry *entries;

static Entry *find(const char *file, const VsGraph *graph) {
    Entry *e = entries;
    while (e != NULL &&
           (strcmp(e->file, file) != 0 || !vs_shelf_fits(e->shelf, graph->geo))) {
        e = e->next;
    }
    return e;
}

static Entry *new_entry(const char *file, const VsGraph *graph) {
    size_t len = strlen(file) + 1;
    Entry *e = vs_alloc_zero(&vsx_shelf_alloc, 1, sizeof *e + len);
    if (e == NULL) {
        return NULL;
    }
    memcpy(e->file, file, len);
    e->shelf = vs_shelf_new(&vsx_shelf_alloc, &lock, graph->geo);
    if (e->shelf == NULL) {
        vs_free(&vsx_shelf_alloc, e);
        return NULL;
    }
    return e;
}

static void free_entry(Entry *e) {
    if (e != NULL) {
        vs_shelf_close(e->shelf);
        vs_free(&vsx_shelf_alloc, e);
    }
}

void vsx_shelf_join(const VsxIndex *index, VsGraph *graph) {
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
        vs_shelf_set_users(e->shelf, ++e->users);
        vs_graph_share(graph, e->shelf);
    }
    vs_unlock(&lock);
    free_entry(fresh);
}

static void leave(const VsShelf *shelf) {
    vs_lock(&lock);
    Entry **at = &entries, *gone = NULL;
    while ((*at)->shelf != shelf) {
        at = &(*at)->next;
    }
    vs_shelf_set_users((*at)->shelf, --(*at)->users);
    if ((*at)->users == 0) {
        gone = *at;
        *at = gone->next;
    }
    vs_unlock(&lock);
    free_entry(gone);
}

void vsx_shelf_close(VsGraph *graph) {
    const VsShelf *shelf = graph != NULL ? graph->geo[VS_NODE].shelf : NULL;
    vs_graph_close(graph);
    if (shelf != NULL) {
        leave(shelf);
    }
}
