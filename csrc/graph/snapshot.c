/* The history of a graph; see snapshot.h. */
#include "csrc/graph/snapshot.h"

#include <string.h>

static void free_tables(VsGraph *g, VsTable *table) {
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        vs_table_clear(&g->alloc, &table[k]);
    }
}

VsStatus vs_tables_clone(VsGraph *g, const VsTable *from, VsTable *to) {
    memset(to, 0, VS_PAGE_KINDS * sizeof *to);
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        VsStatus st = vs_table_clone(&g->alloc, &from[k], &to[k]);
        if (st != VS_OK) {
            free_tables(g, to);
            return st;
        }
    }
    return VS_OK;
}

/* Drops the first n snapshots. */
static void drop_oldest(VsGraph *g, VsHistory *h, int n) {
    for (int i = 0; i < n; i++) {
        free_tables(g, h->at[i].table);
    }
    h->n -= n;
    memmove(h->at, h->at + n, (size_t)h->n * sizeof *h->at);
}

void vs_history_push(VsGraph *g, VsHistory *h) {
    if (h->n > 0 && h->at[h->n - 1].state.stamp == g->state.stamp) {
        free_tables(g, h->at[--h->n].table); /* the same, with fewer pages in memory */
    }
    if (h->n == VS_HISTORY) {
        drop_oldest(g, h, 1);
    }
    VsSnapshot *s = &h->at[h->n];
    if (vs_tables_clone(g, g->table, s->table) == VS_OK) {
        s->state = g->state;
        h->n++;
    } else {
        vs_history_clear(g, h);
    }
}

static int same_state(const VsState *a, const VsState *b) {
    return a->stamp == b->stamp && a->ver == b->ver &&
           a->checkpoint_ver == b->checkpoint_ver;
}

int vs_history_return(VsGraph *g, VsHistory *h, const VsState *state) {
    int i = h->n;
    VsTable table[VS_PAGE_KINDS];
    while (i > 0 && !same_state(&h->at[i - 1].state, state)) {
        i--;
    }
    if (i == 0 || vs_tables_clone(g, h->at[i - 1].table, table) != VS_OK) {
        return 0;
    }
    vs_forget(g);
    free_tables(g, g->table);
    memcpy(g->table, table, sizeof table);
    g->state = h->at[i - 1].state;
    vs_overlay_keep(g->overlay, 0, state->ver);
    while (h->n > i) {
        free_tables(g, h->at[--h->n].table);
    }
    return 1;
}

void vs_history_trim(VsGraph *g, VsHistory *h) {
    if (h->n > 1) {
        drop_oldest(g, h, h->n - 1);
    }
}

void vs_history_clear(VsGraph *g, VsHistory *h) {
    drop_oldest(g, h, h->n);
}
