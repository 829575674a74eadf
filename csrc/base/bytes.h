/*
 * Numbers in bytes: little-endian, at any address. (pages.c refuses to compile elsewhere.)
 */
#ifndef VS_BASE_BYTES_H
#define VS_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline void vs_put_u16(unsigned char *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}

static inline void vs_put_u32(unsigned char *p, uint32_t v) {
    memcpy(p, &v, sizeof v);
}

static inline void vs_put_u64(unsigned char *p, uint64_t v) {
    memcpy(p, &v, sizeof v);
}

static inline uint32_t vs_get_u32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t vs_get_u64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The value of an IEEE 754 binary16; exact. */
static inline float vs_f16_value(uint16_t half) {
    uint32_t size = half & 0x7FFFu, bits;
    if (size < 0x400u) { /* subnormal: a multiple of 2^-24 */
        float small = (float)size * 0x1p-24f;
        return half & 0x8000u ? -small : small;
    }
    bits = (size << 13) + ((size >= 0x7C00u ? 224u : 112u) << 23);
    bits |= (uint32_t)(half & 0x8000u) << 16;
    union {
        uint32_t bits;
        float value;
    } pun = {bits};
    return pun.value;
}

/* A bound of an error in 16 bits: the upper half of a float32, rounded up. */
static inline uint16_t vs_error_pack(float error) {
    union {
        float value;
        uint32_t bits;
    } pun = {error};
    return (uint16_t)((pun.bits >> 16) + ((pun.bits & 0xFFFF) != 0));
}

static inline float vs_error(uint16_t packed) {
    union {
        uint32_t bits;
        float value;
    } pun = {(uint32_t)packed << 16};
    return pun.value;
}

#endif
