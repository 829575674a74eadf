/*
 * Distance kernels on float32 vectors.
 *
 * One summation order. These kernels decide which links a graph gets, and the same
 * statements must give the same file on every machine. So the scalar reference and every
 * SIMD version add in exactly one order and give bit-identical results (compile with
 * -ffp-contract=off; no FMA):
 *
 *     element i is added to partial sum p[i % 32] (four registers of eight lanes), in
 *     order of i; then
 *         s[j] = (p[j] + p[j + 8]) + (p[j + 16] + p[j + 24])    for j = 0..7
 *         t[j] = s[j] + s[j + 4]                                for j = 0..3
 *         result = (t[0] + t[2]) + (t[1] + t[3])
 *
 * Pointers need no alignment. n may be 0 (result 0).
 */
#ifndef VS_KERNEL_FLOAT_H
#define VS_KERNEL_FLOAT_H

#include <stddef.h>
#include <stdint.h>

typedef float (*VsKernelFn)(const float *a, const float *b, size_t n);

/* The same kernel for one query and `count` codes of n elements each: out[i] has the bits
 * of the kernel above for codes[i]. */
typedef void (*VsBatchFn)(const unsigned char *query, const unsigned char *const *codes,
                          uint32_t count, size_t n, float *out);

typedef struct VsKernels {
    const char *name;    /* "scalar", "avx2" */
    VsKernelFn l2sq_f32; /* sum of (a[i] - b[i])^2 */
    VsKernelFn dot_f32;  /* sum of a[i] * b[i] */
    VsKernelFn l1_f32;   /* sum of |a[i] - b[i]| */
    VsBatchFn l2sq_f32_batch;
    VsBatchFn dot_f32_batch;
} VsKernels;

extern const VsKernels vs_kernels_scalar;

/* The best table for this CPU: detected once, constant afterwards, safe from any thread.
 */
const VsKernels *vs_kernels(void);

/* All tables that this CPU can run, best first, NULL-terminated: for tests. */
const VsKernels *const *vs_kernels_available(void);

#endif
