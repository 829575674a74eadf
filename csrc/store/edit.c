/* Growing buffers and slot edits; format in edit.h. */
#include "csrc/store/edit.h"

#include <string.h>

#include "csrc/base/assert.h"

VsStatus vs_buffer_reserve(const VsAlloc *a, VsBuffer *b, size_t more) {
    return vs_grow(a, (void **)&b->data, &b->cap, b->len + more, 1);
}

VsStatus vs_buffer_append(const VsAlloc *a, VsBuffer *b, const void *bytes, size_t len) {
    VsStatus st = vs_buffer_reserve(a, b, len);
    if (st == VS_OK && len > 0) {
        memcpy(b->data + b->len, bytes, len);
        b->len += len;
    }
    return st;
}

static void put_varint(VsBuffer *b, uint32_t v) {
    for (; v >= 0x80; v >>= 7) {
        b->data[b->len++] = (unsigned char)(v | 0x80);
    }
    b->data[b->len++] = (unsigned char)v;
}

static VsStatus get_varint(const unsigned char *data, size_t len, size_t *at,
                           uint32_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 35 && *at < len; shift += 7) {
        unsigned char byte = data[(*at)++];
        v |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *out = (uint32_t)v;
            return v <= UINT32_MAX ? VS_OK : VS_CORRUPT;
        }
    }
    return VS_CORRUPT;
}

void vs_edit_write(VsBuffer *b, VsPageKind kind, uint32_t slot, uint32_t offset,
                   const void *bytes, uint32_t len) {
    VS_ASSERT(b->cap - b->len >= (size_t)len + VS_EDIT_HEAD);
    b->data[b->len++] = (unsigned char)kind;
    put_varint(b, slot);
    put_varint(b, offset);
    put_varint(b, len);
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

VsStatus vs_edit_read(const VsGeometry *geo, const unsigned char *data, size_t len,
                      size_t *at, VsEdit *out) {
    if (*at >= len || data[*at] >= VS_PAGE_KINDS) {
        return VS_CORRUPT;
    }
    VsEdit e = {.kind = (VsPageKind)data[(*at)++]};
    if (get_varint(data, len, at, &e.slot) != VS_OK ||
        get_varint(data, len, at, &e.offset) != VS_OK ||
        get_varint(data, len, at, &e.len) != VS_OK || e.len > len - *at ||
        (uint64_t)e.offset + e.len > geo[e.kind].slot_size || e.slot > VS_MAX_NODES) {
        return VS_CORRUPT;
    }
    e.bytes = data + *at;
    *at += e.len;
    *out = e;
    return VS_OK;
}
