/*
 * The rows that an index is stored in: those of the log, the pages, the map and the model.
 * What they mean, and when they are read and written, is in txn.c.
 */
#ifndef VSX_TXN_STORED_H
#define VSX_TXN_STORED_H

#include "csrc/graph/log.h"
#include "ext/table/index.h"

/* The newest log row, or the first state where nothing was ever written. *mark: it is a mark;
 * that of this column's edits gives the state that they were made on. 0: it is none. */
int vsx_newest_row(VsxVector *v, VsStateRow *out, sqlite3_int64 *mark);
/* (ver, stamp) of the newest log row; ver -1 if there is none. */
int vsx_newest_key(VsxVector *v, sqlite3_int64 *ver, sqlite3_int64 *stamp);
/* A copy of the edits of the newest log row with them; nothing if it has none. */
int vsx_newest_edits(VsxVector *v, VsBuffer *out);
/* Whether the newest log row is the mark of this column's edits: then they stand. */
int vsx_edits_stand(VsxVector *v, int *out);
/* Whether the log holds our (ver, stamp): then the rows after it lead to the present. */
int vsx_find_stamp(VsxVector *v, int *found);
/* Steps through the log rows above `after`; `use` gets the decoded row and its edits. */
typedef VsStatus (*VsxLogReader)(VsxVector *v, const VsStateRow *row,
                                 const unsigned char *edits, size_t len, int *stop);
int vsx_read_log(VsxVector *v, uint64_t after, VsxLogReader use, int *stop);

/* The mark of a log row that the edits to come will take the place of. */
int vsx_write_mark(VsxVector *v, sqlite3_int64 ver, sqlite3_int64 mark);
int vsx_remove_mark(VsxVector *v);
/* The row of the state as it is; that of the edits takes the place of their mark. */
int vsx_write_log_row(VsxVector *v, const unsigned char *edits, size_t len,
                      int has_edits);
/* For vs_flush_pages; ctx is the VsxVector. */
VsStatus vsx_write_page(void *ctx, VsPageKind kind, uint32_t page, uint64_t ver,
                        const unsigned char *blob, size_t len);
/* The changes of the map that wait. */
int vsx_write_map(VsxVector *v);
/* A model that was fitted since the last flush; the one before is not needed again. */
int vsx_write_model(VsxVector *v);
/* Deletes log rows that the pages include, but the last few, and never the state row. A
 * mark may stand above it. */
int vsx_trim_log(VsxVector *v);

#endif
