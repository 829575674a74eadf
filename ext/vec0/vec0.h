/*
 * The module `vec0`: sqlite-vec's DDL, queries, errors and limits in front of our tables.
 *
 * A vec0 table is one of ours with another declaration: the key comes first (a column
 * `rowid` when none is declared), no column has a type, and a column holds values of the
 * very type that it was declared with. The front checks what sqlite-vec checks, in its
 * words, and hands the rest to the functions that serve `vecsql` tables.
 *
 *     vec0_schema   CREATE VIRTUAL TABLE: its arguments as those of ours
 *     vec0_plan     xBestIndex: which constraints a query may have
 *     vec0_value    vectors
 *     vec0_update   xUpdate and the other values of a row
 *     vec0_distance distances, and the order of equal ones
 *     vec0          vec_version, vec_debug; tables that sqlite-vec made
 *
 * The wording of the messages is sqlite-vec 0.1.9's, spelling included: programs compare
 * them. docs/howto/sqlite-vec.md says where we differ, and why.
 */
#ifndef VSX_VEC0_VEC0_H
#define VSX_VEC0_VEC0_H

#include "ext/table/dialect.h"

/* What a value of a column must be. */
typedef enum VsxStrict {
    VSX_ANY, /* a vector, or a column of a `vecsql` table */
    VSX_TEXT,
    VSX_INTEGER,
    VSX_FLOAT,
    VSX_BLOB,
    VSX_BOOLEAN
} VsxStrict;

#define VSX_VEC0_MAX_K 4096
#define VSX_VEC0_CHUNK 1024 /* rows of a chunk, unless chunk_size= says another */

/* ---- vec0_schema.c -------------------------------------------------------------- */

/* Parses the arguments of CREATE VIRTUAL TABLE (argv[3..]) as vsx_schema_parse does. */
int vsx_vec0_parse(int argc, const char *const *argv, VsxSchema **out, char **err);
/* The statement for sqlite3_declare_vtab; NULL when out of memory. */
char *vsx_vec0_declaration(const VsxSchema *schema, const char *table);

/* ---- vec0_best_index.c ---------------------------------------------------------- */

int vsx_vec0_best_index(sqlite3_vtab *base, sqlite3_index_info *info);
/* The k of a query; SQLITE_ERROR with the message if it is out of bounds. */
int vsx_vec0_k(VsxTable *t, sqlite3_value *value, sqlite3_int64 *k);

/* ---- vec0_update.c -------------------------------------------------------------- */

int vsx_vec0_update(sqlite3_vtab *base, int argc, sqlite3_value **argv,
                    sqlite3_int64 *rowid);
/* The types of metadata and auxiliary columns. */
int vsx_vec0_check_row(VsxTable *t, sqlite3_value **value, int insert);
/* Another row has the key already. */
int vsx_vec0_conflict(VsxTable *t, const VsxColumn *c);
/* An UPDATE changes a TEXT key. */
int vsx_vec0_fixed_key(VsxTable *t);

/* ---- vec0_value.c --------------------------------------------------------------- */

/* The caller frees *out. Any other outcome has its message in the table. */
int vsx_vec0_vector(VsxTable *t, const VsxColumn *c, VsxUse use, sqlite3_value *value,
                    VsxVec *out);

/* ---- vec0_distance.c ------------------------------------------------------------ */

/* The distance that sqlite-vec's functions give of two vectors. In a table it is rounded to
 * float32 (vsx_distance). */
double vsx_vec0_distance(VsMetric metric, VsElement element, const void *a, const void *b,
                         size_t dims);
/* The order of equal distances. */
sqlite3_uint64 vsx_vec0_tie(const VsxTies *ties, sqlite3_int64 rowid);

/* ---- vec0.c --------------------------------------------------------------------- */

extern const VsxDialect vsx_vec0;

/* vec_version and vec_debug. */
int vsx_vec0_functions(sqlite3 *db);
/* SQLITE_ERROR and *err if sqlite-vec made the table. */
int vsx_vec0_refuse(sqlite3 *db, const char *schema, const char *table, char **err);

#endif
