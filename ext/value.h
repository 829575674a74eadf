/*
 * Vectors as SQL values, for the SQL functions and for the virtual table alike.
 */
#ifndef VSX_VALUE_H
#define VSX_VALUE_H

#include <stddef.h>

#include "../csrc/alloc.h"
#include "sqlite_api.h"

/* Subtypes that mark what a value is on its way between functions; sqlite-vec's numbers.
 */
#define VSX_SUBTYPE_FLOAT32 223
#define VSX_SUBTYPE_JSON 74 /* 'J', as SQLite's own JSON functions */

/* SQLite's allocator as the core wants one. */
extern const VsAlloc vsx_alloc;

/* The elements of one vector: an aligned copy from sqlite3_malloc64. */
typedef struct VsxFloats {
    float *v;
    size_t n;
} VsxFloats;

/*
 * Reads a vector: a BLOB of little-endian float32, JSON text, or a value of vec_f32().
 * What it gives is finite and has 1 to VS_MAX_DIMS elements.
 *
 * SQLITE_OK: the caller frees *out. SQLITE_ERROR: *err is a message (sqlite3_mprintf)
 * that says what was expected and what came, to be put behind the name of an argument or
 * a column; NULL is such an error. SQLITE_NOMEM: neither is set.
 */
int vsx_vector_read(sqlite3_value *value, VsxFloats *out, char **err);
/* Frees the elements; leaves an empty vector, which may be freed again. */
void vsx_vector_free(VsxFloats *vec);

#endif
