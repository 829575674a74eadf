/* Pages shared by the graphs of a process; see page_cache.h. */
#include "csrc/store/page_cache.h"

#include <string.h>

#include "csrc/base/assert.h"
#include "csrc/store/page_head.h"

#define LEAST_PLACES 64 /* of the table; a power of two */

struct VsPageCache {
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

static void free_page_cache(VsPageCache *page_cache) {
    VsAlloc a = page_cache->alloc;
    vs_free(&a, page_cache->place);
    vs_free(&a, page_cache);
}

VsPageCache *vs_page_cache_new(const VsAlloc *a, VsLock *lock, const VsGeometry *geo) {
    VsPageCache *page_cache = vs_alloc_zero(a, 1, sizeof *page_cache);
    if (page_cache == NULL) {
        return NULL;
    }
    page_cache->alloc = *a;
    page_cache->lock = lock;
    page_cache->n_places = LEAST_PLACES;
    page_cache->place = vs_alloc_zero(a, LEAST_PLACES, sizeof(VsPageHead *));
    int failed = page_cache->place == NULL;
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        page_cache->geo[kind] = geo[kind];
        page_cache->geo[kind].page_cache = NULL;
        if (geo[kind].arena != NULL) {
            page_cache->geo[kind].arena = vs_arena_new(a, vs_page_memory(&geo[kind]));
            failed |= page_cache->geo[kind].arena == NULL;
        }
    }
    if (failed) {
        vs_page_cache_close(page_cache);
        return NULL;
    }
    return page_cache;
}

void vs_page_cache_close(VsPageCache *page_cache) {
    vs_lock(page_cache->lock);
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        vs_arena_close(page_cache->geo[kind].arena);
    }
    page_cache->closed = 1;
    int gone = page_cache->pages == 0;
    vs_unlock(page_cache->lock);
    if (gone) {
        free_page_cache(page_cache);
    }
}

int vs_page_cache_fits(const VsPageCache *page_cache, const VsGeometry *geo) {
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        const VsGeometry *a = &page_cache->geo[kind], *b = &geo[kind];
        if (a->per_page != b->per_page || a->slot_size != b->slot_size ||
            (a->arena == NULL) != (b->arena == NULL)) {
            return 0;
        }
    }
    return 1;
}

void vs_page_cache_set_users(VsPageCache *page_cache, int n) {
    vs_shared_set(&page_cache->users, n);
}

int vs_page_cache_users(VsPageCache *page_cache) {
    return (int)vs_shared_get(&page_cache->users);
}

size_t vs_page_cache_count(VsPageCache *page_cache) {
    vs_lock(page_cache->lock);
    size_t n = page_cache->listed;
    vs_unlock(page_cache->lock);
    return n;
}

/* ---- the table, under the lock ---------------------------------------------------- */

/* The kind is in it as it is: pages of two kinds are not of one size. */
uint64_t vs_page_cache_key(VsPageKind kind, uint32_t page, uint32_t crc, uint64_t ver) {
    uint64_t h = (page + ((uint64_t)(ver == 0 ? crc : 0) << 32)) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 29 ^ ver) * 0xBF58476D1CE4E5B9u;
    return (h ^ h >> 32) >> 3 | (uint64_t)kind << 61 | 1;
}

static VsPageHead **place_of(VsPageHead **place, size_t n, uint64_t key) {
    return &place[(size_t)(key >> 1) & (n - 1)];
}

static VsPageHead *find(const VsPageCache *page_cache, uint64_t key) {
    VsPageHead *at = *place_of(page_cache->place, page_cache->n_places, key);
    while (at != NULL && at->key != key) {
        at = at->next;
    }
    return at;
}

/* Doubles the table, if there is memory. */
static void grow_table(VsPageCache *page_cache) {
    size_t n = 2 * page_cache->n_places;
    VsPageHead **place = vs_alloc_zero(&page_cache->alloc, n, sizeof(VsPageHead *));
    for (size_t i = 0; place != NULL && i < page_cache->n_places; i++) {
        while (page_cache->place[i] != NULL) {
            VsPageHead *head = page_cache->place[i], **to = place_of(place, n, head->key);
            page_cache->place[i] = head->next;
            head->next = *to;
            *to = head;
        }
    }
    if (place != NULL) {
        vs_free(&page_cache->alloc, page_cache->place);
        page_cache->place = place;
        page_cache->n_places = n;
    }
}

static void list_page(VsPageCache *page_cache, VsPageHead *head, uint64_t key) {
    if (page_cache->listed >= page_cache->n_places) {
        grow_table(page_cache);
    }
    VsPageHead **at = place_of(page_cache->place, page_cache->n_places, key);
    head->key = key;
    head->next = *at;
    *at = head;
    page_cache->listed++;
}

static void unlist_page(VsPageCache *page_cache, const VsPageHead *head) {
    VsPageHead **at = place_of(page_cache->place, page_cache->n_places, head->key);
    while (*at != head) {
        at = &(*at)->next;
    }
    *at = head->next;
    page_cache->listed--;
}

/* ---- pages ----------------------------------------------------------------------- */

void vs_page_cache_expect(VsPageCache *page_cache, VsPageKind kind, uint32_t pages) {
    if (page_cache->geo[kind].arena != NULL) {
        vs_lock(page_cache->lock);
        vs_arena_expect(page_cache->geo[kind].arena, pages);
        vs_unlock(page_cache->lock);
    }
}

unsigned char *vs_page_cache_page(VsPageCache *page_cache, VsPageKind kind) {
    VsChunk *chunk = NULL;
    vs_lock(page_cache->lock);
    void *block = vs_page_block(&page_cache->alloc, &page_cache->geo[kind], &chunk);
    page_cache->pages += block != NULL;
    vs_unlock(page_cache->lock);
    if (block == NULL) {
        return NULL;
    }
    unsigned char *page = vs_page_begin(&page_cache->geo[kind], block, chunk);
    vs_page_head(page)->page_cache = page_cache;
    vs_shared_set(&vs_page_head(page)->holders, 1);
    return page;
}

unsigned char *vs_page_cache_offer(VsPageCache *page_cache, VsPageKind kind, uint64_t key,
                                   unsigned char *page) {
    const VsGeometry *geo = &page_cache->geo[kind];
    vs_lock(page_cache->lock);
    VsPageHead *head = find(page_cache, key);
    if (head == NULL) {
        list_page(page_cache, vs_page_head(page), key);
    } else {
        (void)vs_take(&head->holders, 1);
    }
    vs_unlock(page_cache->lock);
    if (head == NULL) {
        return page;
    }
    unsigned char *there = (unsigned char *)head + VS_PAGE_HEAD;
    int equal = memcmp(there, page, (size_t)geo->per_page * geo->slot_size) == 0;
    vs_page_cache_release(equal ? page : there);
    return equal ? there : page;
}

unsigned char *vs_page_cache_offer_copy(VsPageCache *page_cache, VsPageKind kind,
                                        uint64_t key, const unsigned char *slots,
                                        uint32_t count) {
    unsigned char *page = vs_page_cache_page(page_cache, kind);
    if (page == NULL) {
        return NULL;
    }
    memcpy(page, slots, (size_t)count * page_cache->geo[kind].slot_size);
    return vs_page_cache_offer(page_cache, kind, key, page);
}

void vs_page_cache_hold(unsigned char *page) {
    long long holders = vs_take(&vs_page_head(page)->holders, 1);
    VS_ASSERT(holders > 0);
    (void)holders;
}

void vs_page_cache_release(unsigned char *page) {
    VsPageHead *head = vs_page_head(page);
    VsPageCache *page_cache = head->page_cache;
    long long n = vs_shared_get(&head->holders);
    VS_ASSERT(n > 0);
    while (n > 1) { /* not the last: no lock */
        if (vs_shared_replace(&head->holders, &n, n - 1)) {
            return;
        }
    }
    vs_lock(page_cache->lock);
    if (vs_take(&head->holders, -1) == 1) {
        if (head->key != 0) {
            unlist_page(page_cache, head);
        }
        vs_page_end(&page_cache->alloc, head);
        page_cache->pages--;
    }
    int gone = page_cache->closed && page_cache->pages == 0;
    vs_unlock(page_cache->lock);
    if (gone) {
        free_page_cache(page_cache);
    }
}
