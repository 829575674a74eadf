/*
 * Vectors as SQL values, for the SQL functions and for the virtual table alike.
 */
#ifndef VSX_BASE_VALUE_H
#define VSX_BASE_VALUE_H

#include <stddef.h>

#include "csrc/codec/codec.h"
#include "ext/base/sqlite_api.h"

/* Subtypes that mark what a value is on its way between functions: sqlite-vec's numbers,
 * and the next one for float16, which it does not have. */
#define VSX_SUBTYPE_FLOAT32 223
#define VSX_SUBTYPE_BIT 224
#define VSX_SUBTYPE_INT8 225
#define VSX_SUBTYPE_FLOAT16 226
#define VSX_SUBTYPE_JSON 74      /* 'J', as SQLite's own JSON functions */
#define VSX_SUBTYPE_EMBEDDED 128 /* and the number of a model (functions/embed.c) */
#define VSX_MODELS 32            /* that have numbers, on a connection */

/* SQLite's allocator as the core wants one. */
extern const VsAlloc vsx_alloc;

/* One vector: n elements of a type, finite, n from 1 to VS_MAX_DIMS. */
typedef struct VsxVec {
    void *v; /* from sqlite3_malloc64; of an sqlite3_value if borrowed */
    size_t n;
    VsElement element;
    int borrowed;
} VsxVec;

/*
 * The readers below. SQLITE_OK: the caller frees *out. SQLITE_ERROR: *err is a message
 * (sqlite3_mprintf) that says what was expected and what came, to be put behind the name
 * of an argument or a column. SQLITE_NOMEM: neither is set. NULL is an error.
 *
 * A BLOB is of the type that its subtype names, float32 without one. Text is JSON.
 */

/* A vector of any type, as functions take them. The elements of a BLOB are those of the
 * value: valid as long as it is, and read only. */
int vsx_vector_borrow(sqlite3_value *value, VsxVec *out, char **err);
/* The same, in memory of its own. */
int vsx_vector_read(sqlite3_value *value, VsxVec *out, char **err);
/* The argument of vec_f32(), vec_f16(), vec_int8() and vec_bit(): text is parsed, the
 * bytes of a BLOB are taken as they are, but float16 and the others are converted into
 * each other. */
int vsx_vector_make(sqlite3_value *value, VsElement element, VsxVec *out, char **err);
/* A vector that a user gives for a column: of its type and dimensions. float32 and
 * float16 are converted into each other. A BLOB without a subtype that has the size of
 * the column's vectors is one: SQLite drops subtypes when it stores rows in between (an
 * UPDATE of several rows, INSERT ... SELECT), and as float32 it would fit no column of
 * that type. */
int vsx_vector_given(sqlite3_value *value, const VsCodecParams *column, VsxVec *out,
                     char **err);
/* A vector that a table holds: there is no subtype, a BLOB of the right size is of the
 * column's type. */
int vsx_vector_stored(sqlite3_value *value, const VsCodecParams *column, VsxVec *out,
                      char **err);
/* Makes *vec the caller's own, of the column's type and dimensions, in *out. *vec is gone
 * whatever comes of it. */
int vsx_vector_settle(VsxVec *vec, const VsCodecParams *column, VsxVec *out, char **err);
/* Frees the elements; leaves an empty vector, which may be freed again. */
void vsx_vector_free(VsxVec *vec);

/* "INTEGER", "FLOAT", "TEXT", "BLOB", "NULL". */
const char *vsx_type_name(int type);
/* The subtype that marks a type. */
unsigned vsx_subtype(VsElement element);
/* The subtype of a value, 0 for one that only names the model which embedded it. */
unsigned vsx_subtype_of(sqlite3_value *value);

/* 1 and the rowid if a value is one: an integer, or what compares equal to one. */
int vsx_rowid_value(sqlite3_value *value, sqlite3_int64 *out);

#endif
