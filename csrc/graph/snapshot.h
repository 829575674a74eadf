/*
 * Snapshots by stamp: the recent states of a graph.
 *
 * A snapshot is the state and the four page tables, sharing every page with the graph
 * until one of them changes it. The history remembers the last states that were flushed
 * or read; after a ROLLBACK (TO) the database names one of them by its stamp, and going
 * back is exchanging tables.
 */
#ifndef VS_GRAPH_SNAPSHOT_H
#define VS_GRAPH_SNAPSHOT_H

#include "csrc/graph/graph.h"

#define VS_HISTORY 16 /* flushes that a transaction can take back without reloading */

typedef struct VsSnapshot {
    VsState state;
    VsTable table[VS_PAGE_KINDS];
} VsSnapshot;

typedef struct VsHistory {
    VsSnapshot at[VS_HISTORY]; /* oldest first */
    int n;
} VsHistory;

/* Clones the four page tables. On failure nothing is left. */
VsStatus vs_tables_clone(VsGraph *g, const VsTable *from, VsTable *to);

/* Remembers the graph as it is; it must have no unflushed edits. When memory is short, or
 * the history is full, older states are forgotten: that costs a reload later, never an
 * answer. */
void vs_history_push(VsGraph *g, VsHistory *h);

/* Makes the graph the remembered state that is `state` in ver, stamp and checkpoint_ver
 * (dropping unflushed edits and the states after it). 0 if there is none, or memory is
 * short. */
int vs_history_return(VsGraph *g, VsHistory *h, const VsState *state);

/* Forgets all but the newest state / all states. A checkpoint must forget all older ones: their
 * pages that are not in memory can no longer be loaded. */
void vs_history_trim(VsGraph *g, VsHistory *h);
void vs_history_clear(VsGraph *g, VsHistory *h);

#endif
