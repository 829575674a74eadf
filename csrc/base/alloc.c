/* Allocator hooks with checked sizes; see alloc.h. */
#include "csrc/base/alloc.h"

#include <stdint.h>
#include <string.h>

void *vs_alloc(const VsAlloc *a, size_t n, size_t size) {
    if (n == 0 || size == 0) {
        n = size =
            1; /* a distinct non-NULL pointer, so that NULL always means no memory */
    }
    if (n > (size_t)PTRDIFF_MAX / size) {
        return NULL;
    }
    return a->resize(a->ctx, NULL, n * size);
}

void *vs_alloc_zero(const VsAlloc *a, size_t n, size_t size) {
    void *ptr = vs_alloc(a, n, size);
    if (ptr != NULL) {
        memset(ptr, 0, n * size);
    }
    return ptr;
}

void vs_free(const VsAlloc *a, void *ptr) {
    a->release(a->ctx, ptr);
}

VsStatus vs_grow(const VsAlloc *a, void **ptr, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) {
        return VS_OK;
    }
    size_t grown = *cap < 8 ? 8 : *cap * 2;
    if (grown < need) {
        grown = need;
    }
    if (grown > (size_t)PTRDIFF_MAX / size) {
        return VS_NOMEM;
    }
    void *moved = a->resize(a->ctx, *ptr, grown * size);
    if (moved == NULL) {
        return VS_NOMEM;
    }
    *ptr = moved;
    *cap = grown;
    return VS_OK;
}
