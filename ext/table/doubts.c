/* Rows that may have been replaced; see doubts.h. */
#include "ext/table/doubts.h"

VsxDoubts *vsx_doubts_new(void) {
    VsxDoubts *d = sqlite3_malloc64(sizeof *d);
    if (d != NULL) {
        *d = (VsxDoubts){.refs = 1};
    }
    return d;
}

void vsx_doubts_free(VsxDoubts *d) {
    if (d != NULL && --d->refs == 0) {
        sqlite3_free(d->row);
        sqlite3_free(d);
    }
}

void vsx_doubts_take_over(VsxDoubts **doubts, VsxDoubts *former) {
    vsx_doubts_free(*doubts);
    *doubts = former;
    former->refs++;
    former->settled = 0;
}

int vsx_doubts_add(VsxDoubts *d, sqlite3_int64 rowid) {
    if (d->n == d->cap) {
        size_t cap = d->cap == 0 ? 16 : 2 * d->cap;
        sqlite3_int64 *grown = sqlite3_realloc64(d->row, cap * sizeof *grown);
        if (grown == NULL) {
            return SQLITE_NOMEM;
        }
        d->row = grown;
        d->cap = cap;
    }
    d->row[d->n++] = rowid;
    return SQLITE_OK;
}

void vsx_doubts_rolled_back(VsxDoubts *d) {
    d->settled = 0;
}

void vsx_doubts_clear(VsxDoubts *d) {
    d->settled = d->n = 0;
}
