/*
 * Stored vectors, row after row, while a search computes distances.
 *
 * Through a blob handle that moves from row to row: 0.2 us where a statement that is bound,
 * stepped and reset takes 0.4 (SQLite's own work, pages in the processor's cache). A
 * handle holds a read transaction, so vsx_reader_rest comes before the search gives control
 * back to SQLite. Where there is no handle a statement reads the row and says what is wrong
 * with it: rows of a content table, which can be of any form; rows that are not there or
 * have no vector; a SQLite without incremental I/O.
 */
#ifndef VSX_QUERY_READER_H
#define VSX_QUERY_READER_H

#include "ext/table/vector_cache.h"

typedef struct VsxReader {
    sqlite3_blob *blob; /* NULL: no row was read since the last rest */
    void *room;         /* for one vector */
    VsxCache *cache;    /* NULL: none, or not asked for since the last rest */
    int asked;
} VsxReader;

/* The vector of a row, until the next call; *out is NULL if there is no such row or it has
 * no vector. SQLITE_CORRUPT_VTAB if the value is none. */
int vsx_reader_get(VsxReader *r, VsxVector *v, sqlite3_int64 rowid, const void **out);
/* The same of the row of a node, from the cache or into it. *read: SQLite was asked. */
typedef struct VsxNodeRow {
    sqlite3_int64 rowid;
    uint32_t node, seq;
} VsxNodeRow;
int vsx_reader_node(VsxReader *r, VsxVector *v, VsxNodeRow row, const void **out,
                    int *read);
/* The cache that it uses until the next rest; NULL: none. */
VsxCache *vsx_reader_cache(VsxReader *r, VsxVector *v);
void vsx_reader_rest(VsxReader *r);
/* Rests, and frees the room. */
void vsx_reader_free(VsxReader *r);

#endif
