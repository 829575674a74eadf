/* The edits of log rows, found by page; see overlay.h. */
#include "csrc/store/overlay.h"

#include <string.h>

typedef struct OverlayRow {
    uint64_t ver;
    unsigned char *data;
    size_t len;
} OverlayRow;

/* One edit in the list of its page; lists are in the order of writing. */
typedef struct OverlayRef {
    uint32_t row;
    uint32_t next; /* VS_NIL at the end */
    size_t at;
} OverlayRef;

typedef struct OverlayPage {
    uint64_t key; /* page_key, 0: empty place of the hash table */
    uint32_t head, tail;
} OverlayPage;

struct VsOverlay {
    const VsAlloc *alloc;
    const VsGeometry *geo; /* one of each kind */
    OverlayRow *rows;
    size_t n_rows, cap_rows;
    OverlayRef *refs;
    size_t n_refs, cap_refs;
    OverlayPage *pages; /* open addressing, a power of two, at most half full */
    size_t n_pages, cap_pages;
    size_t bytes;
};

static uint64_t page_key(VsPageKind kind, uint32_t page) {
    return ((uint64_t)kind << 32 | page) + 1;
}

static OverlayPage *find_place(const VsOverlay *o, uint64_t key) {
    size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> 32) & (o->cap_pages - 1);
    while (o->pages[i].key != 0 && o->pages[i].key != key) {
        i = (i + 1) & (o->cap_pages - 1);
    }
    return &o->pages[i];
}

static VsStatus reserve_page(VsOverlay *o) {
    const VsAlloc *a = o->alloc;
    if (o->cap_pages >= 2 * (o->n_pages + 1)) {
        return VS_OK;
    }
    size_t cap = o->cap_pages == 0 ? 64 : o->cap_pages * 2, old_cap = o->cap_pages;
    OverlayPage *old = o->pages, *pages = vs_alloc_zero(a, cap, sizeof *pages);
    if (pages == NULL) {
        return VS_NOMEM;
    }
    o->pages = pages;
    o->cap_pages = cap;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].key != 0) {
            *find_place(o, old[i].key) = old[i];
        }
    }
    vs_free(a, old);
    return VS_OK;
}

VsStatus vs_overlay_new(const VsAlloc *a, const VsGeometry *geo, VsOverlay **out) {
    VsOverlay *o = vs_alloc_zero(a, 1, sizeof *o);
    if (o == NULL) {
        return VS_NOMEM;
    }
    o->alloc = a;
    o->geo = geo;
    *out = o;
    return VS_OK;
}

/* Empties the map but keeps its memory, so that it can be filled again without failing.
 */
static void forget_refs(VsOverlay *o) {
    o->n_refs = o->n_pages = 0;
    if (o->cap_pages > 0) {
        memset(o->pages, 0, o->cap_pages * sizeof *o->pages);
    }
}

void vs_overlay_clear(VsOverlay *o) {
    for (size_t i = 0; i < o->n_rows; i++) {
        vs_free(o->alloc, o->rows[i].data);
    }
    o->n_rows = o->bytes = 0;
    forget_refs(o);
}

void vs_overlay_free(VsOverlay *o) {
    if (o != NULL) {
        const VsAlloc *a = o->alloc;
        vs_overlay_clear(o);
        vs_free(a, o->rows);
        vs_free(a, o->refs);
        vs_free(a, o->pages);
        vs_free(a, o);
    }
}

size_t vs_overlay_bytes(const VsOverlay *o) {
    return o->bytes;
}

static VsStatus index_edit(VsOverlay *o, const VsEdit *e, uint32_t row, size_t at) {
    VS_TRY(reserve_page(o));
    VS_TRY(vs_grow(o->alloc, (void **)&o->refs, &o->cap_refs, o->n_refs + 1,
                   sizeof *o->refs));
    uint64_t key = page_key(e->kind, vs_page_of(&o->geo[e->kind], e->slot));
    OverlayPage *place = find_place(o, key);
    uint32_t ref = (uint32_t)o->n_refs++;
    o->refs[ref] = (OverlayRef){row, VS_NIL, at};
    if (place->key == 0) {
        *place = (OverlayPage){key, ref, ref};
        o->n_pages++;
    } else {
        o->refs[place->tail].next = ref;
        place->tail = ref;
    }
    return VS_OK;
}

static VsStatus index_row(VsOverlay *o, uint32_t row) {
    OverlayRow *r = &o->rows[row];
    VsStatus st = VS_OK;
    for (size_t at = 0; st == VS_OK && at < r->len;) {
        size_t begin = at;
        VsEdit e;
        st = vs_edit_read(o->geo, r->data, r->len, &at, &e);
        if (st == VS_OK) {
            st = index_edit(o, &e, row, begin);
        }
    }
    return st;
}

void vs_overlay_keep(VsOverlay *o, uint64_t after, uint64_t upto) {
    size_t kept = 0;
    for (size_t i = 0; i < o->n_rows; i++) {
        if (o->rows[i].ver > after && o->rows[i].ver <= upto) {
            o->rows[kept++] = o->rows[i];
        } else {
            o->bytes -= o->rows[i].len;
            vs_free(o->alloc, o->rows[i].data);
        }
    }
    if (kept == o->n_rows) {
        return;
    }
    o->n_rows = kept;
    forget_refs(o);
    for (uint32_t i = 0; i < kept; i++) {
        (void)index_row(o, i); /* it fitted before, and the memory is still there */
    }
}

VsStatus vs_overlay_add(VsOverlay *o, uint64_t ver, const unsigned char *edits,
                        size_t len) {
    VsStatus st = vs_grow(o->alloc, (void **)&o->rows, &o->cap_rows, o->n_rows + 1,
                          sizeof *o->rows);
    if (st == VS_OK) { /* an edit takes some 20 bytes: room for all at once */
        st = vs_grow(o->alloc, (void **)&o->refs, &o->cap_refs, o->n_refs + len / 16,
                     sizeof *o->refs);
    }
    unsigned char *copy = st == VS_OK ? vs_alloc(o->alloc, 1, len) : NULL;
    if (copy == NULL) {
        return VS_NOMEM;
    }
    if (len > 0) {
        memcpy(copy, edits, len);
    }
    uint64_t before = o->n_rows > 0 ? o->rows[o->n_rows - 1].ver : 0;
    o->rows[o->n_rows++] = (OverlayRow){ver, copy, len};
    o->bytes += len;
    st = index_row(o, (uint32_t)(o->n_rows - 1));
    if (st != VS_OK) {
        vs_overlay_keep(o, 0, before);
    }
    return st;
}

uint64_t vs_overlay_apply(const VsOverlay *o, VsPageKind kind, uint32_t page,
                          uint64_t after, unsigned char *data) {
    uint64_t last = 0;
    if (o->n_pages == 0) {
        return last;
    }
    const VsGeometry *geo = &o->geo[kind];
    const OverlayPage *place = find_place(o, page_key(kind, page));
    for (uint32_t i = place->key == 0 ? VS_NIL : place->head; i != VS_NIL;
         i = o->refs[i].next) {
        const OverlayRow *row = &o->rows[o->refs[i].row];
        size_t at = o->refs[i].at;
        VsEdit e;
        if (row->ver > after &&
            vs_edit_read(o->geo, row->data, row->len, &at, &e) == VS_OK) {
            memcpy(data + (size_t)(e.slot - page * geo->per_page) * geo->slot_size +
                       e.offset,
                   e.bytes, e.len);
            last = row->ver;
        }
    }
    return last;
}

size_t vs_overlay_page_count(const VsOverlay *o) {
    return o->n_pages;
}

void vs_overlay_list(const VsOverlay *o, VsPageRef *out) {
    for (size_t i = 0; i < o->cap_pages; i++) {
        if (o->pages[i].key != 0) {
            uint64_t key = o->pages[i].key - 1;
            *out++ = (VsPageRef){(VsPageKind)(key >> 32), (uint32_t)key};
        }
    }
}
