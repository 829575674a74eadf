/*
 * Allocator hooks: csrc never calls libc's malloc.
 *
 * The owner of an index passes a VsAlloc (ext: sqlite3_malloc64, so that SQLite's soft
 * heap limit and memory accounting hold; tests: a counting allocator that fails on
 * demand). Every allocation of the core goes through these three functions, so that each
 * one can be made to fail in a test.
 */
#ifndef VS_BASE_ALLOC_H
#define VS_BASE_ALLOC_H

#include <stddef.h>

#include "csrc/base/status.h"

typedef struct VsAlloc {
    void *(*resize)(void *ctx, void *ptr,
                    size_t size);          /* realloc: ptr may be NULL; size > 0 */
    void (*release)(void *ctx, void *ptr); /* free: ptr may be NULL */
    void *ctx;
} VsAlloc;

/* n * size bytes, uninitialised; NULL when out of memory or when the product overflows.
 */
void *vs_alloc(const VsAlloc *a, size_t n, size_t size);
/* The same, zeroed. */
void *vs_alloc_zero(const VsAlloc *a, size_t n, size_t size);
void vs_free(const VsAlloc *a, void *ptr);

/* Grows *ptr (an array of *cap elements of `size` bytes) to hold at least `need`, at
 * least doubling; contents are kept. On VS_NOMEM nothing changes. */
VsStatus vs_grow(const VsAlloc *a, void **ptr, size_t *cap, size_t need, size_t size);

#endif
