/*
 * CRC-32C: slicing by eight bytes (Kounavis and Berry, 2005), or the CPU's own
 * instruction (SSE4.2) where there is one.
 */
#include "csrc/base/crc32c.h"

#include <string.h>

#include "csrc/base/cpu.h"

/*
 * The tables. crc_table[k][i] is the CRC of byte i followed by k zero bytes. A CRC is
 * linear over GF(2), so a row follows from its entries for the eight single bits, which
 * are what stands here; the compiler spells out the rest, and no table needs to be built,
 * or guarded, at run time.
 */
#define BIT(i, b, x) ((((i) >> (b)) & 1u) ? (x) : 0u)
#define ENTRY(i, b0, b1, b2, b3, b4, b5, b6, b7)                                     \
    (BIT(i, 0, b0) ^ BIT(i, 1, b1) ^ BIT(i, 2, b2) ^ BIT(i, 3, b3) ^ BIT(i, 4, b4) ^ \
     BIT(i, 5, b5) ^ BIT(i, 6, b6) ^ BIT(i, 7, b7))
/* clang-format off */
/* No __VA_ARGS__: MSVC's traditional preprocessor hands it on as one argument. */
#define X4(i, b0, b1, b2, b3, b4, b5, b6, b7) \
    ENTRY((i) + 0u, b0, b1, b2, b3, b4, b5, b6, b7), \
    ENTRY((i) + 1u, b0, b1, b2, b3, b4, b5, b6, b7), \
    ENTRY((i) + 2u, b0, b1, b2, b3, b4, b5, b6, b7), \
    ENTRY((i) + 3u, b0, b1, b2, b3, b4, b5, b6, b7)
#define X16(i, b0, b1, b2, b3, b4, b5, b6, b7) \
    X4((i) + 0u, b0, b1, b2, b3, b4, b5, b6, b7), \
    X4((i) + 4u, b0, b1, b2, b3, b4, b5, b6, b7), \
    X4((i) + 8u, b0, b1, b2, b3, b4, b5, b6, b7), \
    X4((i) + 12u, b0, b1, b2, b3, b4, b5, b6, b7)
#define X64(i, b0, b1, b2, b3, b4, b5, b6, b7) \
    X16((i) + 0u, b0, b1, b2, b3, b4, b5, b6, b7), \
    X16((i) + 16u, b0, b1, b2, b3, b4, b5, b6, b7), \
    X16((i) + 32u, b0, b1, b2, b3, b4, b5, b6, b7), \
    X16((i) + 48u, b0, b1, b2, b3, b4, b5, b6, b7)
#define TABLE(b0, b1, b2, b3, b4, b5, b6, b7) \
    {X64(0u, b0, b1, b2, b3, b4, b5, b6, b7), \
     X64(64u, b0, b1, b2, b3, b4, b5, b6, b7), \
     X64(128u, b0, b1, b2, b3, b4, b5, b6, b7), \
     X64(192u, b0, b1, b2, b3, b4, b5, b6, b7)}

static const uint32_t crc_table[8][256] = {
    TABLE(0xF26B8303u, 0xE13B70F7u, 0xC79A971Fu, 0x8AD958CFu,
          0x105EC76Fu, 0x20BD8EDEu, 0x417B1DBCu, 0x82F63B78u),
    TABLE(0x13A29877u, 0x274530EEu, 0x4E8A61DCu, 0x9D14C3B8u,
          0x3FC5F181u, 0x7F8BE302u, 0xFF17C604u, 0xFBC3FAF9u),
    TABLE(0xA541927Eu, 0x4F6F520Du, 0x9EDEA41Au, 0x38513EC5u,
          0x70A27D8Au, 0xE144FB14u, 0xC76580D9u, 0x8B277743u),
    TABLE(0xDD45AAB8u, 0xBF672381u, 0x7B2231F3u, 0xF64463E6u,
          0xE964B13Du, 0xD725148Bu, 0xABA65FE7u, 0x52A0C93Fu),
    TABLE(0x38116FACu, 0x7022DF58u, 0xE045BEB0u, 0xC5670B91u,
          0x8F2261D3u, 0x1BA8B557u, 0x37516AAEu, 0x6EA2D55Cu),
    TABLE(0xEF306B19u, 0xDB8CA0C3u, 0xB2F53777u, 0x6006181Fu,
          0xC00C303Eu, 0x85F4168Du, 0x0E045BEBu, 0x1C08B7D6u),
    TABLE(0x68032CC8u, 0xD0065990u, 0xA5E0C5D1u, 0x4E2DFD53u,
          0x9C5BFAA6u, 0x3D5B83BDu, 0x7AB7077Au, 0xF56E0EF4u),
    TABLE(0x493C7D27u, 0x9278FA4Eu, 0x211D826Du, 0x423B04DAu,
          0x847609B4u, 0x0D006599u, 0x1A00CB32u, 0x34019664u),
};
/* clang-format on */

/* Little-endian whatever the machine. */
static inline uint32_t load32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static uint32_t crc_by_table(uint32_t crc, const unsigned char *p, size_t n) {
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t lo = crc ^ load32(p);
        uint32_t hi = load32(p + 4);
        crc = crc_table[7][lo & 0xFF] ^ crc_table[6][(lo >> 8) & 0xFF] ^
              crc_table[5][(lo >> 16) & 0xFF] ^ crc_table[4][lo >> 24] ^
              crc_table[3][hi & 0xFF] ^ crc_table[2][(hi >> 8) & 0xFF] ^
              crc_table[1][(hi >> 16) & 0xFF] ^ crc_table[0][hi >> 24];
    }
    for (; n > 0; n--, p++) {
        crc = (crc >> 8) ^ crc_table[0][(crc ^ *p) & 0xFF];
    }
    return ~crc;
}

#if VS_X86_64

#include <nmmintrin.h>

VS_TARGET("sse4.2")
static uint32_t crc_by_sse42(uint32_t crc, const unsigned char *p, size_t n) {
    uint64_t state = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        state = _mm_crc32_u64(state, word);
    }
    uint32_t rest = (uint32_t)state;
    for (; n > 0; n--, p++) {
        rest = _mm_crc32_u8(rest, *p);
    }
    return ~rest;
}

#endif

uint32_t vs_crc32c(uint32_t crc, const void *data, size_t n) {
#if VS_X86_64
    if (vs_cpu() & VS_CPU_SSE42) {
        return crc_by_sse42(crc, data, n);
    }
#endif
    return crc_by_table(crc, data, n);
}
