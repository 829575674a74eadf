/* The kernels on codes in plain C: the definition that the others must equal; see
 * code.h. */
#include "csrc/kernel/code_batch.h"

/* The eight bits of dimension j of a block (j < 32: low halves of the bytes). */
static inline int full_at(const unsigned char *high, const unsigned char *low, size_t j) {
    return j < VS_BLOCK_BYTES
               ? (high[j] & 15) << 4 | (low[j] & 15)
               : (high[j - VS_BLOCK_BYTES] & 0xF0) | low[j - VS_BLOCK_BYTES] >> 4;
}

static inline int high_at(const unsigned char *high, size_t j) {
    return j < VS_BLOCK_BYTES ? high[j] & 15 : high[j - VS_BLOCK_BYTES] >> 4;
}

static inline uint32_t full_l2(const uint8_t *q, const unsigned char *code,
                               size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    uint32_t sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        for (size_t j = 0; j < VS_BLOCK; j++) {
            int d = full_at(code + b * VS_BLOCK_BYTES, low + b * VS_BLOCK_BYTES, j) -
                    q[b * VS_BLOCK + j];
            sum += (uint32_t)(d * d);
        }
    }
    return sum;
}

static inline int64_t full_dot(const int16_t *q, const unsigned char *code,
                               size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    int64_t sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        for (size_t j = 0; j < VS_BLOCK; j++) {
            sum += full_at(code + b * VS_BLOCK_BYTES, low + b * VS_BLOCK_BYTES, j) *
                   q[b * VS_BLOCK + j];
        }
    }
    return sum;
}

static inline int32_t high_weighed(const int8_t *w, const unsigned char *code,
                                   size_t blocks, int squares) {
    int32_t sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        for (size_t j = 0; j < VS_BLOCK; j++) {
            int h = high_at(code + b * VS_BLOCK_BYTES, j);
            sum += h * (squares * 4 * h + w[b * VS_BLOCK + j]);
        }
    }
    return sum;
}

static inline int32_t weighed_l2(const int8_t *w, const unsigned char *code,
                                 size_t blocks) {
    return high_weighed(w, code, blocks, 1);
}

static inline int32_t weighed_dot(const int8_t *w, const unsigned char *code,
                                  size_t blocks) {
    return high_weighed(w, code, blocks, 0);
}

static void keep_order(int8_t *weights, size_t blocks) {
    (void)weights;
    (void)blocks;
}

static uint64_t at_most(const int32_t *sum, int32_t most) {
    uint64_t bits = 0;
    for (uint32_t i = 0; i < VS_RUN; i++) {
        bits |= (uint64_t)(sum[i] <= most) << i;
    }
    return bits;
}

VS_CODE_BATCHES()
VS_CODE_SUMS(sums_l2, weighed_l2)
VS_CODE_SUMS(sums_dot, weighed_dot)

const VsCodeKernels vs_code_kernels_scalar = {
    "scalar",   batch_full_l2, batch_full_dot, batch_high_l2, batch_high_dot,
    keep_order, sums_l2,       sums_dot,       at_most};
