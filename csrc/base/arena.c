/* Chunks and their free places; see arena.h. */
#include "csrc/base/arena.h"

#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define LINE ((size_t)64)
#define LEAST ((size_t)64 << 10)
#define MOST ((size_t)64 << 20)
#define LARGE_PAGE ((size_t)2 << 20)
#define COLLAPSE 25 /* MADV_COLLAPSE; older headers lack it */

/* A sanitizer is to see every page by itself. */
#if defined(__SANITIZE_ADDRESS__)
#define ALONE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALONE 1
#endif
#endif
#ifndef ALONE
#define ALONE 0
#endif

/* A free place holds the next one. */
typedef struct Free {
    struct Free *next;
} Free;

struct VsChunk {
    VsArena *arena;
    VsChunk *next, *previous; /* among those with room */
    Free *free;               /* given back */
    unsigned char *fresh;     /* never taken: from here on */
    size_t n_fresh, used;     /* places */
    size_t bytes;
    uintptr_t asked; /* large pages were asked for up to here */
};

struct VsArena {
    VsAlloc alloc;
    size_t size;     /* of a place */
    size_t bytes;    /* of all chunks */
    VsChunk *room;   /* chunks with free places */
    size_t used;     /* places taken */
    size_t expected; /* that will be taken in all, as far as is known */
    int closed;
};

static size_t up(size_t n, size_t boundary) {
    return (n + boundary - 1) & ~(boundary - 1);
}

VsArena *vs_arena_new(const VsAlloc *a, size_t size) {
    VsArena *arena = vs_alloc_zero(a, 1, sizeof *arena);
    if (arena != NULL) {
        arena->alloc = *a;
        arena->size = up(size, LINE);
    }
    return arena;
}

/* ---- the chunks with room -------------------------------------------------------- */

static void link_chunk(VsChunk *c) {
    VsArena *arena = c->arena;
    c->previous = NULL;
    c->next = arena->room;
    if (c->next != NULL) {
        c->next->previous = c;
    }
    arena->room = c;
}

static void unlink_chunk(VsChunk *c) {
    if (c->previous != NULL) {
        c->previous->next = c->next;
    } else {
        c->arena->room = c->next;
    }
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
}

static size_t chunk_bytes(const VsArena *arena, size_t places) {
    return sizeof(VsChunk) + LINE + places * arena->size;
}

/* Large pages are asked for so that none is resident that holds nothing. An advice:
 * without it everything works as well. */
#if defined(MADV_HUGEPAGE)

static void advise(VsChunk *c, uintptr_t from, int advice) {
    unsigned char *at = c->fresh - ((uintptr_t)c->fresh - from);
    if (from > (uintptr_t)c && from + LARGE_PAGE <= (uintptr_t)c + c->bytes &&
        madvise(at, LARGE_PAGE, advice) != 0 && advice == COLLAPSE) {
        (void)madvise(at, LARGE_PAGE, MADV_HUGEPAGE); /* Linux before 6.1: some day */
    }
}

/* The places up to `last` are taken, those before `first` were. Where more are expected
 * than a large page holds the next one is asked for before it is used. Otherwise the small
 * ones are joined when all are in use, which takes 3 ms: as much as loading their contents. */
static void ask_for_large(VsChunk *c, uintptr_t first, uintptr_t last) {
    const VsArena *arena = c->arena;
    uintptr_t next = last & ~(uintptr_t)(LARGE_PAGE - 1);
    if (next < first) {
        return; /* no boundary between */
    }
    if (next > c->asked) {
        advise(c, next - LARGE_PAGE, COLLAPSE);
    }
    if (arena->expected > arena->used &&
        (arena->expected - arena->used) * arena->size >= LARGE_PAGE) {
        advise(c, next, MADV_DONTNEED); /* small pages that an earlier owner used */
        advise(c, next, MADV_HUGEPAGE);
        c->asked = next + LARGE_PAGE;
    }
}

#else

static void ask_for_large(VsChunk *c, uintptr_t first, uintptr_t last) {
    (void)c;
    (void)first;
    (void)last;
}

#endif

/* How many places the next chunk has: memory that is not used yet costs addresses only. */
static size_t next_places(const VsArena *arena) {
    size_t want = 16 * arena->bytes;
    want = want < LEAST ? LEAST : want > MOST ? MOST : want;
    if (ALONE || want < chunk_bytes(arena, 1)) {
        return 1;
    }
    return (want - chunk_bytes(arena, 0)) / arena->size;
}

/* With a single place if there is no memory for more. */
static VsChunk *new_chunk(VsArena *arena) {
    size_t places = next_places(arena), bytes = chunk_bytes(arena, places);
    size_t boundary = bytes > 4 * LARGE_PAGE ? LARGE_PAGE : LINE;
    bytes += boundary - LINE; /* none of it is touched */
    VsChunk *c = vs_alloc(&arena->alloc, 1, bytes);
    if (c == NULL && places > 1) {
        places = 1;
        boundary = LINE;
        bytes = chunk_bytes(arena, places);
        c = vs_alloc(&arena->alloc, 1, bytes);
    }
    if (c == NULL) {
        return NULL;
    }
    uintptr_t after = (uintptr_t)(c + 1);
    *c = (VsChunk){.arena = arena,
                   .fresh = (unsigned char *)(c + 1) + (up(after, boundary) - after),
                   .n_fresh = places,
                   .bytes = bytes};
    arena->bytes += c->bytes;
    link_chunk(c);
    return c;
}

static void free_chunk(VsChunk *c) {
    VsArena *arena = c->arena;
    unlink_chunk(c);
    arena->bytes -= c->bytes;
    vs_free(&arena->alloc, c);
}

void vs_arena_expect(VsArena *arena, size_t places) {
    arena->expected = places;
}

/* ---- places ---------------------------------------------------------------------- */

void *vs_arena_take(VsArena *arena, VsChunk **chunk) {
    VsChunk *c = arena->room != NULL ? arena->room : new_chunk(arena);
    if (c == NULL) {
        return NULL;
    }
    void *place = c->free;
    if (place != NULL) {
        c->free = c->free->next;
    } else {
        place = c->fresh;
        c->fresh += arena->size;
        c->n_fresh--;
        ask_for_large(c, (uintptr_t)place, (uintptr_t)c->fresh - 1);
    }
    c->used++;
    arena->used++;
    if (c->free == NULL && c->n_fresh == 0) {
        unlink_chunk(c);
    }
    *chunk = c;
    return place;
}

static void free_if_unused(VsArena *arena) {
    if (arena->closed && arena->used == 0) {
        while (arena->room != NULL) {
            free_chunk(arena->room);
        }
        VsAlloc a = arena->alloc;
        vs_free(&a, arena);
    }
}

void vs_arena_give(VsChunk *c, void *place) {
    VsArena *arena = c->arena;
    Free *free = place;
    if (c->free == NULL && c->n_fresh == 0) {
        link_chunk(c);
    }
    free->next = c->free;
    c->free = free;
    c->used--;
    arena->used--;
    if (c->used == 0 && (c->next != NULL || c->previous != NULL)) {
        free_chunk(c);
    }
    free_if_unused(arena);
}

void vs_arena_close(VsArena *arena) {
    if (arena != NULL) {
        arena->closed = 1;
        free_if_unused(arena);
    }
}
