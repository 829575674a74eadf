/* Chunks and their free places; see arena.h. */
#include "arena.h"

#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define LINE 64u
#define LEAST ((size_t)64 << 10)
#define MOST ((size_t)16 << 20)
#define LARGE_PAGE ((size_t)2 << 20)

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
};

struct VsArena {
    VsAlloc alloc;
    size_t size;   /* of a place */
    size_t bytes;  /* of all chunks */
    VsChunk *room; /* chunks with free places */
    size_t used;   /* places taken */
    int closed;
};

static size_t line_up(size_t n) {
    return (n + LINE - 1) & ~(size_t)(LINE - 1);
}

VsArena *vs_arena_new(const VsAlloc *a, size_t size) {
    VsArena *arena = vs_alloc_zero(a, 1, sizeof *arena);
    if (arena != NULL) {
        arena->alloc = *a;
        arena->size = line_up(size);
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

/* Asks for a large page where `end` is in, before the first place of it is used: places
 * are given out one after the other, so all of it will be, whatever is loaded, and only one
 * of an arena is in part unused. (Joining small pages once they are in use costs 3 ms for
 * each large one, which is as much as loading what it holds.) An advice: without it
 * everything works as well. */
static void ask_for_large(const VsChunk *c, uintptr_t end) {
#if defined(MADV_HUGEPAGE)
    uintptr_t from = end & ~(uintptr_t)(LARGE_PAGE - 1);
    unsigned char *at = c->fresh - ((uintptr_t)c->fresh - from);
    if (from > (uintptr_t)c && from + LARGE_PAGE <= (uintptr_t)c + c->bytes) {
        (void)madvise(at, LARGE_PAGE, MADV_HUGEPAGE);
    }
#else
    (void)c;
    (void)end;
#endif
}

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
    size_t places = next_places(arena);
    VsChunk *c = vs_alloc(&arena->alloc, 1, chunk_bytes(arena, places));
    if (c == NULL && places > 1) {
        places = 1;
        c = vs_alloc(&arena->alloc, 1, chunk_bytes(arena, places));
    }
    if (c == NULL) {
        return NULL;
    }
    uintptr_t after = (uintptr_t)(c + 1);
    *c = (VsChunk){.arena = arena,
                   .fresh = (unsigned char *)(c + 1) + (line_up(after) - after),
                   .n_fresh = places,
                   .bytes = chunk_bytes(arena, places)};
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
        uintptr_t last = (uintptr_t)c->fresh - 1;
        if ((last ^ ((uintptr_t)place - 1)) >= LARGE_PAGE) {
            ask_for_large(c, last);
        }
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
