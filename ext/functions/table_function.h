/*
 * Table-valued functions: what vec_each, vecsql_stats and vecsql_recall have in common.
 *
 * The arguments are hidden columns behind those of the result. xFilter gets the values of
 * those that are given, in the order of the columns; bit i of idxNum says that argument i
 * is among them. Rows come in the order of their rowids.
 */
#ifndef VSX_FUNCTIONS_TABLE_FUNCTION_H
#define VSX_FUNCTIONS_TABLE_FUNCTION_H

#include <stddef.h>

#include "ext/base/sqlite_api.h"

typedef struct VsxTableFunction {
    const char *name;
    const char *declaration; /* CREATE TABLE x(...) */
    int n_results;           /* columns before the arguments */
    int n_args;
    int n_needed; /* arguments that no call may leave out */
    int innocuous;
    double cost; /* of a call; SQLite's unit is about a microsecond */
    sqlite3_int64 rows;
    size_t cursor_size; /* of a struct that begins with sqlite3_vtab_cursor */
} VsxTableFunction;

typedef struct VsxFunctionTable {
    sqlite3_vtab base;
    const VsxTableFunction *function;
    void *data; /* that of the registration */
} VsxFunctionTable;

/* Registers a function; its module has the four methods below. */
int vsx_register_table_function(sqlite3 *db, const VsxTableFunction *function,
                                const sqlite3_module *module, void *data);

int vsx_tf_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                   sqlite3_vtab **out, char **err);
int vsx_tf_best_index(sqlite3_vtab *base, sqlite3_index_info *info);
int vsx_tf_disconnect(sqlite3_vtab *base);
int vsx_tf_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out); /* of zeros */

/* Ends a method with rc and "<function>: <message>"; frees message (sqlite3_mprintf). */
int vsx_tf_fail(sqlite3_vtab_cursor *cursor, int rc, char *message);

#endif
