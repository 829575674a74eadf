/*
 * The scalar reference of the kernels on narrow elements, which every other table must
 * equal: bit for bit for float16 (over 32 partial sums, reduced as float.h says),
 * trivially for whole numbers.
 */
#include <string.h>

#include "csrc/base/bits.h"
#include "csrc/base/bytes.h"
#include "csrc/kernel/lanes.h"
#include "csrc/kernel/narrow.h"

static inline float load(const unsigned char *v, size_t i) {
    uint16_t half;
    memcpy(&half, v + i * sizeof half, sizeof half);
    return vs_f16_value(half);
}

#define F16_KERNEL(NAME, TERM)                                  \
    static float NAME(const void *a, const void *b, size_t n) { \
        float p[LANES] = {0};                                   \
        for (size_t i = 0; i < n; i++) {                        \
            p[i % LANES] += TERM(load(a, i), load(b, i));       \
        }                                                       \
        return reduce(p);                                       \
    }

F16_KERNEL(l2sq_f16, term_l2sq)
F16_KERNEL(dot_f16, term_dot)
F16_KERNEL(l1_f16, term_l1)

static uint32_t l2sq_int8(const void *a, const void *b, size_t n) {
    const int8_t *x = a, *y = b;
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        int d = x[i] - y[i];
        sum += (uint32_t)(d * d);
    }
    return sum;
}

static int32_t dot_int8(const void *a, const void *b, size_t n) {
    const int8_t *x = a, *y = b;
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static uint32_t l1_int8(const void *a, const void *b, size_t n) {
    const int8_t *x = a, *y = b;
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        int d = x[i] - y[i];
        sum += (uint32_t)(d < 0 ? -d : d);
    }
    return sum;
}

#define BIT_KERNEL(NAME, OPERATOR)                                 \
    static uint32_t NAME(const void *a, const void *b, size_t n) { \
        const unsigned char *x = a, *y = b;                        \
        uint32_t sum = 0;                                          \
        for (size_t i = 0; i < n; i += 8) {                        \
            uint64_t u = 0, v = 0;                                 \
            memcpy(&u, x + i, n - i < 8 ? n - i : 8);              \
            memcpy(&v, y + i, n - i < 8 ? n - i : 8);              \
            sum += vs_count_bits(u OPERATOR v);                    \
        }                                                          \
        return sum;                                                \
    }

BIT_KERNEL(differing_bits, ^)
BIT_KERNEL(common_bits, &)

const VsNarrowKernels vs_narrow_scalar = {
    .name = "scalar",
    .l2sq_f16 = l2sq_f16,
    .dot_f16 = dot_f16,
    .l1_f16 = l1_f16,
    .l2sq_int8 = l2sq_int8,
    .l1_int8 = l1_int8,
    .dot_int8 = dot_int8,
    .differing_bits = differing_bits,
    .common_bits = common_bits,
};
