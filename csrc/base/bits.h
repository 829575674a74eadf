/* Bits of a word. */
#ifndef VS_BASE_BITS_H
#define VS_BASE_BITS_H

#include <stdint.h>

/* The lowest one that is set; there is one. */
static inline uint32_t vs_first_bit(uint64_t x) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(x);
#else
    uint32_t at = 0;
    for (; (x & 1) == 0; x >>= 1) {
        at++;
    }
    return at;
#endif
}

/* The highest one. */
static inline uint32_t vs_last_bit(uint64_t x) {
#if defined(__GNUC__)
    return 63 - (uint32_t)__builtin_clzll(x);
#else
    uint32_t at = 0;
    for (; (x >>= 1) != 0;) {
        at++;
    }
    return at;
#endif
}

/* How many are set: pairs, nibbles, bytes added in place (Warren, Hacker's Delight,
 * 5-1). */
static inline uint32_t vs_count_bits(uint64_t x) {
    x -= x >> 1 & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return (uint32_t)(x * UINT64_C(0x0101010101010101) >> 56);
}

#endif
