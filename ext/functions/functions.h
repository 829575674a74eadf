/*
 * The SQL functions on vectors, in files by duty:
 *
 *     functions.c            the table of all of them; arguments and results
 *     vector_functions.c     making, describing and calculating with vectors
 *     distance_functions.c   distances
 *     aggregates.c           vec_sum, vec_avg
 *     vec_each.c             the table-valued function vec_each
 *     embed.c                embed: text to vectors by the models of the host program
 *
 * Names, results and messages are sqlite-vec's where it has the function; docs/reference/sql.md
 * lists where they differ. Under its own name (`vec0`) a few do as sqlite-vec does even
 * there.
 */
#ifndef VSX_FUNCTIONS_FUNCTIONS_H
#define VSX_FUNCTIONS_FUNCTIONS_H

#include "ext/base/sqlite_api.h"
#include "ext/base/value.h"
#include "ext/table/index.h"

/* Which of the two entry points a function is for. */
enum { VSX_NATIVE = 1, VSX_VEC0 = 2, VSX_BOTH = 3 };

/* What one implementation does under several names. */
typedef enum VsxOperation {
    VSX_OP_NONE,
    VSX_OP_ADD,
    VSX_OP_SUB,
    VSX_OP_SUM,
    VSX_OP_AVG,
    VSX_OP_METRIC /* and a VsMetric on top */
} VsxOperation;

typedef struct VsxFunction {
    const char *name;
    int entry; /* VSX_NATIVE, VSX_VEC0 or VSX_BOTH */
    int n_args;
    int flags;     /* SQLite's, beyond those that all have */
    int operation; /* VsxOperation, or the element type that a constructor makes */
    void (*call)(sqlite3_context *ctx, int argc, sqlite3_value **argv);
} VsxFunction;

/* Registers the functions of an entry point on a connection, the aggregates and vec_each
 * too. SQLITE_OK, or the code of the first that SQLite refused. */
int vsx_register_functions(sqlite3 *db, int entry);
int vsx_register_aggregates(sqlite3 *db);
int vsx_register_vec_each(sqlite3 *db, int entry);

/* ---- functions.c: arguments and results ----------------------------------------- */

/* A vector argument. */
typedef struct VsxArg {
    VsxVec vec;
    int cached; /* the elements belong to SQLite's cache of constant arguments */
} VsxArg;

const VsxFunction *vsx_function_of(sqlite3_context *ctx);
/* Ends a call with an error. */
void vsx_function_fail(sqlite3_context *ctx, const char *format, ...);
/* Ends a call with what a reader of value.h returned, and frees err. */
void vsx_function_failed(sqlite3_context *ctx, int rc, const char *before, char *err);
/* Reads argument i; 0 after it has set the error. vsx_arg_close is the last thing done
 * with it. */
int vsx_arg_open(sqlite3_context *ctx, sqlite3_value **argv, int i, VsxArg *arg);
void vsx_arg_close(sqlite3_context *ctx, sqlite3_value **argv, int i, VsxArg *arg);
/* Reads arguments 0 and 1, of equal type and dimension. */
int vsx_pair_open(sqlite3_context *ctx, sqlite3_value **argv, VsxArg *a, VsxArg *b);
void vsx_pair_close(sqlite3_context *ctx, sqlite3_value **argv, VsxArg *a, VsxArg *b);

/* Room for a result; NULL after the error has been set. */
void *vsx_result_room(sqlite3_context *ctx, VsElement element, size_t n);
/* Returns v, which SQLite frees, as a vector. */
void vsx_result_vector(sqlite3_context *ctx, void *v, VsElement element, size_t n);
/* Returns floats, which SQLite frees, as a float32 vector unless one has left the range. */
void vsx_result_f32(sqlite3_context *ctx, float *v, size_t n);

/* ---- vector_functions.c, distance_functions.c ------------------------------------ */

void vsx_vec_make(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_to_json(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_to_json_fixed(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_length(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_type(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_arithmetic(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_normalize(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_slice(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_quantize_int8(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_quantize_binary(sqlite3_context *ctx, int argc, sqlite3_value **argv);
void vsx_vec_distance(sqlite3_context *ctx, int argc, sqlite3_value **argv);

/* ---- for the tables of a connection ------------------------------------------------- */

/* vecsql_search, vecsql_stats, embed, vecsql_recall. */
int vsx_register_search(VsxGlobal *global);
int vsx_register_stats(VsxGlobal *global);
int vsx_register_embed(VsxGlobal *global);
int vsx_register_recall(VsxGlobal *global);

/* Recall@10 of 20 rows at the ef_search of a query that names none, by one pass
 * over all rows; -1 if there are none. */
int vsx_recall_estimate(VsxVector *v, double *out);

#endif
