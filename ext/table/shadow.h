/*
 * All SQL on shadow tables.
 */
#ifndef VSX_TABLE_SHADOW_H
#define VSX_TABLE_SHADOW_H

#include "ext/table/index.h"

/* Keeps a hostile schema from putting a virtual table in the place of another one. */
#ifdef SQLITE_PREPARE_NO_VTAB
#define VSX_NO_VTAB SQLITE_PREPARE_NO_VTAB
#else
#define VSX_NO_VTAB 0x04
#endif

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
/* Binds ?1 and steps: SQLITE_ROW, SQLITE_DONE, or an error. */
int vsx_step_with(sqlite3_stmt *stmt, sqlite3_int64 value);
/* The authorizer of a program may answer SQLITE_IGNORE: then a column reads as NULL, a
 * SELECT gives no rows and a statement does nothing. Whoever goes by what is not there has
 * to know. SQLITE_AUTH if a column of a statement that was stepped is not what it reads;
 * each of the first n must be a column with a declared type. */
int vsx_seen(sqlite3_stmt *stmt, int n, int rc);
/* Executes a statement that writes, with its parameters bound, and clears them. After an
 * error `rc` it only resets and clears, and returns that. */
int vsx_write(sqlite3_stmt *stmt);
/* The same of a statement of a vector column, with ?1 bound to a value. */
int vsx_write_with(VsxVector *v, VsxSql which, sqlite3_int64 value);
int vsx_write_after(sqlite3_stmt *stmt, int rc);
/* Resets; returns rc if that is an error, else what the statement's last step failed
 * with. */
int vsx_reset(sqlite3_stmt *stmt, int rc);
void vsx_stmts_free(VsxIndex *index);
int vsx_exec(sqlite3 *db, const char *format, ...);
/* The number that a prepared statement gives in the first column of its first row, 0 if it
 * gives no row; resets it. After an error `rc` it only returns that. */
int vsx_number(sqlite3_stmt *stmt, int rc, sqlite3_int64 *out);
/* The number, or the text (NULL without a row), that SQL gives. Both free `sql`. */
int vsx_ask_number(sqlite3 *db, char *sql, sqlite3_int64 *out);
int vsx_ask_text(sqlite3 *db, char *sql, char **out);
/* The rows of the map on disk. */
int vsx_map_count(VsxVector *v, sqlite3_int64 *out);
/* SQL text with the names of the index in place: every "%w" pair is schema, table. */
sqlite3_stmt *vsx_prepare(const VsxIndex *index, int *rc, char *sql);

#endif
