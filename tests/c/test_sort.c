/* Risk: an item is lost, or comes before one of a smaller key, or changes places with one of
 * the same key; or a number is kept in the place of a smaller one. */
#include <stdlib.h>

#include "csrc/base/sort.h"
#include "check.h"
#include "graph_fixture.h"

enum { MOST = 3000 };

static int compare(const void *a, const void *b) {
    const VsKeyed *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->item < y->item ? -1 : x->item > y->item; /* items are counted upwards */
}

static void check_sorts(Random *r, uint32_t n, uint64_t mask) {
    static VsKeyed at[MOST], other[MOST], wanted[MOST];
    for (uint32_t i = 0; i < n; i++) {
        at[i] = wanted[i] = (VsKeyed){random_next(r) & mask, i};
    }
    qsort(wanted, n, sizeof *wanted, compare);
    const VsKeyed *sorted = vs_sort_keyed(at, other, n);
    uint32_t same = 0;
    while (same < n && compare(&sorted[same], &wanted[same]) == 0) {
        same++;
    }
    CHECKF(same == n, "%u keys & %llx, place %u", n, (unsigned long long)mask, same);
}

static void test_sorting_gives_what_comparing_gives(void) {
    static const uint64_t masks[] = {
        0,
        1,
        0xFF,
        0xFF00,
        0xFFFF,
        0x7000000000000003,
        0xFFFFFFFF00000000,
        0x00FF0000FFFF0000,
        UINT64_MAX,
    };
    Random r = {1};
    for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) {
        for (uint32_t n = 0; n < 20; n++) {
            check_sorts(&r, n, masks[m]);
        }
        check_sorts(&r, 256, masks[m]);
        check_sorts(&r, MOST, masks[m]);
    }
}

static int compare_numbers(const void *a, const void *b) {
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void test_the_smallest_are_the_first_of_all_sorted(void) {
    Random r = {2};
    for (size_t most = 1; most < 30; most++) {
        double all[40], smallest[30];
        size_t n = 0, total = most + most % 11;
        for (size_t i = 0; i < total; i++) {
            all[i] = (double)(random_next(&r) % 16);
            n = vs_keep_smallest(smallest, n, most, all[i]);
        }
        qsort(all, total, sizeof *all, compare_numbers);
        CHECK(n == most);
        for (size_t i = 0; i < n; i++) {
            CHECKF(compare_numbers(&all[i], &smallest[i]) == 0, "%zu of %zu", i, most);
        }
    }
}

int main(void) {
    test_the_smallest_are_the_first_of_all_sorted();
    test_sorting_gives_what_comparing_gives();
    return check_report();
}
