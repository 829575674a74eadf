/* Sorting hits; see hits.h. */
#include "csrc/search/hits.h"

#include <stdlib.h>

static int compare_hits(const void *a, const void *b) {
    const VsHit *x = a, *y = b;
    if (x->order != y->order) {
        return x->order < y->order ? -1 : 1;
    }
    return x->node > y->node ? -1 : x->node < y->node;
}

void vs_hits_sort(VsHit *hits, size_t n) {
    qsort(hits, n, sizeof *hits, compare_hits);
}
