/*
 * CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected; RFC 3720 appendix B.4).
 */
#ifndef VS_BASE_CRC32C_H
#define VS_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over n bytes. vs_crc32c(0, "123456789", 9) == 0xE3069283.
 */
uint32_t vs_crc32c(uint32_t crc, const void *data, size_t n);

#endif
