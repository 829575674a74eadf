/* Sorting by whole numbers; see sort.h. */
#include "csrc/base/sort.h"

#include "csrc/base/assert.h"

#define DIGITS 8 /* of a key, */
#define BITS 8   /* each of so many bits */
#define VALUES (1u << BITS)

static unsigned digit_of(uint64_t key, unsigned digit) {
    return (unsigned)(key >> (digit * BITS)) & (VALUES - 1);
}

VsKeyed *vs_sort_keyed(VsKeyed *at, VsKeyed *other, size_t n) {
    uint32_t count[DIGITS][VALUES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        for (unsigned d = 0; d < DIGITS; d++) {
            count[d][digit_of(at[i].key, d)]++;
        }
    }
    for (unsigned d = 0; n > 0 && d < DIGITS; d++) {
        uint32_t *next = count[d], sum = 0; /* place of the next item with that digit */
        if (next[digit_of(at[0].key, d)] == n) {
            continue; /* all have it */
        }
        for (unsigned value = 0; value < VALUES; value++) {
            uint32_t here = next[value];
            next[value] = sum;
            sum += here;
        }
        for (size_t i = 0; i < n; i++) {
            other[next[digit_of(at[i].key, d)]++] = at[i];
        }
        VsKeyed *sorted = other;
        other = at;
        at = sorted;
    }
    for (size_t i = 1; i < n; i++) {
        VS_ASSERT(at[i - 1].key <= at[i].key);
    }
    return at;
}

size_t vs_keep_smallest(double *smallest, size_t n, size_t most, double x) {
    if (n == most && x >= smallest[n - 1]) {
        return n;
    }
    size_t at = n < most ? n : n - 1;
    for (; at > 0 && x < smallest[at - 1]; at--) {
        smallest[at] = smallest[at - 1];
    }
    smallest[at] = x;
    return n < most ? n + 1 : n;
}
