/* Open addressing with linear probing, at most half full; see rowmap.h. */
#include "ext/base/rowmap.h"

#include <stdlib.h>
#include <string.h>

#include "csrc/base/assert.h"
#include "csrc/base/hash.h"

struct VsxRowmap {
    VsxRowmapEntry *at;
    size_t cap; /* a power of two, or 0 */
    size_t n;
};

VsxRowmap *vsx_rowmap_new(void) {
    VsxRowmap *map = sqlite3_malloc64(sizeof *map);
    if (map != NULL) {
        memset(map, 0, sizeof *map);
    }
    return map;
}

void vsx_rowmap_free(VsxRowmap *map) {
    if (map != NULL) {
        sqlite3_free(map->at);
        sqlite3_free(map);
    }
}

void vsx_rowmap_clear(VsxRowmap *map) {
    sqlite3_free(map->at);
    memset(map, 0, sizeof *map);
}

size_t vsx_rowmap_count(const VsxRowmap *map) {
    return map->n;
}

static VsxRowmapEntry *place_of(const VsxRowmap *map, sqlite3_int64 rowid) {
    size_t i = (size_t)vs_mix64((uint64_t)rowid) & (map->cap - 1);
    while (map->at[i].used && map->at[i].rowid != rowid) {
        i = (i + 1) & (map->cap - 1);
    }
    return &map->at[i];
}

int vsx_rowmap_reserve(VsxRowmap *map, size_t more) {
    size_t cap = map->cap == 0 ? 16 : map->cap;
    while (cap < 2 * (map->n + more)) {
        cap *= 2;
    }
    if (cap == map->cap) {
        return SQLITE_OK;
    }
    VsxRowmap grown = {sqlite3_malloc64(cap * sizeof *grown.at), cap, 0};
    if (grown.at == NULL) {
        return SQLITE_NOMEM;
    }
    memset(grown.at, 0, cap * sizeof *grown.at);
    for (size_t i = 0; i < map->cap; i++) {
        if (map->at[i].used) {
            vsx_rowmap_put(&grown, map->at[i].rowid, map->at[i].node);
        }
    }
    sqlite3_free(map->at);
    *map = grown;
    return SQLITE_OK;
}

void vsx_rowmap_put(VsxRowmap *map, sqlite3_int64 rowid, uint32_t node) {
    VsxRowmapEntry *place = place_of(map, rowid);
    map->n += !place->used;
    VS_ASSERT(2 * map->n <= map->cap);
    *place = (VsxRowmapEntry){rowid, node, 1};
}

const VsxRowmapEntry *vsx_rowmap_get(const VsxRowmap *map, sqlite3_int64 rowid) {
    if (map->n == 0) {
        return NULL;
    }
    const VsxRowmapEntry *place = place_of(map, rowid);
    return place->used ? place : NULL;
}

static int compare_rowids(const void *a, const void *b) {
    sqlite3_int64 x = ((const VsxRowmapEntry *)a)->rowid,
                  y = ((const VsxRowmapEntry *)b)->rowid;
    return x < y ? -1 : x > y;
}

VsxRowmapEntry *vsx_rowmap_sorted(const VsxRowmap *map) {
    VsxRowmapEntry *all = sqlite3_malloc64((map->n + 1) * sizeof *all);
    if (all == NULL) {
        return NULL;
    }
    size_t n = 0;
    for (size_t i = 0; i < map->cap; i++) {
        if (map->at[i].used) {
            all[n++] = map->at[i];
        }
    }
    qsort(all, n, sizeof *all, compare_rowids);
    return all;
}
