/*
 * One point against many that are stored by columns: columns[j * k + c] is coordinate j
 * of point c. k-means assigns with it, product quantisation makes its tables with it.
 *
 * Lanes are points and each lane adds in order of j, so every instruction set gives the
 * same bits (float.h says why that matters).
 */
#ifndef VS_KERNEL_COLUMNS_H
#define VS_KERNEL_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

/* out[c] = sum over j of (x[j] - columns[j * k + c])^2. k: a multiple of 8. */
typedef void (*VsColumnsFn)(const float *x, const float *columns, size_t d, size_t k,
                            float *out);

typedef struct VsColumns {
    const char *name;
    VsColumnsFn l2sq;
    VsColumnsFn dot; /* sum over j of x[j] * columns[j * k + c] */
    /* The c of the least l2sq, the first of equal ones. */
    uint32_t (*nearest)(const float *x, const float *columns, size_t d, size_t k);
} VsColumns;

extern const VsColumns vs_columns_scalar;

/* The best for this CPU: constant once detected. */
const VsColumns *vs_columns(void);

#endif
