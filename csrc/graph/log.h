/*
 * The log: how changes become rows, and rows changes.
 *
 * A small commit appends one log row with its edits (edit.h) instead of rewriting the ~30
 * pages that an insertion touches; a large one writes the pages and a row without edits.
 * Checkpointing writes every page that the overlay (overlay.h) or the dirty list names.
 * Replaying lays a row that another connection wrote over the graph.
 */
#ifndef VS_GRAPH_LOG_H
#define VS_GRAPH_LOG_H

#include "csrc/graph/graph.h"

#define VS_STATE_SIZE 144 /* bytes of a stored state, at the most */

/* The state as the blob of a log row (ver and stamp are columns of the row):
 *
 *     offset  0  "VSt1", or "VSt2"
 *             4  checkpoint_ver u64
 *            12  checkpointed u32, of each kind; in VSt1 of the first four
 *     then       n_nodes, n_live, n_dead, free_head, next_seq, entry, max_level, n_upper,
 *                upper_free, n_roots, cursor, ef_search, epoch, fitted, clipped: u32 each
 *                model u64
 *                in VSt2: n_raw, raw_free, raw_rows u32 each, blur f32, judged, blurred u32
 *                each
 *                has_edits u32
 *                length of the edits u32
 *                their CRC-32C u32
 *                CRC-32C of the bytes before, of ver and of stamp, u32
 *
 * VSt1 is written while VSt2 has nothing to add: then a library that knows only the first
 * format reads it. Returns the length. */
size_t vs_state_encode(const VsState *s, const unsigned char *edits, size_t n_edits,
                       int has_edits, unsigned char *out);
/* The format of a file that has such a state: 1 or 2. */
int vs_state_format(const VsState *s);
typedef struct VsStateRow {
    VsState state;
    int has_edits; /* 0: that commit wrote pages instead */
    uint32_t edits_len, edits_crc;
} VsStateRow;
VsStatus vs_state_decode(const unsigned char *blob, size_t len, uint64_t ver,
                         uint64_t stamp, VsStateRow *out);
/* VS_CORRUPT unless these are the edits that the row was written with. */
VsStatus vs_state_check_edits(const VsStateRow *row, const unsigned char *edits,
                              size_t len);

/* Writes the edits of the redo buffer that were made since the last flush as a new
 * version: the state gets its ver and stamp, the overlay the edits. With VS_OK the caller
 * stores the row (state, edits); *edits stays valid until the next change. */
VsStatus vs_flush_log(VsGraph *g, const unsigned char **edits, size_t *n_edits);

/* Writes every page that differs from disk, in ascending order, through `write`, and
 * empties the overlay. With edits pending that did not fit the log it makes a new version
 * first; otherwise ver and stamp stay (a checkpoint is not a change). `write` returning
 * anything but VS_OK stops it: the transaction has to be rolled back then. */
typedef VsStatus (*VsPageWriter)(void *ctx, VsPageKind kind, uint32_t page, uint64_t ver,
                                 const unsigned char *blob, size_t len);
VsStatus vs_flush_pages(VsGraph *g, VsPageWriter write, void *ctx);

/* Lays the edits of a log row that another connection wrote over the graph, which becomes
 * that row's state. */
VsStatus vs_replay(VsGraph *g, const VsState *state, const unsigned char *edits,
                   size_t len);

/* Another connection has written the pages up to checkpoint_ver. The graph, which has no unflushed
 * edits, forgets those edits of the log; and where pages are shared (page_cache.h) the copies
 * that it has written itself, so that it reads what all others read. */
void vs_checkpointed_elsewhere(VsGraph *g, uint64_t checkpoint_ver);

#endif
