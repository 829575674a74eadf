/*
 * Running statements: SQL text, and what prepared statements give or write.
 */
#ifndef VSX_TABLE_STATEMENT_H
#define VSX_TABLE_STATEMENT_H

#include "ext/base/sqlite_api.h"

/* Keeps a hostile schema from putting a virtual table in the place of another one. */
#ifdef SQLITE_PREPARE_NO_VTAB
#define VSX_NO_VTAB SQLITE_PREPARE_NO_VTAB
#else
#define VSX_NO_VTAB 0x04
#endif

/* Executes text, one statement after another. One that an authorizer makes do nothing is an
 * error. */
int vsx_exec(sqlite3 *db, const char *format, ...);
/* The number that a prepared statement gives in the first column of its first row, 0 if it
 * gives no row; resets it. After an error `rc` it only returns that. */
int vsx_number(sqlite3_stmt *stmt, int rc, sqlite3_int64 *out);
/* The number, or the text (NULL without a row), that SQL gives. Both free `sql`. */
int vsx_ask_number(sqlite3 *db, char *sql, sqlite3_int64 *out);
int vsx_ask_text(sqlite3 *db, char *sql, char **out);
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
int vsx_write_after(sqlite3_stmt *stmt, int rc);
/* Resets; returns rc if that is an error, else what the statement's last step failed
 * with. */
int vsx_reset(sqlite3_stmt *stmt, int rc);

#endif
