/*
 * Table-valued functions: one module for vec_each, vecsql_stats and vecsql_recall.
 *
 * The arguments are hidden columns behind those of the result. A call computes its rows, or
 * how many there are, in `filter`; `column` gives their values. Rows come in the order of
 * their rowids.
 */
#ifndef VSX_FUNCTIONS_TABLE_FUNCTION_H
#define VSX_FUNCTIONS_TABLE_FUNCTION_H

#include <stddef.h>

#include "ext/base/sqlite_api.h"

typedef struct VsxFunctionCursor {
    sqlite3_vtab_cursor base;
    size_t at, n; /* this row, of so many */
} VsxFunctionCursor;

typedef struct VsxTableFunction {
    const char *name;
    const char *declaration; /* CREATE TABLE x(...) */
    int n_results;           /* columns before the arguments */
    int n_args;
    int n_needed; /* arguments that no call may leave out */
    int innocuous;
    double cost; /* of a call; SQLite's unit is about a microsecond */
    sqlite3_int64 rows;
    int first_rowid;
    size_t
        cursor_size; /* of a struct that begins with VsxFunctionCursor, at first zeros */
    /* Sets c->n. Bit i of `given`: the call gives argument i; argv has the values of those,
     * in order. */
    int (*filter)(VsxFunctionCursor *c, int given, sqlite3_value **argv);
    int (*column)(VsxFunctionCursor *c, sqlite3_context *ctx, int i);
    void (*clear)(VsxFunctionCursor *c); /* frees what a call has left, maybe nothing */
} VsxTableFunction;

/* `data` is for the methods. */
int vsx_register_table_function(sqlite3 *db, const VsxTableFunction *function,
                                void *data);
void *vsx_tf_data(const VsxFunctionCursor *c);
/* Ends a method with rc and "<function>: <message>"; frees message (sqlite3_mprintf). */
int vsx_tf_fail(VsxFunctionCursor *c, int rc, char *message);

#endif
