/* Pages shared by the graphs of a process; see shelf.h. */
#include "csrc/store/shelf.h"

#include <string.h>

#include "csrc/store/page_head.h"

#define LEAST_PLACES 64 /* of the table; a power of two */

struct VsShelf {
    VsAlloc alloc;
    VsLock *lock;
    VsGeometry geo[VS_PAGE_KINDS];
    VsPageHead **place; /* chained; may be longer than it should without memory */
    size_t n_places;
    size_t listed; /* pages in the table */
    size_t pages;  /* all that were taken and not given back */
    VsShared users;
    int closed;
};

/* ---- open and close -------------------------------------------------------------- */

static void free_shelf(VsShelf *shelf) {
    VsAlloc a = shelf->alloc;
    vs_free(&a, shelf->place);
    vs_free(&a, shelf);
}

VsShelf *vs_shelf_new(const VsAlloc *a, VsLock *lock, const VsGeometry *geo) {
    VsShelf *shelf = vs_alloc_zero(a, 1, sizeof *shelf);
    if (shelf == NULL) {
        return NULL;
    }
    shelf->alloc = *a;
    shelf->lock = lock;
    shelf->n_places = LEAST_PLACES;
    shelf->place = vs_alloc_zero(a, LEAST_PLACES, sizeof(VsPageHead *));
    int failed = shelf->place == NULL;
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        shelf->geo[kind] = geo[kind];
        shelf->geo[kind].shelf = NULL;
        if (geo[kind].arena != NULL) {
            shelf->geo[kind].arena = vs_arena_new(a, vs_page_memory(&geo[kind]));
            failed |= shelf->geo[kind].arena == NULL;
        }
    }
    if (failed) {
        vs_shelf_close(shelf);
        return NULL;
    }
    return shelf;
}

void vs_shelf_close(VsShelf *shelf) {
    vs_lock(shelf->lock);
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        vs_arena_close(shelf->geo[kind].arena);
    }
    shelf->closed = 1;
    int gone = shelf->pages == 0;
    vs_unlock(shelf->lock);
    if (gone) {
        free_shelf(shelf);
    }
}

int vs_shelf_fits(const VsShelf *shelf, const VsGeometry *geo) {
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        const VsGeometry *a = &shelf->geo[kind], *b = &geo[kind];
        if (a->per_page != b->per_page || a->slot_size != b->slot_size ||
            (a->arena == NULL) != (b->arena == NULL)) {
            return 0;
        }
    }
    return 1;
}

void vs_shelf_set_users(VsShelf *shelf, int n) {
    vs_shared_set(&shelf->users, n);
}

int vs_shelf_users(VsShelf *shelf) {
    return (int)vs_shared_get(&shelf->users);
}

size_t vs_shelf_count(VsShelf *shelf) {
    vs_lock(shelf->lock);
    size_t n = shelf->listed;
    vs_unlock(shelf->lock);
    return n;
}

/* ---- the table, under the lock ---------------------------------------------------- */

/* The kind is in it as it is: pages of two kinds are not of one size. */
uint64_t vs_shelf_key(VsPageKind kind, uint32_t page, uint32_t crc, uint64_t ver) {
    uint64_t h = (page + ((uint64_t)(ver == 0 ? crc : 0) << 32)) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 29 ^ ver) * 0xBF58476D1CE4E5B9u;
    return (h ^ h >> 32) >> 3 | (uint64_t)kind << 61 | 1;
}

static VsPageHead **place_of(VsPageHead **place, size_t n, uint64_t key) {
    return &place[(size_t)(key >> 1) & (n - 1)];
}

static VsPageHead *find(const VsShelf *shelf, uint64_t key) {
    VsPageHead *at = *place_of(shelf->place, shelf->n_places, key);
    while (at != NULL && at->key != key) {
        at = at->next;
    }
    return at;
}

/* Doubles the table, if there is memory. */
static void grow_table(VsShelf *shelf) {
    size_t n = 2 * shelf->n_places;
    VsPageHead **place = vs_alloc_zero(&shelf->alloc, n, sizeof(VsPageHead *));
    for (size_t i = 0; place != NULL && i < shelf->n_places; i++) {
        while (shelf->place[i] != NULL) {
            VsPageHead *head = shelf->place[i], **to = place_of(place, n, head->key);
            shelf->place[i] = head->next;
            head->next = *to;
            *to = head;
        }
    }
    if (place != NULL) {
        vs_free(&shelf->alloc, shelf->place);
        shelf->place = place;
        shelf->n_places = n;
    }
}

static void list_page(VsShelf *shelf, VsPageHead *head, uint64_t key) {
    if (shelf->listed >= shelf->n_places) {
        grow_table(shelf);
    }
    VsPageHead **at = place_of(shelf->place, shelf->n_places, key);
    head->key = key;
    head->next = *at;
    *at = head;
    shelf->listed++;
}

static void unlist_page(VsShelf *shelf, const VsPageHead *head) {
    VsPageHead **at = place_of(shelf->place, shelf->n_places, head->key);
    while (*at != head) {
        at = &(*at)->next;
    }
    *at = head->next;
    shelf->listed--;
}

/* ---- pages ----------------------------------------------------------------------- */

void vs_shelf_expect(VsShelf *shelf, VsPageKind kind, uint32_t pages) {
    if (shelf->geo[kind].arena != NULL) {
        vs_lock(shelf->lock);
        vs_arena_expect(shelf->geo[kind].arena, pages);
        vs_unlock(shelf->lock);
    }
}

unsigned char *vs_shelf_page(VsShelf *shelf, VsPageKind kind) {
    VsChunk *chunk = NULL;
    vs_lock(shelf->lock);
    void *block = vs_page_block(&shelf->alloc, &shelf->geo[kind], &chunk);
    shelf->pages += block != NULL;
    vs_unlock(shelf->lock);
    if (block == NULL) {
        return NULL;
    }
    unsigned char *page = vs_page_begin(&shelf->geo[kind], block, chunk);
    vs_page_head(page)->shelf = shelf;
    vs_shared_set(&vs_page_head(page)->holders, 1);
    return page;
}

unsigned char *vs_shelf_offer(VsShelf *shelf, VsPageKind kind, uint64_t key,
                              unsigned char *page) {
    const VsGeometry *geo = &shelf->geo[kind];
    vs_lock(shelf->lock);
    VsPageHead *head = find(shelf, key);
    if (head == NULL) {
        list_page(shelf, vs_page_head(page), key);
    } else {
        (void)vs_take(&head->holders, 1);
    }
    vs_unlock(shelf->lock);
    if (head == NULL) {
        return page;
    }
    unsigned char *there = (unsigned char *)head + VS_PAGE_HEAD;
    int equal = memcmp(there, page, (size_t)geo->per_page * geo->slot_size) == 0;
    vs_shelf_release(equal ? page : there);
    return equal ? there : page;
}

unsigned char *vs_shelf_offer_copy(VsShelf *shelf, VsPageKind kind, uint64_t key,
                                   const unsigned char *slots, uint32_t count) {
    unsigned char *page = vs_shelf_page(shelf, kind);
    if (page == NULL) {
        return NULL;
    }
    memcpy(page, slots, (size_t)count * shelf->geo[kind].slot_size);
    return vs_shelf_offer(shelf, kind, key, page);
}

void vs_shelf_hold(unsigned char *page) {
    (void)vs_take(&vs_page_head(page)->holders, 1);
}

void vs_shelf_release(unsigned char *page) {
    VsPageHead *head = vs_page_head(page);
    VsShelf *shelf = head->shelf;
    long long n = vs_shared_get(&head->holders);
    while (n > 1) { /* not the last: no lock */
        if (vs_shared_replace(&head->holders, &n, n - 1)) {
            return;
        }
    }
    vs_lock(shelf->lock);
    if (vs_take(&head->holders, -1) == 1) {
        if (head->key != 0) {
            unlist_page(shelf, head);
        }
        vs_page_end(&shelf->alloc, head);
        shelf->pages--;
    }
    int gone = shelf->closed && shelf->pages == 0;
    vs_unlock(shelf->lock);
    if (gone) {
        free_shelf(shelf);
    }
}
