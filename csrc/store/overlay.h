/*
 * The overlay: edits of log rows that the stored pages do not hold yet, in memory, with a
 * map from page to its edits.
 *
 * A stored page carries the ver that it includes; when it is loaded, the edits of later
 * rows are laid over it. Checkpointing writes every page that the overlay names, and empties
 * it.
 */
#ifndef VS_STORE_OVERLAY_H
#define VS_STORE_OVERLAY_H

#include "csrc/store/edit.h"

typedef struct VsOverlay VsOverlay;

/* Both pointers must outlive the overlay; geo has one geometry of each kind. */
VsStatus vs_overlay_new(const VsAlloc *a, const VsGeometry *geo, VsOverlay **out);
void vs_overlay_free(VsOverlay *o);
void vs_overlay_clear(VsOverlay *o);

/* Adds the edits of one log row (copied). ver must be above all before. */
VsStatus vs_overlay_add(VsOverlay *o, uint64_t ver, const unsigned char *edits,
                        size_t len);
/* Keeps only the rows with after < ver <= upto: a rollback cuts the end, a checkpoint elsewhere
 * the beginning. Cannot fail. */
void vs_overlay_keep(VsOverlay *o, uint64_t after, uint64_t upto);
/* Lays the edits above `after` over a page that was just read; the version of the last one
 * (0: there is none). */
uint64_t vs_overlay_apply(const VsOverlay *o, VsPageKind kind, uint32_t page,
                          uint64_t after, unsigned char *data);
/* Bytes of edits held. */
size_t vs_overlay_bytes(const VsOverlay *o);

/* The pages that some edit touches, each once, in no order: vs_overlay_page_count of
 * them. */
size_t vs_overlay_page_count(const VsOverlay *o);
void vs_overlay_list(const VsOverlay *o, VsPageRef *out);

#endif
