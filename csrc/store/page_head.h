/*
 * What lies in the 64 bytes before a page's first slot: for pages.c and page_cache.c alone.
 *
 * A page of a connection (page cache NULL) is counted in `refs`, by one thread at a time. A page
 * of a page cache (page_cache.h) is counted in `holders`, by any thread, and nothing else of it
 * changes once others can find it, but the note.
 */
#ifndef VS_STORE_PAGE_HEAD_H
#define VS_STORE_PAGE_HEAD_H

#include "csrc/store/pages.h"
#include "csrc/base/threads.h"

typedef struct VsPageHead VsPageHead;

struct VsPageHead {
    void *block;    /* what the allocator or the arena gave */
    VsChunk *chunk; /* NULL: the allocator */
    uint64_t mark;
    uint32_t refs;
    uint32_t note;
    VsPageCache *page_cache;
    VsShared holders;
    uint64_t key;     /* under which a page cache lists it; 0: it does not */
    VsPageHead *next; /* in the same place of the page cache's table */
};

#define VS_PAGE_HEAD 64 /* keeps the slots on a cache line boundary */

static inline VsPageHead *vs_page_head(unsigned char *page) {
    return (VsPageHead *)(void *)(page - VS_PAGE_HEAD);
}

/* Memory for a page, and the page in it: zeroed, with one reference. */
void *vs_page_block(const VsAlloc *a, const VsGeometry *geo, VsChunk **chunk);
unsigned char *vs_page_begin(const VsGeometry *geo, void *block, VsChunk *chunk);
void vs_page_end(const VsAlloc *a, const VsPageHead *head);

#endif
