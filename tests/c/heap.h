/* An allocator that counts what is live, and fails on demand. */
#ifndef HEAP_H
#define HEAP_H

#include <stdint.h>
#include <stdlib.h>

#include "csrc/base/alloc.h"

typedef struct Heap {
    long live;      /* blocks not released */
    long countdown; /* fails from when it reaches 0; -1: never */
    size_t largest; /* larger blocks are refused */
} Heap;

static inline void *heap_resize(void *ctx, void *ptr, size_t size) {
    Heap *h = ctx;
    if (h->countdown >= 0 && h->countdown-- == 0) {
        h->countdown = 0; /* and goes on failing */
        return NULL;
    }
    if (size > h->largest) {
        return NULL;
    }
    h->live += ptr == NULL;
    return realloc(ptr, size);
}

static inline void heap_release(void *ctx, void *ptr) {
    Heap *h = ctx;
    h->live -= ptr != NULL;
    free(ptr);
}

static inline VsAlloc heap_alloc(Heap *h) {
    *h = (Heap){.countdown = -1, .largest = SIZE_MAX};
    return (VsAlloc){heap_resize, heap_release, h};
}

#endif
