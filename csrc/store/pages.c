/* Page tables, copy on write, and the stored form of a page; layout and rules in pages.h.
 */
#include "csrc/store/pages.h"

#include <string.h>

#include "csrc/base/assert.h"
#include "csrc/base/crc32c.h"
#include "csrc/store/page_head.h"
#include "csrc/store/page_cache.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "memory and stored slots share one little-endian layout"
#endif

/* ---- memory --------------------------------------------------------------------- */

VsGeometry vs_geometry(uint32_t page_bytes, uint32_t fixed_size, uint32_t n_links,
                       uint32_t slot_size) {
    uint32_t stored = fixed_size + 3 * n_links;
    uint32_t body = page_bytes > VS_PAGE_HEADER ? page_bytes - VS_PAGE_HEADER : 0;
    VsGeometry geo = {
        .slot_size = slot_size, .n_links = n_links, .fixed_size = fixed_size};
    geo.per_page = body / stored > 0 ? body / stored : 1;
    geo.reciprocal = geo.per_page == 1 ? 0 : UINT64_MAX / geo.per_page + 1;
    return geo;
}

size_t vs_page_memory(const VsGeometry *geo) {
    return (size_t)geo->per_page * geo->slot_size + VS_PAGE_HEAD;
}

void *vs_page_block(const VsAlloc *a, const VsGeometry *geo, VsChunk **chunk) {
    *chunk = NULL;
    return geo->arena != NULL ? vs_arena_take(geo->arena, chunk)
                              : vs_alloc(a, 1, vs_page_memory(geo) + VS_PAGE_HEAD);
}

unsigned char *vs_page_begin(const VsGeometry *geo, void *block, VsChunk *chunk) {
    uintptr_t first = ((uintptr_t)block + VS_PAGE_HEAD + 63) & ~(uintptr_t)63;
    unsigned char *page = (unsigned char *)block + (first - (uintptr_t)block);
    memset(page, 0, (size_t)geo->per_page * geo->slot_size);
    *vs_page_head(page) = (VsPageHead){.block = block, .chunk = chunk, .refs = 1};
    return page;
}

void vs_page_end(const VsAlloc *a, const VsPageHead *head) {
    if (head->chunk != NULL) {
        vs_arena_give(head->chunk, head->block);
    } else {
        vs_free(a, head->block);
    }
}

unsigned char *vs_page_new(const VsAlloc *a, const VsGeometry *geo) {
    VsChunk *chunk = NULL;
    unsigned char *page =
        geo->page_cache != NULL ? vs_page_cache_page(geo->page_cache, geo->kind) : NULL;
    if (page != NULL) {
        return page;
    }
    void *block = vs_page_block(a, geo, &chunk);
    return block == NULL ? NULL : vs_page_begin(geo, block, chunk);
}

int vs_page_is_listed(unsigned char *page) {
    return vs_page_head(page)->key != 0;
}

/* 1 if nobody else holds the page, or may come to hold it. */
static int is_mine(unsigned char *page) {
    VsPageHead *head = vs_page_head(page);
    return head->key == 0 &&
           (head->page_cache != NULL ? vs_shared_get(&head->holders) : head->refs) == 1;
}

void vs_page_hold(unsigned char *page) {
    if (vs_page_head(page)->page_cache != NULL) {
        vs_page_cache_hold(page);
    } else {
        vs_page_head(page)->refs++;
    }
}

void vs_page_release(const VsAlloc *a, unsigned char *page) {
    if (page == NULL) {
        return;
    }
    if (vs_page_head(page)->page_cache != NULL) {
        vs_page_cache_release(page);
    } else if (--vs_page_head(page)->refs == 0) {
        vs_page_end(a, vs_page_head(page));
    }
}

uint64_t *vs_page_mark(unsigned char *page) {
    return &vs_page_head(page)->mark;
}

static void leaf_release(const VsAlloc *a, VsLeaf *leaf) {
    if (leaf == NULL || --leaf->refs > 0) {
        return;
    }
    for (uint32_t i = 0; i < VS_LEAF_PAGES; i++) {
        vs_page_release(a, leaf->page[i]);
    }
    vs_free(a, leaf);
}

VsStatus vs_table_reserve(const VsAlloc *a, VsTable *t, uint32_t n) {
    uint32_t need = (n + VS_LEAF_PAGES - 1) >> VS_LEAF_BITS;
    if (need <= t->n_leaves) {
        return VS_OK;
    }
    size_t cap = t->n_leaves;
    VsStatus st = vs_grow(a, (void **)&t->leaf, &cap, need, sizeof *t->leaf);
    while (st == VS_OK && t->n_leaves < need) {
        t->leaf[t->n_leaves++] = NULL;
    }
    return st;
}

uint32_t vs_page_note(const VsTable *t, uint32_t page) {
    VsLeaf *leaf = t->leaf[page >> VS_LEAF_BITS];
    uint32_t i = page & (VS_LEAF_PAGES - 1);
    uint32_t note = vs_loose_get(&vs_page_head(leaf->page[i])->note);
    vs_loose_set(&leaf->note[i], note);
    return note;
}

void vs_page_set_note(const VsTable *t, uint32_t page, uint32_t note) {
    VsLeaf *leaf = t->leaf[page >> VS_LEAF_BITS];
    uint32_t i = page & (VS_LEAF_PAGES - 1);
    vs_loose_set(&leaf->note[i], note);
    vs_loose_set(&vs_page_head(leaf->page[i])->note, note);
}

VsStatus vs_table_own_leaf(const VsAlloc *a, VsTable *t, uint32_t page) {
    VsLeaf **at = &t->leaf[page >> VS_LEAF_BITS];
    if (*at == NULL || (*at)->refs == 1) {
        return VS_OK;
    }
    VsLeaf *copy = vs_alloc(a, 1, sizeof *copy);
    if (copy == NULL) {
        return VS_NOMEM;
    }
    *copy = **at;
    copy->refs = 1;
    for (uint32_t i = 0; i < VS_LEAF_PAGES; i++) {
        if (copy->page[i] != NULL) {
            vs_page_hold(copy->page[i]);
        }
    }
    (*at)->refs--;
    *at = copy;
    return VS_OK;
}

VsStatus vs_table_own(const VsAlloc *a, const VsGeometry *geo, VsTable *t, uint32_t page,
                      unsigned char **out) {
    VS_TRY(vs_table_own_leaf(a, t, page));
    unsigned char **at = &t->leaf[page >> VS_LEAF_BITS]->page[page & (VS_LEAF_PAGES - 1)];
    if (!is_mine(*at)) {
        unsigned char *copy = vs_page_new(a, geo);
        if (copy == NULL) {
            return VS_NOMEM;
        }
        memcpy(copy, *at, (size_t)geo->per_page * geo->slot_size);
        vs_page_release(a, *at);
        *at = copy;
    }
    VS_ASSERT(is_mine(*at));
    vs_page_set_note(t, page, 0);
    *out = *at;
    return VS_OK;
}

VsStatus vs_table_fill(const VsAlloc *a, VsTable *t, uint32_t page, unsigned char *data) {
    VsLeaf **at = &t->leaf[page >> VS_LEAF_BITS];
    if (*at == NULL) {
        *at = vs_alloc_zero(a, 1, sizeof **at);
        if (*at == NULL) {
            return VS_NOMEM;
        }
        (*at)->refs = 1;
    }
    (*at)->page[page & (VS_LEAF_PAGES - 1)] = data;
    (*at)->note[page & (VS_LEAF_PAGES - 1)] = 0;
    return VS_OK;
}

/* Slots beyond `count` are what they are on disk, zero: unless an older state, which shares
 * the leaf, may have them in use. Then the page stays as it is. */
void vs_table_share(const VsAlloc *a, const VsGeometry *geo, VsTable *t, uint32_t page,
                    uint32_t count, uint64_t key) {
    VsLeaf *leaf = t->leaf[page >> VS_LEAF_BITS];
    unsigned char **at = &leaf->page[page & (VS_LEAF_PAGES - 1)], *data = *at;
    size_t used = (size_t)count * geo->slot_size,
           all = (size_t)geo->per_page * geo->slot_size;
    if (leaf->refs > 1 && used < all) {
        return;
    }
    if (vs_page_head(data)->page_cache != NULL && is_mine(data)) {
        memset(data + used, 0, all - used);
        *at = vs_page_cache_offer(geo->page_cache, geo->kind, key, data);
        return;
    }
    unsigned char *copy =
        vs_page_cache_offer_copy(geo->page_cache, geo->kind, key, data, count);
    if (copy != NULL) {
        *at = copy;
        vs_page_release(a, data);
    }
}

void vs_table_drop(const VsAlloc *a, VsTable *t, uint32_t page) {
    unsigned char **at = &t->leaf[page >> VS_LEAF_BITS]->page[page & (VS_LEAF_PAGES - 1)];
    vs_page_release(a, *at);
    *at = NULL;
}

VsStatus vs_table_clone(const VsAlloc *a, const VsTable *from, VsTable *to) {
    VsLeaf **leaf = NULL;
    if (from->n_leaves > 0) {
        leaf = vs_alloc(a, from->n_leaves, sizeof(VsLeaf *));
        if (leaf == NULL) {
            return VS_NOMEM;
        }
        memcpy(leaf, from->leaf, from->n_leaves * sizeof(VsLeaf *));
    }
    for (uint32_t i = 0; i < from->n_leaves; i++) {
        if (leaf[i] != NULL) {
            leaf[i]->refs++;
        }
    }
    *to = (VsTable){.leaf = leaf, .n_leaves = from->n_leaves};
    return VS_OK;
}

void vs_table_clear(const VsAlloc *a, VsTable *t) {
    for (uint32_t i = 0; i < t->n_leaves; i++) {
        leaf_release(a, t->leaf[i]);
    }
    vs_free(a, t->leaf);
    *t = (VsTable){0};
}

/* ---- stored form ---------------------------------------------------------------- */

#define NARROW_NIL \
    0xFFFFFFu /* VS_NIL in three bytes; also the first link that needs four */
#define WIDE_LINKS 0x80u

/* Up to the links a slot has the same bytes in memory and stored. */
static size_t links_offset(const VsGeometry *geo) {
    return geo->slot_size - 4 * (size_t)geo->n_links;
}

size_t vs_page_stored_max(const VsGeometry *geo) {
    return VS_PAGE_HEADER +
           (size_t)geo->per_page * (geo->fixed_size + 4 * (size_t)geo->n_links);
}

static int needs_wide_links(const VsGeometry *geo, const unsigned char *data,
                            uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char *links =
            data + (size_t)i * geo->slot_size + links_offset(geo);
        for (uint32_t j = 0; j < geo->n_links; j++) {
            uint32_t v = vs_get_u32(links + 4 * (size_t)j);
            if (v >= NARROW_NIL && v != VS_NIL) {
                return 1;
            }
        }
    }
    return 0;
}

static uint32_t page_crc(const unsigned char *blob, size_t len) {
    return vs_crc32c(vs_crc32c(0, blob, 12), blob + VS_PAGE_HEADER, len - VS_PAGE_HEADER);
}

size_t vs_page_encode(const VsGeometry *geo, VsPageKind kind, uint32_t page, uint64_t ver,
                      const unsigned char *data, uint32_t count, unsigned char *out) {
    size_t width = needs_wide_links(geo, data, count) ? 4 : 3;
    unsigned char *p = out + VS_PAGE_HEADER;
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char *slot = data + (size_t)i * geo->slot_size;
        memcpy(p, slot, geo->fixed_size);
        p += geo->fixed_size;
        slot += links_offset(geo);
        for (uint32_t j = 0; j < geo->n_links; j++, p += width) {
            memcpy(p, slot + 4 * (size_t)j,
                   width); /* VS_NIL cut to 3 bytes is NARROW_NIL */
        }
    }
    out[0] = 'V';
    out[1] = 'P';
    out[2] = VS_PAGE_VERSION;
    out[3] = (unsigned char)((unsigned)kind | (width == 4 ? WIDE_LINKS : 0));
    vs_put_u32(out + 4, page);
    vs_put_u32(out + 8, (uint32_t)ver);
    size_t len = (size_t)(p - out);
    vs_put_u32(out + 12, page_crc(out, len));
    return len;
}

static void decode_links(const unsigned char *p, size_t width, uint32_t n,
                         unsigned char *to) {
    for (uint32_t j = 0; j < n; j++, p += width) {
        uint32_t v = 0;
        memcpy(&v, p, width);
        vs_put_u32(to + 4 * (size_t)j, width == 3 && v == NARROW_NIL ? VS_NIL : v);
    }
}

VsStatus vs_page_decode(const VsGeometry *geo, VsPageKind kind, uint32_t page,
                        const unsigned char *blob, size_t len, unsigned char *data,
                        uint32_t *ver) {
    if (len < VS_PAGE_HEADER || blob[0] != 'V' || blob[1] != 'P' ||
        blob[2] != VS_PAGE_VERSION || (blob[3] & ~WIDE_LINKS) != (unsigned)kind ||
        vs_get_u32(blob + 4) != page || vs_get_u32(blob + 12) != page_crc(blob, len)) {
        return VS_CORRUPT;
    }
    size_t width = (blob[3] & WIDE_LINKS) != 0 ? 4 : 3;
    size_t stored = geo->fixed_size + width * geo->n_links;
    size_t count = (len - VS_PAGE_HEADER) / stored;
    if (count * stored != len - VS_PAGE_HEADER || count > geo->per_page) {
        return VS_CORRUPT;
    }
    memset(data, 0, (size_t)geo->per_page * geo->slot_size);
    const unsigned char *p = blob + VS_PAGE_HEADER;
    for (size_t i = 0; i < count; i++, p += stored) {
        unsigned char *slot = data + i * geo->slot_size;
        memcpy(slot, p, geo->fixed_size);
        decode_links(p + geo->fixed_size, width, geo->n_links, slot + links_offset(geo));
    }
    *ver = vs_get_u32(blob + 8);
    return VS_OK;
}

uint32_t vs_page_stored_crc(const unsigned char *blob) {
    return vs_get_u32(blob + 12);
}
