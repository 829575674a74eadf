/*
 * Coherence with the database.
 */
#ifndef VSX_TXN_TXN_H
#define VSX_TXN_TXN_H

#include "ext/table/index.h"

/* Makes the graph of a vector column what the database says at this moment. Called at the
 * start of every statement that reads or writes it. */
int vsx_refresh(VsxVector *v);
/* Before the first edit after vsx_refresh: writes the row by which the edits are known to
 * stand. Does nothing if it is there. */
int vsx_mark(VsxVector *v);
/* Writes everything that was not flushed. `commit`: the pages may be checkpointed too. */
int vsx_flush(VsxIndex *index, int commit);
/* Drops everything that was not flushed: the transaction is gone. Cannot fail. */
void vsx_discard(VsxIndex *index);
/* Brings the pages on disk up to date with the log. */
int vsx_checkpoint(VsxVector *v);
/* Forgets what is known of the database: the next refresh reads everything anew. */
void vsx_unknown(VsxVector *v);
/* A graph of its own, as the database holds it now, for checking what is on disk. */
int vsx_open_fresh(VsxVector *v, VsGraph **out);
/* Something is half done: nothing is read or committed while the newest log row is that
 * one (ver -1: there is none). */
void vsx_poison(VsxVector *v, int rc, sqlite3_int64 ver, sqlite3_int64 stamp);
/* The node that a row of the map (NULL: there is none) and the changes that wait give for
 * a rowid, VS_NIL if none. SQLITE_CORRUPT_VTAB if that node is not the row's. */
int vsx_map_entry(VsxVector *v, sqlite3_int64 rowid, sqlite3_stmt *row, int column,
                  uint32_t *node);
/* Node of a rowid in *node, VS_NIL if it has none. */
int vsx_node_of(VsxVector *v, sqlite3_int64 rowid, uint32_t *node);
/* The shadow tables cannot be read: no matter, if a rollback took the table back with all
 * that was in it. */
int vsx_excuse(VsxIndex *index, int rc);

#endif
