/*
 * All SQL on shadow tables.
 */
#ifndef VSX_TABLE_SHADOW_H
#define VSX_TABLE_SHADOW_H

#include "ext/table/index.h"
#include "ext/table/statement.h"

int vsx_shadow_create(sqlite3 *db, const char *schema, const char *table,
                      const VsxSchema *def, char **err);
int vsx_shadow_drop(sqlite3 *db, const char *schema, const char *table,
                    const VsxSchema *def);
int vsx_shadow_rename(VsxIndex *index, const char *name);
int vsx_shadow_name(const char *suffix);
/* The name of the first shadow table that does not exist, to be freed; NULL: none. */
int vsx_shadow_missing(const VsxIndex *index, char **out);
/* Writes %_config anew from the definition. */
int vsx_shadow_configure(VsxIndex *index);
/* Makes the file one of `format`, if it is of an older one. */
int vsx_shadow_upgrade(VsxIndex *index, int format);
/* Reads %_config into the definition (parameters as they were resolved at creation). */
int vsx_shadow_config(sqlite3 *db, const char *schema, const char *table, VsxSchema *def,
                      char **err);
/* The row table and the name of its rowid, quoted for SQL. */
char *vsx_rows_name(const char *schema, const char *table, const VsxSchema *def);
const char *vsx_rowid_name(const VsxSchema *def);
/* A prepared statement, made on first use; reset it after use with vsx_reset. */
int vsx_stmt(VsxVector *v, VsxSql which, sqlite3_stmt **out);
int vsx_row_stmt(VsxIndex *index, VsxRowSql which, sqlite3_stmt **out);
/* Executes a statement of a vector column that writes, with ?1 bound to a value. */
int vsx_write_with(VsxVector *v, VsxSql which, sqlite3_int64 value);
void vsx_stmts_free(VsxIndex *index);
/* The rows of the map on disk. */
int vsx_map_count(VsxVector *v, sqlite3_int64 *out);
/* SQL text with the names of the index in place: every "%w" pair is schema, table. */
sqlite3_stmt *vsx_prepare(const VsxIndex *index, int *rc, char *sql);

#endif
