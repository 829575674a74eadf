/* splitmix64 and a hash of bytes; see hash.h. */
#include "csrc/base/hash.h"

#include <string.h>

uint64_t vs_mix64(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t vs_hash64(uint64_t seed, const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t h = vs_mix64(seed ^ n), word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = vs_mix64(h ^ word);
    }
    word = 0;
    if (n > 0) {
        memcpy(&word, p, n);
    }
    return vs_mix64(h ^ word);
}
