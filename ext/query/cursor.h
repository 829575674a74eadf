/*
 * The cursor of a table: the methods of SQLite, and the plan that they follow.
 */
#ifndef VSX_QUERY_CURSOR_H
#define VSX_QUERY_CURSOR_H

#include "ext/table/index.h"

/* best_index.c */
int vsx_best_index(sqlite3_vtab *base, sqlite3_index_info *info);
/* cursor.c */
int vsx_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out);
int vsx_close(sqlite3_vtab_cursor *base);
int vsx_filter(sqlite3_vtab_cursor *base, int num, const char *plan, int argc,
               sqlite3_value **argv);
int vsx_next(sqlite3_vtab_cursor *base);
int vsx_eof(sqlite3_vtab_cursor *base);
int vsx_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int i);
int vsx_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid);
int vsx_register_match(sqlite3 *db);
int vsx_find_function(sqlite3_vtab *base, int argc, const char *name,
                      void (**function)(sqlite3_context *, int, sqlite3_value **),
                      void **arg);

#endif
