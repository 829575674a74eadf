/*
 * Element types: what one dimension of a vector is, and the bytes of a vector.
 *
 *     type      bytes a dimension   an element
 *     float32   4                   IEEE 754 binary32, little-endian
 *     float16   2                   IEEE 754 binary16, little-endian
 *     int8      1                   two's complement
 *     bit       1/8                 bit i is bit i % 8 of byte i / 8 (lowest first)
 *
 * A vector is such bytes at any address. The dimensions of a bit vector are a multiple
 * of 8.
 */
#ifndef VS_VECTOR_ELEMENT_H
#define VS_VECTOR_ELEMENT_H

#include <stddef.h>
#include <stdint.h>

typedef enum VsElement { VS_F32 = 0, VS_F16 = 1, VS_INT8 = 2, VS_BIT = 3 } VsElement;

/* Bytes of a vector of n dimensions. */
size_t vs_element_bytes(VsElement element, size_t n);
/* Dimensions of a vector of that many bytes; 0 if no vector has them. */
size_t vs_element_dims(VsElement element, size_t bytes);
/* "float32", "float16", "int8", "bit". */
const char *vs_element_name(VsElement element);

/* Exact: every element of the other types is a float32. A bit gives 0 or 1. */
void vs_element_to_f32(VsElement element, const void *v, float *out, size_t n);

/* Rounds to the nearest float16, ties to even. Returns the index of the first element
 * that leaves float16's range, n if none does. */
size_t vs_f16_from_f32(const float *v, void *out, size_t n);
/* Converts float32 that are whole numbers from -128 to 127; returns the index of the
 * first that is not, n if all are. */
size_t vs_int8_from_f32(const float *v, void *out, size_t n);

/* Index of the first NaN or infinity, n if all are finite. */
size_t vs_element_first_nonfinite(VsElement element, const void *v, size_t n);

#endif
