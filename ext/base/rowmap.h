/*
 * A hash map from rowid to node: changes to %_map that are not written yet, and sets of
 * rowids.
 */
#ifndef VSX_BASE_ROWMAP_H
#define VSX_BASE_ROWMAP_H

#include <stddef.h>
#include <stdint.h>

#include "ext/base/sqlite_api.h"

typedef struct VsxRowmap VsxRowmap;

typedef struct VsxRowmapEntry {
    sqlite3_int64 rowid;
    uint32_t node; /* VS_NIL: the rowid has no node (any more) */
    uint32_t used;
} VsxRowmapEntry;

VsxRowmap *vsx_rowmap_new(void);
void vsx_rowmap_free(VsxRowmap *map);
void vsx_rowmap_clear(VsxRowmap *map);
size_t vsx_rowmap_count(const VsxRowmap *map);
/* Room for `more` further rowids, so that vsx_rowmap_put cannot fail. SQLITE_OK or
 * SQLITE_NOMEM. */
int vsx_rowmap_reserve(VsxRowmap *map, size_t more);
void vsx_rowmap_put(VsxRowmap *map, sqlite3_int64 rowid, uint32_t node);
/* NULL if the rowid is not in the map. */
const VsxRowmapEntry *vsx_rowmap_get(const VsxRowmap *map, sqlite3_int64 rowid);
/* All entries in ascending order of rowid, sqlite3_malloc'd; the caller frees. NULL: no
 * memory. */
VsxRowmapEntry *vsx_rowmap_sorted(const VsxRowmap *map);

#endif
