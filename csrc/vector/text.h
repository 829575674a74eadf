/*
 * Vectors as users write them: little-endian float32 blobs and JSON text.
 */
#ifndef VS_VECTOR_TEXT_H
#define VS_VECTOR_TEXT_H

#include <stddef.h>

#include "csrc/base/alloc.h"

#define VS_MAX_DIMS 65536

/* Why a text is no vector; `at` in VsParseError points at the byte. */
typedef enum VsParseFault {
    VS_PARSE_NONE = 0,
    VS_PARSE_NO_BRACKET, /* does not begin with '[' (after white space) */
    VS_PARSE_NUMBER,     /* something that is no JSON number */
    VS_PARSE_NONFINITE,  /* a number that overflows float32 */
    VS_PARSE_SEPARATOR,  /* neither ',' nor ']' after a number */
    VS_PARSE_TRAILING,   /* text after the closing bracket */
    VS_PARSE_EMPTY,      /* no element */
    VS_PARSE_TOO_LONG    /* more than VS_MAX_DIMS elements */
} VsParseFault;

typedef struct VsParseError {
    VsParseFault fault;
    size_t at; /* byte offset in the text */
} VsParseError;

/* Parses JSON text such as "[1, 2.5, -3e2]" (UTF-8, len bytes, no terminator needed) into
 * a new array; the caller frees *out. VS_SYNTAX fills *err; VS_NOMEM leaves it.
 * Locale-independent. */
VsStatus vs_vec_parse(const VsAlloc *a, const char *text, size_t len, float **out,
                      size_t *n, VsParseError *err);

/* Index of the first NaN or infinity, or n if all are finite. v needs no alignment. */
size_t vs_vec_first_nonfinite(const float *v, size_t n);

/* Writes JSON text of v, "[1.5,-2]", shortest form that reads back as the same float32,
 * into a new NUL-terminated string of *len bytes; the caller frees it. NaN is written as
 * null. */
VsStatus vs_vec_format(const VsAlloc *a, const float *v, size_t n, char **out,
                       size_t *len);

/* out = v / |v|; a zero vector stays zero. The norm is taken with the one summation order
 * of float.h, so the result is the same on every machine. out may equal v. */
void vs_vec_normalize(const float *v, float *out, size_t n);

#endif
