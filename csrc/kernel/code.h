/*
 * Kernels on the codes of sq8: integers only, so every instruction set gives the same
 * bits.
 *
 * A code has `blocks` blocks of 64 dimensions (the last one filled with zeros) in two
 * planes: first the high nibbles of all blocks, then the low nibbles. Byte j of a block's
 * 32 bytes holds dimension j in its low half and dimension j + 32 in its high half.
 *
 *     plane  high: blocks * 32 bytes | low: blocks * 32 bytes
 *
 * Four-bit navigation reads the first plane only: half the cache lines.
 *
 * Queries have one element a dimension:
 *     full_l2   u8   the code of the query       sum (c - q)^2
 *     full_dot  i16  |q| <= 16639                -(sum c * q + bias)
 *     high_l2   i8   weights                     16 * sum h * (4 h + w) + bias
 *     high_dot  i8   weights                     sum h * w + bias
 * with c the eight bits of a dimension and h the high four, |w| <= 127. out[i] is that for
 * codes[i], converted to float once. With w = 4 - u and bias = sum w^2 high_l2 is
 * sum (8 h + 4 - u)^2: the squares of distances from the middle of what h stands for, in
 * halves. It has to fit 31 bits.
 *
 * Scans look at runs of up to 64 codes that lie one after the other, bit i of `wanted` for
 * code i:
 *     sums_l2   i8   weights                     sum h * (4 h + w)
 *     sums_dot  i8   weights                     sum h * w
 * to sum[i]; sums of others are not set, or to their own where they were computed together
 * with wanted ones. Nothing before the first code or after the last one that is wanted is
 * read. Returned is the least of the sums that were set. The high planes of the codes of `later`
 * come into the cache meanwhile: a few at a time, for memory is asked for no more at once.
 * at_most: the bits of those of 64 sums that are at most `most`.
 *
 * Weights come in the order of dimensions in vs_weights_bytes, the rest zero, and were
 * given to `arrange` once.
 */
#ifndef VS_KERNEL_CODE_H
#define VS_KERNEL_CODE_H

#include <stddef.h>
#include <stdint.h>

#define VS_BLOCK 64u      /* dimensions of a block */
#define VS_BLOCK_BYTES 32 /* its bytes in one plane */
/* Blocks whose dot products fit 32 bits: 4 products of 2 * 255 * 16639 a lane each. */
#define VS_DOT_BLOCKS 32

typedef void (*VsCodeKernel)(const void *query, const unsigned char *const *codes,
                             uint32_t n, size_t blocks, int64_t bias, float *out);

#define VS_RUN 64 /* codes, at the most */
typedef struct VsCodeRun {
    const unsigned char *code;
    uint64_t wanted;
} VsCodeRun;
typedef int32_t (*VsCodeSums)(const int8_t *weights, VsCodeRun run, VsCodeRun later,
                              size_t blocks, int32_t sum[VS_RUN]);

typedef struct VsCodeKernels {
    const char *name;
    VsCodeKernel full_l2, full_dot, high_l2, high_dot;
    void (*arrange)(int8_t *weights, size_t blocks);
    VsCodeSums sums_l2, sums_dot;
    uint64_t (*at_most)(const int32_t sum[VS_RUN], int32_t most);
} VsCodeKernels;

/* Two blocks make a register. */
static inline size_t vs_weights_bytes(size_t blocks) {
    return (blocks + 1) / 2 * 2 * VS_BLOCK;
}

extern const VsCodeKernels vs_code_kernels_scalar;

/* The best table for this CPU, and all that it can run (best first, NULL-terminated). */
const VsCodeKernels *vs_code_kernels(void);
const VsCodeKernels *const *vs_code_kernels_available(void);

#endif
