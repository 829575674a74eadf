/*
 * The log: edits that the stored pages do not hold yet.
 *
 * A small commit appends one log row instead of rewriting the ~30 pages that an insertion
 * touches. Its `edits` are slot edits, one after another:
 *
 *     kind   u8        VsPageKind
 *     slot   varint    LEB128, as are the next two
 *     offset varint    byte offset in the slot, in the memory layout of graph.h
 *     length varint
 *     bytes
 *
 * A stored page carries the ver that it includes; when it is loaded, the edits of later
 * log rows are laid over it. An edit touches one slot, so each page can be brought up to
 * date alone.
 *
 * The overlay holds those rows in memory, with a map from page to its edits. Folding
 * writes every page that the overlay names (and every dirty one) and empties it.
 */
#ifndef VS_LOG_H
#define VS_LOG_H

#include "graph.h"

#define VS_STATE_SIZE 92 /* bytes of a stored state */

/* Appends to a growing buffer. */
VsStatus vs_buffer_append(const VsAlloc *a, VsBuffer *b, const void *bytes, size_t len);
VsStatus vs_buffer_reserve(const VsAlloc *a, VsBuffer *b, size_t more);

/* Appends one edit; the space must be reserved (len + VS_EDIT_HEAD). */
#define VS_EDIT_HEAD 21
void vs_edit_write(VsBuffer *b, VsPageKind kind, uint32_t slot, uint32_t offset,
                   const void *bytes, uint32_t len);

typedef struct VsEdit {
    VsPageKind kind;
    uint32_t slot, offset, len;
    const unsigned char *bytes;
} VsEdit;

/* Reads the edit at *at and moves *at behind it. VS_CORRUPT if it does not fit the buffer
 * or the geometry of g. */
VsStatus vs_edit_read(const VsGraph *g, const unsigned char *data, size_t len, size_t *at,
                      VsEdit *out);

/* The state as the blob of a log row (ver and stamp are columns of the row):
 *
 *     "VSt1", fold_ver u64, folded u32 x 4, n_nodes, n_live, n_dead, free_head, next_seq,
 * entry, max_level, n_upper, upper_free, n_seeds, cursor, ef_search: u32 each; has_edits
 * u32, length of the edits u32, their CRC-32C u32, CRC-32C of the bytes before, of ver
 * and of stamp u32
 */
void vs_state_encode(const VsState *s, const unsigned char *edits, size_t n_edits,
                     int has_edits, unsigned char *out);
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

VsStatus vs_overlay_new(const VsAlloc *a, VsOverlay **out);
void vs_overlay_free(const VsAlloc *a, VsOverlay *o);
void vs_overlay_clear(const VsAlloc *a, VsOverlay *o);

/* Adds the edits of one log row (copied). ver must be above all before. */
VsStatus vs_overlay_add(VsGraph *g, uint64_t ver, const unsigned char *edits, size_t len);
/* Keeps only the rows with after < ver <= upto: a rollback cuts the end, a fold elsewhere
 * the beginning. Cannot fail. */
void vs_overlay_keep(VsGraph *g, uint64_t after, uint64_t upto);
/* Lays the edits above `after` over a page that was just read. */
void vs_overlay_apply(const VsGraph *g, VsPageKind kind, uint32_t page, uint64_t after,
                      unsigned char *data);
size_t vs_overlay_bytes(const VsOverlay *o);
/* Writes the edits of the redo buffer that were made since the last flush as a new
 * version: the state gets its ver and stamp, the overlay the edits. With VS_OK the caller
 * stores the row (state, edits); *edits stays valid until the next change. */
VsStatus vs_flush_log(VsGraph *g, const unsigned char **edits, size_t *n_edits);

/* Writes every page that differs from disk, in ascending order, through `write`, and
 * empties the overlay. With edits pending that did not fit the log it makes a new version
 * first; otherwise ver and stamp stay (a fold is not a change). `write` returning
 * anything but VS_OK stops it: the transaction has to be rolled back then. */
typedef VsStatus (*VsPageWriter)(void *ctx, VsPageKind kind, uint32_t page, uint64_t ver,
                                 const unsigned char *blob, size_t len);
VsStatus vs_flush_pages(VsGraph *g, VsPageWriter write, void *ctx);

/* Lays the edits of a log row that another connection wrote over the graph, which becomes
 * that row's state. */
VsStatus vs_replay(VsGraph *g, const VsState *state, const unsigned char *edits,
                   size_t len);

#endif
