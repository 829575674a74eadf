/*
 * Page tables with copy-on-write snapshots, and the bytes of a page.
 *
 * A graph is six arrays of fixed-size slots (one per VsPageKind). Each array is cut into
 * pages; a page is the unit that is stored (one row of %_pages), loaded, copied and
 * shared.
 *
 *     VsTable -> leaves (256 page pointers each, counted) -> pages (counted)
 *
 * A leaf or page with one reference belongs to one table and may be written; with more it
 * is immutable and a writer copies it first (vs_table_own). So a snapshot costs one root
 * array, a write costs the pages that it touches, and an old snapshot stays what it was.
 * Leaves belong to one connection. A page may be listed in a page cache (page_cache.h), where graphs
 * of other connections find it: that one is immutable whatever its count.
 *
 * A page pointer may be NULL: not loaded yet. Two tables share a leaf only while all its
 * pages mean the same in both, so filling a NULL in a shared leaf is right for both.
 *
 * In memory a page is an array of slots in the layout of graph.h, 64-byte aligned.
 * Stored, it is
 *
 *     offset size
 *          0    2  "VP"
 *          2    1  version of this form, 1
 *          3    1  kind in bits 0-3; bit 7: links take 4 bytes each, otherwise 3
 *          4    4  page number within its kind
 *          8    4  low 32 bits of the version (ver) that it includes
 *         12    4  CRC-32C of bytes 0..11 and 16..end
 *         16    .  slots, without padding; their count follows from the length
 *
 * all little-endian. Slots of each kind, stored:
 *     NODE   rowid i64, seq u32, upper u32, indeg u16, indeg_old u16, level u8, flags u8,
 *            error u16, M0 links (3 or 4 bytes each; all ones: no link)
 *     CODE   the code, as the codec defines it
 *     UPPER  next u32, M links
 *     ROOT   node u32
 *     RAW    owner u32, a float32 for each dimension (raw.h)
 *     RAW_AT RAW slot u32
 * Three-byte links let 33 nodes of M = 16 share a 4 KiB database page instead of 26.
 */
#ifndef VS_STORE_PAGES_H
#define VS_STORE_PAGES_H

#include <stdint.h>

#include "csrc/base/alloc.h"
#include "csrc/base/arena.h"
#include "csrc/base/bytes.h"
#include "csrc/base/threads.h"

#define VS_PAGE_VERSION 1
#define VS_PAGE_HEADER 16
#define VS_NIL UINT32_MAX        /* no node, no slot */
#define VS_MAX_NODES 0x7FFFFFFFu /* the top bit is the search pool's mark */

typedef struct VsPageCache VsPageCache;

typedef enum VsPageKind {
    VS_NODE = 0,
    VS_CODE = 1,
    VS_UPPER = 2,
    VS_ROOT = 3,
    VS_RAW = 4,
    VS_RAW_AT = 5,
    VS_PAGE_KINDS = 6
} VsPageKind;

typedef struct VsPageRef {
    VsPageKind kind;
    uint32_t page;
} VsPageRef;

/* How the slots of one kind lie in pages. */
typedef struct VsGeometry {
    uint32_t per_page;       /* slots in a page */
    uint32_t slot_size;      /* bytes of a slot in memory */
    uint32_t n_links;        /* link fields at the end of a slot (NODE, UPPER) */
    uint32_t fixed_size;     /* stored bytes before the links */
    uint64_t reciprocal;     /* floor(2^64 / per_page) + 1: division by multiplication */
    VsArena *arena;          /* where pages lie; NULL: each is allocated by itself */
    VsPageCache *page_cache; /* where they lie instead; NULL: none */
    VsPageKind kind;         /* for the page cache */
} VsGeometry;

/* Geometry for stored pages of at most `page_bytes` bytes (at least one slot a page,
 * however large); n_links and fixed_size as above, slot_size the memory layout's. */
VsGeometry vs_geometry(uint32_t page_bytes, uint32_t fixed_size, uint32_t n_links,
                       uint32_t slot_size);

static inline uint32_t vs_page_of(const VsGeometry *geo, uint32_t slot) {
#if defined(__SIZEOF_INT128__)
    if (geo->reciprocal !=
        0) { /* 0 stands for per_page 1, whose reciprocal needs 65 bits */
        return (uint32_t)(((unsigned __int128)geo->reciprocal * slot) >> 64);
    }
    return slot;
#else
    return slot / geo->per_page;
#endif
}

#define VS_LEAF_BITS 8
#define VS_LEAF_PAGES (1u << VS_LEAF_BITS)

typedef struct VsLeaf {
    uint32_t refs;
    unsigned char *page[VS_LEAF_PAGES]; /* first slot of the page, or NULL: not loaded */
    uint32_t note[VS_LEAF_PAGES];       /* its note, once somebody asked; 0: nobody */
} VsLeaf;

typedef struct VsTable {
    VsLeaf **leaf;
    uint32_t n_leaves;
} VsTable;

/* The page, or NULL if it is not in memory. */
static inline unsigned char *vs_table_get(const VsTable *t, uint32_t page) {
    uint32_t i = page >> VS_LEAF_BITS;
    const VsLeaf *leaf = i < t->n_leaves ? t->leaf[i] : NULL;
    return leaf == NULL ? NULL : leaf->page[page & (VS_LEAF_PAGES - 1)];
}

/* A new zeroed page with one reference; NULL when out of memory. */
unsigned char *vs_page_new(const VsAlloc *a, const VsGeometry *geo);
void vs_page_hold(unsigned char *page);
void vs_page_release(const VsAlloc *a, unsigned char *page);
/* 1 if other graphs can find it. */
int vs_page_is_listed(unsigned char *page);

/* Bytes of memory that a page takes, header included. */
size_t vs_page_memory(const VsGeometry *geo);

/* The mark of the last flush period in which a writer touched this page (0: never). The
 * writer keeps its list of dirty pages with it. */
uint64_t *vs_page_mark(unsigned char *page);

/* What a reader found out about the contents of a page (scan.c); 0: nothing. A page that is
 * given out for writing (vs_table_own) has no note. It lies in the page, for all whose page
 * that is, and is copied to the leaf, where many notes lie together. Whoever reads the same
 * bytes notes the same, maybe on several threads at once. */
uint32_t vs_page_note(const VsTable *t, uint32_t page);
void vs_page_set_note(const VsTable *t, uint32_t page, uint32_t note);
static inline uint32_t vs_table_note(const VsTable *t, uint32_t page) {
    uint32_t note =
        vs_loose_get(&t->leaf[page >> VS_LEAF_BITS]->note[page & (VS_LEAF_PAGES - 1)]);
    return note != 0 ? note : vs_page_note(t, page);
}

/* Makes room for page numbers 0..n-1 (not loaded; leaves come with their first page, so
 * that a damaged count costs little). */
VsStatus vs_table_reserve(const VsAlloc *a, VsTable *t, uint32_t n);

/* Makes the leaf of `page` belong to t alone, so that filling or replacing the page is
 * not seen through other tables. The page number must be reserved. */
VsStatus vs_table_own_leaf(const VsAlloc *a, VsTable *t, uint32_t page);

/* Makes the page itself belong to t alone, copying it if it is shared; it must be in
 * memory. */
VsStatus vs_table_own(const VsAlloc *a, const VsGeometry *geo, VsTable *t, uint32_t page,
                      unsigned char **out);

/* Puts a page (and the reference that comes with it) where there was none. On VS_NOMEM
 * the reference stays with the caller. */
VsStatus vs_table_fill(const VsAlloc *a, VsTable *t, uint32_t page, unsigned char *data);

/* Lists a page of `count` slots in use on the geometry's page cache under the key, or puts what
 * is listed there with the same bytes in its place, for all tables that share the leaf. A
 * page that cannot be listed stays what it is. */
void vs_table_share(const VsAlloc *a, const VsGeometry *geo, VsTable *t, uint32_t page,
                    uint32_t count, uint64_t key);

/* Makes the page one that is not loaded, for all tables that share the leaf. */
void vs_table_drop(const VsAlloc *a, VsTable *t, uint32_t page);

/* A second table with the same contents. *to is overwritten. */
VsStatus vs_table_clone(const VsAlloc *a, const VsTable *from, VsTable *to);
void vs_table_clear(const VsAlloc *a, VsTable *t);

/* Stored form of the first `count` slots of a page: at most vs_page_stored_max() bytes at
 * out. */
size_t vs_page_encode(const VsGeometry *geo, VsPageKind kind, uint32_t page, uint64_t ver,
                      const unsigned char *data, uint32_t count, unsigned char *out);
size_t vs_page_stored_max(const VsGeometry *geo);

/* Reads a stored page into `data` (per_page slots; those not stored are zeroed).
 * VS_CORRUPT when magic, version, kind, number, length or checksum are wrong. Values
 * inside slots are not judged here. *ver is the low 32 bits in the header. */
VsStatus vs_page_decode(const VsGeometry *geo, VsPageKind kind, uint32_t page,
                        const unsigned char *blob, size_t len, unsigned char *data,
                        uint32_t *ver);

/* The checksum in the header of a stored page that vs_page_decode has accepted. */
uint32_t vs_page_stored_crc(const unsigned char *blob);

#endif
