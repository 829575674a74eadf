/* The kernels on codes with NEON, which every AArch64 has; see code.h. A block's
 * 32 bytes of a plane are two registers. */
#include "csrc/kernel/code_batch.h"
#include "csrc/base/cpu.h"

#if VS_AARCH64

#include <arm_neon.h>

extern const VsCodeKernels vs_code_kernels_neon;

/* Dimensions 0..15 of a half block, and those 32 further on. */
static inline uint8x16_t full_first(uint8x16_t high, uint8x16_t low) {
    return vsliq_n_u8(low, high, 4); /* high's low nibble over low's low nibble */
}

static inline uint8x16_t full_second(uint8x16_t high, uint8x16_t low) {
    return vsriq_n_u8(high, low, 4);
}

static inline uint32x4_t add_squares(uint32x4_t sum, uint8x16_t a, uint8x16_t b) {
    uint8x16_t d = vabdq_u8(a, b);
    sum = vpadalq_u16(sum, vmull_u8(vget_low_u8(d), vget_low_u8(d)));
    return vpadalq_u16(sum, vmull_u8(vget_high_u8(d), vget_high_u8(d)));
}

static inline uint32_t full_l2(const uint8_t *q, const unsigned char *code,
                               size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    uint32x4_t sum0 = vdupq_n_u32(0), sum1 = sum0;
    for (size_t i = 0; i < 2 * blocks; i++) {
        const uint8_t *at = q + (i / 2) * VS_BLOCK + (i % 2) * 16;
        uint8x16_t h = vld1q_u8(code + 16 * i), l = vld1q_u8(low + 16 * i);
        sum0 = add_squares(sum0, full_first(h, l), vld1q_u8(at));
        sum1 = add_squares(sum1, full_second(h, l), vld1q_u8(at + 32));
    }
    return vaddvq_u32(vaddq_u32(sum0, sum1));
}

static inline int32x4_t add_products(int32x4_t sum, uint8x16_t c, const int16_t *q) {
    int16x8_t first = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(c)));
    int16x8_t second = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(c)));
    int16x8_t q0 = vld1q_s16(q), q1 = vld1q_s16(q + 8);
    sum = vmlal_s16(sum, vget_low_s16(first), vget_low_s16(q0));
    sum = vmlal_s16(sum, vget_high_s16(first), vget_high_s16(q0));
    sum = vmlal_s16(sum, vget_low_s16(second), vget_low_s16(q1));
    return vmlal_s16(sum, vget_high_s16(second), vget_high_s16(q1));
}

/* Four lanes hold half the blocks that AVX2's eight do. */
static inline int64_t full_dot(const int16_t *q, const unsigned char *code,
                               size_t blocks) {
    const unsigned char *low = code + blocks * VS_BLOCK_BYTES;
    int64_t total = 0;
    for (size_t i = 0; i < 2 * blocks;) {
        size_t end = i + VS_DOT_BLOCKS < 2 * blocks ? i + VS_DOT_BLOCKS : 2 * blocks;
        int32x4_t sum = vdupq_n_s32(0);
        for (; i < end; i++) {
            const int16_t *at = q + (i / 2) * VS_BLOCK + (i % 2) * 16;
            uint8x16_t h = vld1q_u8(code + 16 * i), l = vld1q_u8(low + 16 * i);
            sum = add_products(sum, full_first(h, l), at);
            sum = add_products(sum, full_second(h, l), at + 32);
        }
        total += vaddlvq_s32(sum);
    }
    return total;
}

static inline int32x4_t add_small_products(int32x4_t sum, uint8x16_t h, int8x16_t q) {
    int8x16_t n = vreinterpretq_s8_u8(h);
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(n), vget_low_s8(q)));
    return vpadalq_s16(sum, vmull_s8(vget_high_s8(n), vget_high_s8(q)));
}

/* 15 * 15 fits a byte, a pair of such squares or of products with a weight 16 bits. */
static inline int32x4_t add_weighed(int32x4_t sum, uint8x16_t h, int8x16_t w,
                                    int squares) {
    if (squares) {
        uint16x8_t square = vpaddlq_u8(vmulq_u8(h, h));
        sum = vpadalq_s16(sum, vreinterpretq_s16_u16(vshlq_n_u16(square, 2)));
    }
    return add_small_products(sum, h, w);
}

static inline int32_t high_weighed(const int8_t *w, const unsigned char *code,
                                   size_t blocks, int squares) {
    const uint8x16_t nibble = vdupq_n_u8(15);
    int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0;
    for (size_t i = 0; i < 2 * blocks; i++) {
        const int8_t *at = w + (i / 2) * VS_BLOCK + (i % 2) * 16;
        uint8x16_t h = vld1q_u8(code + 16 * i);
        sum0 = add_weighed(sum0, vandq_u8(h, nibble), vld1q_s8(at), squares);
        sum1 = add_weighed(sum1, vshrq_n_u8(h, 4), vld1q_s8(at + 32), squares);
    }
    return vaddvq_s32(vaddq_s32(sum0, sum1));
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

const VsCodeKernels vs_code_kernels_neon = {"neon",        batch_full_l2,  batch_full_dot,
                                            batch_high_l2, batch_high_dot, keep_order,
                                            sums_l2,       sums_dot,       at_most};

#endif
