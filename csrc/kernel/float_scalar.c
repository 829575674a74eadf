/*
 * The scalar reference of the distance kernels: the definition that every other table
 * must equal bit for bit. Written over 32 partial sums, so that a compiler may vectorise
 * it as it stands.
 */
#include "csrc/kernel/batch.h"
#include "csrc/kernel/float.h"
#include "csrc/kernel/lanes.h"

#include <string.h>

/* Vectors may sit anywhere inside a page or a blob; memcpy compiles to an unaligned load.
 */
static inline float load(const float *v, size_t i) {
    float x;
    memcpy(&x, (const unsigned char *)v + i * sizeof x, sizeof x);
    return x;
}

/*
 * The tail adds its elements only, where SIMD code adds zeros to the other partial sums.
 * That is the same: a partial sum starts at +0 and no addition makes it -0 (round to
 * nearest gives +0 for x - x and for +0 + -0), so p + 0 has the bits of p.
 */
#define SUM_OVER_LANES(TERM)                                  \
    do {                                                      \
        float p[LANES] = {0};                                 \
        size_t i = 0;                                         \
        for (; i + LANES <= n; i += LANES) {                  \
            for (size_t j = 0; j < LANES; j++) {              \
                p[j] += TERM(load(a, i + j), load(b, i + j)); \
            }                                                 \
        }                                                     \
        for (size_t j = 0; i + j < n; j++) {                  \
            p[j] += TERM(load(a, i + j), load(b, i + j));     \
        }                                                     \
        return reduce(p);                                     \
    } while (0)

static inline float l2sq_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_l2sq);
}

static inline float dot_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_dot);
}

static float l1_f32(const float *a, const float *b, size_t n) {
    SUM_OVER_LANES(term_l1);
}

VS_BATCH(l2sq_f32_batch, l2sq_f32, float, )
VS_BATCH(dot_f32_batch, dot_f32, float, )

const VsKernels vs_kernels_scalar = {"scalar", l2sq_f32,       dot_f32,
                                     l1_f32,   l2sq_f32_batch, dot_f32_batch};
