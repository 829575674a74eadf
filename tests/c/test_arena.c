/* Risk: two pages share memory, or memory is lost or given back while a page lies in it. */
#include <stdint.h>
#include <string.h>

#include "csrc/base/arena.h"
#include "check.h"
#include "heap.h"

enum { PLACES = 6000, SIZE = 4033 };

static Heap heap;
static VsAlloc alloc;
static unsigned char *place[PLACES];
static VsChunk *chunk[PLACES];

static void take(VsArena *arena, int i) {
    place[i] = vs_arena_take(arena, &chunk[i]);
    if (place[i] != NULL) {
        memset(place[i], i % 251, SIZE);
    }
}

static int intact(int i) {
    for (int j = 0; j < SIZE; j++) {
        if (place[i][j] != i % 251) {
            return 0;
        }
    }
    return 1;
}

static void give(int i) {
    CHECKF(intact(i), "place %d", i);
    vs_arena_give(chunk[i], place[i]);
}

static void test_places_are_apart_and_on_cache_lines(void) {
    alloc = heap_alloc(&heap);
    VsArena *arena = vs_arena_new(&alloc, SIZE);
    for (int i = 0; i < PLACES; i++) {
        take(arena, i);
        CHECK(place[i] != NULL && (uintptr_t)place[i] % 64 == 0);
    }
    for (int i = 0; i < PLACES; i += 3) { /* and taken again */
        give(i);
    }
    for (int i = 0; i < PLACES; i += 3) {
        take(arena, i);
    }
    for (int i = 0; i < PLACES; i++) {
        give(i);
    }
    vs_arena_close(arena);
    CHECK(heap.live == 0);
}

static void test_memory_that_is_given_back_is_used_again(void) {
    alloc = heap_alloc(&heap);
    VsArena *arena = vs_arena_new(&alloc, SIZE);
    for (int i = 0; i < PLACES; i++) {
        take(arena, i);
    }
    long chunks = heap.live;
    for (int round = 0; round < 5; round++) {
        for (int i = 1; i < PLACES; i += 2) {
            give(i);
        }
        for (int i = 1; i < PLACES; i += 2) {
            take(arena, i);
        }
    }
    CHECKF(heap.live == chunks, "%ld, were %ld", heap.live, chunks);
    for (int i = 0; i < PLACES; i++) {
        give(i);
    }
    CHECKF(heap.live == 2, "%ld", heap.live); /* the arena and one chunk */
    vs_arena_close(arena);
    CHECK(heap.live == 0);
}

/* Large pages are an advice: what was expected, rightly or not, changes no place. */
static void test_any_number_of_places_can_be_expected(void) {
    static const size_t expected[] = {0, 1, PLACES / 2, PLACES, 10 * PLACES, SIZE_MAX};
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        alloc = heap_alloc(&heap);
        VsArena *arena = vs_arena_new(&alloc, SIZE);
        vs_arena_expect(arena, expected[e]);
        for (int i = 0; i < PLACES; i++) {
            take(arena, i);
            CHECK(place[i] != NULL);
        }
        for (int i = 0; i < PLACES; i++) {
            give(i);
        }
        vs_arena_close(arena);
        CHECK(heap.live == 0);
    }
}

static void test_places_outlive_the_arenas_owner(void) {
    alloc = heap_alloc(&heap);
    VsArena *arena = vs_arena_new(&alloc, SIZE);
    for (int i = 0; i < 100; i++) {
        take(arena, i);
    }
    vs_arena_close(arena);
    for (int i = 0; i < 100; i++) {
        CHECK(heap.live > 0);
        give(i);
    }
    CHECK(heap.live == 0);
}

static void test_without_memory_for_a_chunk_places_come_one_by_one(void) {
    alloc = heap_alloc(&heap);
    heap.largest = 2 * SIZE;
    VsArena *arena = vs_arena_new(&alloc, SIZE);
    for (int i = 0; i < 10; i++) {
        take(arena, i);
        CHECK(place[i] != NULL);
    }
    heap.largest = SIZE;
    VsChunk *none;
    CHECK(vs_arena_take(arena, &none) == NULL);
    for (int i = 0; i < 10; i++) {
        give(i);
    }
    CHECKF(heap.live == 2, "%ld", heap.live);
    vs_arena_close(arena);
    CHECK(heap.live == 0);
}

int main(void) {
    test_places_are_apart_and_on_cache_lines();
    test_memory_that_is_given_back_is_used_again();
    test_any_number_of_places_can_be_expected();
    test_places_outlive_the_arenas_owner();
    test_without_memory_for_a_chunk_places_come_one_by_one();
    return check_report();
}
