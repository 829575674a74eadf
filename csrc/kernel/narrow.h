/*
 * Kernels on the element types that are narrower than float32.
 *
 * float16 follows the rule of float.h: elements are widened, which is exact, and summed
 * as float32 in that one order. So a float16 kernel gives the bits of the float32 kernel
 * on the widened vectors. The others are sums of whole numbers, exact in any order: up to
 * VS_MAX_DIMS dimensions every one of them fits 32 bits.
 *
 * Pointers need no alignment. n may be 0 (result 0).
 */
#ifndef VS_KERNEL_NARROW_H
#define VS_KERNEL_NARROW_H

#include <stddef.h>
#include <stdint.h>

typedef float (*VsF16Fn)(const void *a, const void *b, size_t n);
typedef uint32_t (*VsCountFn)(const void *a, const void *b, size_t n);

typedef struct VsNarrowKernels {
    const char *name; /* "scalar", "avx2" */
    VsF16Fn l2sq_f16, dot_f16, l1_f16;
    VsCountFn l2sq_int8, l1_int8;
    int32_t (*dot_int8)(const void *a, const void *b, size_t n);
    VsCountFn differing_bits; /* of n bytes: set bits of a ^ b */
    VsCountFn common_bits;    /* set bits of a & b */
} VsNarrowKernels;

extern const VsNarrowKernels vs_narrow_scalar;

/* The best table for this CPU: detected once, constant afterwards, safe from any thread.
 */
const VsNarrowKernels *vs_narrow(void);

/* All tables that this CPU can run, best first, NULL-terminated: for tests. */
const VsNarrowKernels *const *vs_narrow_available(void);

#endif
