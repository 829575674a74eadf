/*
 * Vectors of rows that searches have read, kept in memory: the option vector_cache of a
 * connection, on by default.
 *
 * What is resident of an index is codes and links. A search reads the rows of its result
 * from SQLite for their distances, some 11 for ten, and they lie at random in the file: that
 * is a third to a half of the time of a statement (docs/reference/benchmarks.md). By default
 * a cache takes what the process's account allows (csrc/base/budget.h), at most a quarter of
 * a heap limit of SQLite, and gives it back with the connection or vector_cache=0.
 *
 * A vector is kept by its node and the node's `seq`. In one history of a table no two
 * insertions have the same seq, also when the table is emptied between them. So the pair
 * names a vector for ever, whatever is deleted, updated, moved or committed by others
 * meanwhile. Five cases are no such history:
 *
 *   - a transaction that may be rolled back: its seqs come again. While the connection has a
 *     write transaction on the database the cache is read, for what it holds is committed,
 *     and not filled;
 *   - a history that is left: the graph starts over (vsx_refresh) or is rebuilt. The cache
 *     is emptied then. A rollback leaves it alone: the cache has nothing younger;
 *   - a table that took the place of another, or a file that was restored: stamps are
 *     hashes of codes, and other vectors can have the same codes. SQLite connects the table
 *     anew after every change of the schema. The cache is emptied then (registry.c);
 *   - ages that begin again when a table is emptied after 2^31 insertions: next_seq has
 *     gone down since the last use. A table that gets there again between two uses has
 *     outrun the log, so that its graph starts over;
 *   - a content table, whose rows can change without telling. Its cache stands for one data
 *     version of the file, which every commit changes, this connection's too, and is emptied
 *     when that is another. It rests while the connection has a write transaction.
 *
 * No vector is kept that was not read through SQLite and accepted. A row table that is
 * written by hand (no defensive mode) is not noticed, as it is not by the codes.
 *
 * Node n has place n modulo their number: while the table fits, each vector has its own;
 * when not, the last one read has it. Places come in leaves that are made when they are
 * needed, so that one search costs memory for what it read. No memory for a vector: it is
 * not kept.
 */
#ifndef VSX_TABLE_VECTOR_CACHE_H
#define VSX_TABLE_VECTOR_CACHE_H

#include "ext/table/index.h"

typedef struct VsxCache VsxCache;

#define VSX_CACHE_AUTO (-1) /* of VsxGlobal.vector_cache */

/* INSERT INTO t(t) VALUES ('vector_cache=n'): up to n MiB for each vector column that this
 * connection searches, from its next search on; 0: none; 'auto': what the account allows. */
int vsx_set_vector_cache(VsxTable *t, const char *text);

/* The cache that the running statement may use, made if there is none; NULL: none. Valid
 * until the statement gives control back to SQLite. */
VsxCache *vsx_cache_of(VsxVector *v);

/* NULL: it is not there. Valid until the next put. */
const void *vsx_cache_get(const VsxCache *c, uint32_t node, uint32_t seq);
void vsx_cache_put(VsxCache *c, uint32_t node, uint32_t seq, const void *vector);
/* Brings what tells where a vector is, or the vector itself, on its way into the processor's
 * cache, if it is there. */
void vsx_cache_prefetch_place(const VsxCache *c, uint32_t node);
void vsx_cache_prefetch(const VsxCache *c, uint32_t node, uint32_t seq);

/* Forgets all vectors. */
void vsx_cache_clear(VsxVector *v);
void vsx_cache_free(VsxVector *v);
/* Bytes of all that it holds. */
sqlite3_int64 vsx_cache_bytes(const VsxVector *v);

#endif
