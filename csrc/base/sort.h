/*
 * Sorting by whole numbers, without comparing: counted digit by digit from the lowest on
 * (Knuth, The Art of Computer Programming 3, section 5.2.5). Items of equal keys keep their
 * order. And the few smallest of many numbers.
 */
#ifndef VS_BASE_SORT_H
#define VS_BASE_SORT_H

#include <stddef.h>
#include <stdint.h>

typedef struct VsKeyed {
    uint64_t key;
    uint32_t item;
} VsKeyed;

/* Sorts at[0..n-1], n < 2^32, with room for as many at `other`. Returns where they are
 * then: `at` or `other`. */
VsKeyed *vs_sort_keyed(VsKeyed *at, VsKeyed *other, size_t n);

/* Puts x among the n smallest so far, in order, `most` of them at the most; returns how many
 * there are then. For a few: larger ones move up one by one. */
size_t vs_keep_smallest(double *smallest, size_t n, size_t most, double x);

#endif
