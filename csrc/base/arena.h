/*
 * Memory for the pages of a graph: places of one size, cut from chunks.
 *
 * A walk reads codes and lists all over the pages. In chunks that are much larger than a
 * page they come to lie in large pages of the system (2 MiB, where it has them), so that
 * finding their addresses costs fewer look-ups. Chunks grow with what is in use, from
 * 64 KiB to 64 MiB, and come from VsAlloc; those of 8 MiB and more begin where a large page
 * does. A large page is asked for when its memory is used up, or is going to be, so no more
 * memory is resident than without.
 *
 * A chunk knows its free places. One that is empty goes back as soon as another has room.
 * Places may outlive the arena's owner: the last one that is given back after vs_arena_close
 * frees the arena.
 */
#ifndef VS_BASE_ARENA_H
#define VS_BASE_ARENA_H

#include "csrc/base/alloc.h"

typedef struct VsArena VsArena;
typedef struct VsChunk VsChunk;

/* Places of `size` bytes, each on a cache line boundary. NULL: out of memory. */
VsArena *vs_arena_new(const VsAlloc *a, size_t size);
void vs_arena_close(VsArena *arena);

/* How many places will be taken in all: 0, as at first, if that is not known. */
void vs_arena_expect(VsArena *arena, size_t places);

/* A place and the chunk that it is to be given back to; NULL: out of memory. */
void *vs_arena_take(VsArena *arena, VsChunk **chunk);
void vs_arena_give(VsChunk *chunk, void *place);

#endif
