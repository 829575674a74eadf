/*
 * Hashes: the same on every machine, and part of what is stored. None resists an attacker.
 */
#ifndef VS_BASE_HASH_H
#define VS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit integers. */
uint64_t vs_mix64(uint64_t x);
/* A 64-bit hash of n bytes, built from vs_mix64. */
uint64_t vs_hash64(uint64_t seed, const void *data, size_t n);

#endif
