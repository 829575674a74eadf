/*
 * Slot edits: what a change of the graph is, in bytes. A log row holds them one after
 * another:
 *
 *     kind   u8        VsPageKind
 *     slot   varint    LEB128, as are the next two
 *     offset varint    byte offset in the slot, in the memory layout of graph.h
 *     length varint
 *     bytes
 *
 * An edit touches one slot, so each page can be brought up to date alone.
 */
#ifndef VS_STORE_EDIT_H
#define VS_STORE_EDIT_H

#include "csrc/store/pages.h"

typedef struct VsBuffer {
    unsigned char *data;
    size_t len, cap;
} VsBuffer;

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
 * or the geometry (one of each kind). */
VsStatus vs_edit_read(const VsGeometry *geo, const unsigned char *data, size_t len,
                      size_t *at, VsEdit *out);

#endif
