/*
 * Risk: an allocation that fails crashes, leaks, or leaves a statement half done.
 *
 *     oom [quick|full|every|once] [case]
 *
 * Every allocation of every case fails once (alone, and with all that follow), on a
 * connection that has used its tables before and on one that has not. After each: the
 * connection still works and holds what the successful statements say (fixture.h), so
 * does a new one, and with both closed no block is left. Where a case has more allocations
 * than POINTS, as many are chosen evenly; `every` takes all, and `once` too, but each fails alone
 * and on a connection that has not used its tables.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/base/alloc.h"
#include "fixture.h"

extern VsAlloc vsx_page_cache_alloc; /* ext/table/page_caches.c */

static struct {
    long countdown; /* -1: none fails */
    int persistent;
    long failed, live, calls;
} heap = {.countdown = -1};

static int heap_fails(void) {
    heap.calls++;
    if (heap.countdown < 0 && !(heap.countdown == -2 && heap.persistent)) {
        return 0;
    }
    if (heap.countdown > 0) {
        heap.countdown--;
        return 0;
    }
    heap.countdown = heap.persistent ? -2 : -1;
    heap.failed++;
    return 1;
}

/* The size in front of each block, in a header that keeps the alignment. */
#define HEADER 16

static void *heap_malloc(int n) {
    char *p = heap_fails() ? NULL : malloc((size_t)n + HEADER);
    if (p == NULL) {
        return NULL;
    }
    memcpy(p, &n, sizeof n);
    heap.live++;
    return p + HEADER;
}

static void heap_free(void *p) {
    if (p != NULL) {
        int n;
        memcpy(&n, (char *)p - HEADER, sizeof n);
        memset(p, 0xDD, (size_t)n); /* whoever still reads it shall notice */
        heap.live--;
        free((char *)p - HEADER);
    }
}

static int heap_size(void *p) {
    int n = 0;
    if (p != NULL) {
        memcpy(&n, (char *)p - HEADER, sizeof n);
    }
    return n;
}

static void *heap_realloc(void *old, int n) {
    char *p = heap_fails() ? NULL : realloc((char *)old - HEADER, (size_t)n + HEADER);
    if (p == NULL) {
        return NULL;
    }
    memcpy(p, &n, sizeof n);
    return p + HEADER;
}

static int heap_round_up(int n) {
    return (n + 7) & ~7;
}

static int heap_init(void *arg) {
    (void)arg;
    return SQLITE_OK;
}

static void heap_shutdown(void *arg) {
    (void)arg;
}

/* The memory of shared pages, which is not SQLite's. */
static void *cache_resize(void *ctx, void *old, size_t n) {
    (void)ctx;
    return old == NULL ? heap_malloc((int)n) : heap_realloc(old, (int)n);
}

static void cache_release(void *ctx, void *p) {
    (void)ctx;
    heap_free(p);
}

static void warm(sqlite3 *db) {
    int rc = SQLITE_OK;
    digest(db, "SELECT id FROM t WHERE embedding MATCH '[3,2,1]' AND k = 4", &rc);
    digest(db, "SELECT id FROM w WHERE other MATCH '[2,1]' AND k = 4", &rc);
    digest(db, "SELECT id FROM f WHERE embedding MATCH '[3,2,1]' AND k = 4", &rc);
    digest(db, "SELECT rowid FROM c WHERE embedding MATCH '[3,2,1]' AND k = 4", &rc);
}

typedef struct Totals {
    long points, failures;
} Totals;

/* One point: allocation number k fails. 0 when the case ended before it. */
static int point(const FsImage *image, const Case *c, int cold, int persistent, long k,
                 Totals *totals) {
    Run run;
    char where[80];
    fs_restore(image);
    long before = heap.live;
    sqlite3 *db = fixture_must_open();
    if (!cold) {
        warm(db);
    }
    heap.failed = 0;
    heap.persistent = persistent;
    heap.countdown = k;
    run_case(db, c, ~0u, &run);
    long failed = heap.failed;
    heap.countdown = -1;
    snprintf(where, sizeof where, "allocation %ld, %s, %s", k, cold ? "cold" : "warm",
             persistent ? "persistent" : "once");
    int bad = judge(where, image, c, &run, db, 0);
    if (heap.live != before) {
        printf("FAILED  %s, case \"%s\": %ld blocks leak\n", where, c->name,
               heap.live - before);
        bad++;
    }
    totals->points += failed > 0;
    totals->failures += bad;
    return failed > 0;
}

/* How many allocations the case makes. */
static long count_calls(const FsImage *image, const Case *c, int cold) {
    Run run;
    fs_restore(image);
    sqlite3 *db = fixture_must_open();
    if (!cold) {
        warm(db);
    }
    heap.calls = 0;
    run_case(db, c, ~0u, &run);
    sqlite3_close(db);
    return heap.calls;
}

#define POINTS_QUICK 16
#define POINTS_FULL 500

int main(int argc, char **argv) {
    int quick = argc > 1 && strcmp(argv[1], "quick") == 0;
    int once = argc > 1 && strcmp(argv[1], "once") == 0;
    int every = once || (argc > 1 && strcmp(argv[1], "every") == 0);
    static const sqlite3_mem_methods methods = {
        heap_malloc,   heap_free, heap_realloc,  heap_size,
        heap_round_up, heap_init, heap_shutdown, NULL};
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    vsx_page_cache_alloc = (VsAlloc){cache_resize, cache_release, NULL};
    fixture_start();
    FsImage image;
    Totals totals = {0, 0};
    fixture_image("delete", &image);
    for (int i = 0; i < n_cases; i++) {
        long points = totals.points, calls = 0;
        if (argc > 2 && strcmp(argv[2], cases[i].name) != 0) {
            continue;
        }
        replay_reset();
        for (int way = once; way < (once ? 2 : 4); way++) {
            calls = count_calls(&image, &cases[i], way & 1);
            long step = every ? 1 : calls / (quick ? POINTS_QUICK : POINTS_FULL) + 1;
            long k = quick ? (i + way) % step : 0;
            while (totals.failures < 20 &&
                   point(&image, &cases[i], way & 1, way >> 1, k, &totals)) {
                k += step;
            }
        }
        printf("%-32s %6ld of %6ld allocations failed, %d ways\n", cases[i].name,
               (totals.points - points) / (once ? 1 : 4), calls, once ? 1 : 4);
    }
    fs_image_free(&image);
    printf("oom: %ld failed allocations, %ld failures\n", totals.points, totals.failures);
    return totals.failures != 0;
}
