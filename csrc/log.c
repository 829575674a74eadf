/* Slot edits, their overlay, the stored state, and flushing; formats in log.h. */
#include "log.h"

#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

/* ---- buffers and edits ---------------------------------------------------------- */

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
    b->data[b->len++] = (unsigned char)kind;
    put_varint(b, slot);
    put_varint(b, offset);
    put_varint(b, len);
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

VsStatus vs_edit_read(const VsGraph *g, const unsigned char *data, size_t len, size_t *at,
                      VsEdit *out) {
    if (*at >= len || data[*at] >= VS_PAGE_KINDS) {
        return VS_CORRUPT;
    }
    VsEdit e = {.kind = (VsPageKind)data[(*at)++]};
    if (get_varint(data, len, at, &e.slot) != VS_OK ||
        get_varint(data, len, at, &e.offset) != VS_OK ||
        get_varint(data, len, at, &e.len) != VS_OK || e.len > len - *at ||
        (uint64_t)e.offset + e.len > g->geo[e.kind].slot_size || e.slot > VS_MAX_NODES) {
        return VS_CORRUPT;
    }
    e.bytes = data + *at;
    *at += e.len;
    *out = e;
    return VS_OK;
}

/* ---- the stored state ----------------------------------------------------------- */

#define STATE_COUNTERS 12

static void counters_of(const VsState *s, uint32_t *w) {
    uint32_t all[STATE_COUNTERS] = {
        s->n_nodes,   s->n_live,  s->n_dead,     s->free_head, s->next_seq, s->entry,
        s->max_level, s->n_upper, s->upper_free, s->n_seeds,   s->cursor,   s->ef_search};
    memcpy(w, all, sizeof all);
}

static uint32_t state_crc(const unsigned char *blob, uint64_t ver, uint64_t stamp) {
    unsigned char columns[16];
    vs_put_u64(columns, ver);
    vs_put_u64(columns + 8, stamp);
    return vs_crc32c(vs_crc32c(0, blob, 88), columns, sizeof columns);
}

void vs_state_encode(const VsState *s, const unsigned char *edits, size_t n_edits,
                     int has_edits, unsigned char *out) {
    uint32_t w[STATE_COUNTERS];
    counters_of(s, w);
    memcpy(out, "VSt1", 4);
    vs_put_u64(out + 4, s->fold_ver);
    for (int i = 0; i < VS_PAGE_KINDS; i++) {
        vs_put_u32(out + 12 + 4 * i, s->folded[i]);
    }
    for (int i = 0; i < STATE_COUNTERS; i++) {
        vs_put_u32(out + 28 + 4 * i, w[i]);
    }
    vs_put_u32(out + 76, (uint32_t)(has_edits != 0));
    vs_put_u32(out + 80, (uint32_t)n_edits);
    vs_put_u32(out + 84, vs_crc32c(0, edits, n_edits));
    vs_put_u32(out + 88, state_crc(out, s->ver, s->stamp));
}

static int state_sane(const VsState *s) {
    return s->ver <= INT64_MAX / 2 && s->n_nodes <= VS_MAX_NODES &&
           s->n_live <= s->n_nodes && s->n_dead <= s->n_nodes - s->n_live &&
           (s->entry == VS_NIL || s->entry < s->n_nodes) &&
           (s->free_head == VS_NIL || s->free_head < s->n_nodes) &&
           (s->upper_free == VS_NIL || s->upper_free < s->n_upper) &&
           s->n_seeds <= s->n_nodes && s->n_upper <= VS_MAX_NODES &&
           s->max_level <= VS_MAX_LEVEL && s->fold_ver <= s->ver && s->ef_search > 0;
}

VsStatus vs_state_decode(const unsigned char *blob, size_t len, uint64_t ver,
                         uint64_t stamp, VsStateRow *out) {
    if (len != VS_STATE_SIZE || memcmp(blob, "VSt1", 4) != 0 ||
        vs_get_u32(blob + 88) != state_crc(blob, ver, stamp)) {
        return VS_CORRUPT;
    }
    uint32_t w[STATE_COUNTERS];
    for (int i = 0; i < STATE_COUNTERS; i++) {
        w[i] = vs_get_u32(blob + 28 + 4 * i);
    }
    VsStateRow row = {.has_edits = vs_get_u32(blob + 76) != 0,
                      .edits_len = vs_get_u32(blob + 80),
                      .edits_crc = vs_get_u32(blob + 84)};
    row.state = (VsState){.ver = ver,
                          .stamp = stamp,
                          .fold_ver = vs_get_u64(blob + 4),
                          .n_nodes = w[0],
                          .n_live = w[1],
                          .n_dead = w[2],
                          .free_head = w[3],
                          .next_seq = w[4],
                          .entry = w[5],
                          .max_level = w[6],
                          .n_upper = w[7],
                          .upper_free = w[8],
                          .n_seeds = w[9],
                          .cursor = w[10],
                          .ef_search = w[11]};
    for (int i = 0; i < VS_PAGE_KINDS; i++) {
        row.state.folded[i] = vs_get_u32(blob + 12 + 4 * i);
    }
    if (!state_sane(&row.state)) {
        return VS_CORRUPT;
    }
    *out = row;
    return VS_OK;
}

VsStatus vs_state_check_edits(const VsStateRow *row, const unsigned char *edits,
                              size_t len) {
    return row->edits_len == len && row->edits_crc == vs_crc32c(0, edits, len)
               ? VS_OK
               : VS_CORRUPT;
}

/* ---- overlay -------------------------------------------------------------------- */

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

static VsStatus reserve_page(const VsAlloc *a, VsOverlay *o) {
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

VsStatus vs_overlay_new(const VsAlloc *a, VsOverlay **out) {
    *out = vs_alloc_zero(a, 1, sizeof **out);
    return *out == NULL ? VS_NOMEM : VS_OK;
}

/* Empties the map but keeps its memory, so that it can be filled again without failing.
 */
static void forget_refs(VsOverlay *o) {
    o->n_refs = o->n_pages = 0;
    if (o->cap_pages > 0) {
        memset(o->pages, 0, o->cap_pages * sizeof *o->pages);
    }
}

void vs_overlay_clear(const VsAlloc *a, VsOverlay *o) {
    for (size_t i = 0; i < o->n_rows; i++) {
        vs_free(a, o->rows[i].data);
    }
    o->n_rows = o->bytes = 0;
    forget_refs(o);
}

void vs_overlay_free(const VsAlloc *a, VsOverlay *o) {
    if (o != NULL) {
        vs_overlay_clear(a, o);
        vs_free(a, o->rows);
        vs_free(a, o->refs);
        vs_free(a, o->pages);
        vs_free(a, o);
    }
}

size_t vs_overlay_bytes(const VsOverlay *o) {
    return o->bytes;
}

static VsStatus index_edit(VsGraph *g, const VsEdit *e, uint32_t row, size_t at) {
    VsOverlay *o = g->overlay;
    VsStatus st = reserve_page(&g->alloc, o);
    if (st == VS_OK) {
        st = vs_grow(&g->alloc, (void **)&o->refs, &o->cap_refs, o->n_refs + 1,
                     sizeof *o->refs);
    }
    if (st != VS_OK) {
        return st;
    }
    uint64_t key = page_key(e->kind, vs_page_of(&g->geo[e->kind], e->slot));
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

static VsStatus index_row(VsGraph *g, uint32_t row) {
    OverlayRow *r = &g->overlay->rows[row];
    VsStatus st = VS_OK;
    for (size_t at = 0; st == VS_OK && at < r->len;) {
        size_t begin = at;
        VsEdit e;
        st = vs_edit_read(g, r->data, r->len, &at, &e);
        if (st == VS_OK) {
            st = index_edit(g, &e, row, begin);
        }
    }
    return st;
}

void vs_overlay_keep(VsGraph *g, uint64_t after, uint64_t upto) {
    VsOverlay *o = g->overlay;
    size_t kept = 0;
    for (size_t i = 0; i < o->n_rows; i++) {
        if (o->rows[i].ver > after && o->rows[i].ver <= upto) {
            o->rows[kept++] = o->rows[i];
        } else {
            o->bytes -= o->rows[i].len;
            vs_free(&g->alloc, o->rows[i].data);
        }
    }
    if (kept == o->n_rows) {
        return;
    }
    o->n_rows = kept;
    forget_refs(o);
    for (uint32_t i = 0; i < kept; i++) {
        (void)index_row(g, i); /* it fitted before, and the memory is still there */
    }
}

VsStatus vs_overlay_add(VsGraph *g, uint64_t ver, const unsigned char *edits,
                        size_t len) {
    VsOverlay *o = g->overlay;
    VsStatus st = vs_grow(&g->alloc, (void **)&o->rows, &o->cap_rows, o->n_rows + 1,
                          sizeof *o->rows);
    if (st == VS_OK) { /* an edit takes some 20 bytes: room for all at once */
        st = vs_grow(&g->alloc, (void **)&o->refs, &o->cap_refs, o->n_refs + len / 16,
                     sizeof *o->refs);
    }
    unsigned char *copy = st == VS_OK ? vs_alloc(&g->alloc, 1, len) : NULL;
    if (copy == NULL) {
        return VS_NOMEM;
    }
    if (len > 0) {
        memcpy(copy, edits, len);
    }
    uint64_t before = o->n_rows > 0 ? o->rows[o->n_rows - 1].ver : 0;
    o->rows[o->n_rows++] = (OverlayRow){ver, copy, len};
    o->bytes += len;
    st = index_row(g, (uint32_t)(o->n_rows - 1));
    if (st != VS_OK) {
        vs_overlay_keep(g, 0, before);
    }
    return st;
}

void vs_overlay_apply(const VsGraph *g, VsPageKind kind, uint32_t page, uint64_t after,
                      unsigned char *data) {
    const VsOverlay *o = g->overlay;
    if (o->n_pages == 0) {
        return;
    }
    const VsGeometry *geo = &g->geo[kind];
    const OverlayPage *place = find_place(o, page_key(kind, page));
    for (uint32_t i = place->key == 0 ? VS_NIL : place->head; i != VS_NIL;
         i = o->refs[i].next) {
        const OverlayRow *row = &o->rows[o->refs[i].row];
        size_t at = o->refs[i].at;
        VsEdit e;
        if (row->ver > after && vs_edit_read(g, row->data, row->len, &at, &e) == VS_OK) {
            memcpy(data + (size_t)(e.slot - page * geo->per_page) * geo->slot_size +
                       e.offset,
                   e.bytes, e.len);
        }
    }
}

static int compare_pages(const void *a, const void *b) {
    const VsPageRef *x = a, *y = b;
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return x->page < y->page ? -1 : x->page > y->page;
}

/* Pages of the overlay and the dirty list, ascending, each once. */
static VsStatus unfolded_pages(const VsGraph *g, VsPageRef **out, size_t *n) {
    const VsOverlay *o = g->overlay;
    VsPageRef *all = vs_alloc(&g->alloc, o->n_pages + g->n_dirty, sizeof *all);
    if (all == NULL) {
        return VS_NOMEM;
    }
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < o->cap_pages; i++) {
        if (o->pages[i].key != 0) {
            uint64_t key = o->pages[i].key - 1;
            all[count++] = (VsPageRef){(VsPageKind)(key >> 32), (uint32_t)key};
        }
    }
    for (size_t i = 0; i < g->n_dirty; i++) {
        all[count++] = g->dirty[i];
    }
    qsort(all, count, sizeof *all, compare_pages);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_pages(&all[kept - 1], &all[i]) != 0) {
            all[kept++] = all[i];
        }
    }
    *out = all;
    *n = kept;
    return VS_OK;
}

/* ---- flushing ------------------------------------------------------------------- */

/* The stamp of a state that follows `stamp`, without the fields that folding changes. */
static uint64_t next_stamp(const VsState *s) {
    uint32_t w[STATE_COUNTERS];
    counters_of(s, w);
    return vs_hash64(vs_mix64(s->stamp ^ s->ver), w, sizeof w);
}

static void flushed(VsGraph *g, const VsState *state) {
    g->state = *state;
    g->undo.len = 0;
    g->redo_overflow = g->changed = 0;
    g->n_dirty = 0;
    g->period++;
}

VsStatus vs_flush_log(VsGraph *g, const unsigned char **edits, size_t *n_edits) {
    VsState next = g->state;
    next.ver++;
    next.stamp = vs_hash64(next_stamp(&next), g->redo.data, g->redo.len);
    VsStatus st = vs_overlay_add(g, next.ver, g->redo.data, g->redo.len);
    if (st == VS_OK) {
        *edits = g->redo.data;
        *n_edits = g->redo.len;
        flushed(g, &next);
        g->redo.len = 0; /* the bytes stay until the next vs_edit */
    }
    return st;
}

static uint32_t slots_in_page(const VsGraph *g, const VsPageRef *ref) {
    uint32_t per = g->geo[ref->kind].per_page, used = vs_slots_used(&g->state, ref->kind);
    uint32_t first = ref->page * per;
    return used <= first ? 0 : used - first < per ? used - first : per;
}

static VsStatus write_page(VsGraph *g, const VsPageRef *ref, uint64_t ver,
                           unsigned char *blob, VsPageWriter write, void *ctx,
                           uint64_t *hash) {
    uint32_t count = slots_in_page(g, ref);
    VsStatus st = count > 0 ? vs_page_touch(g, ref->kind, ref->page) : VS_OK;
    if (st != VS_OK || count == 0) {
        return st;
    }
    const unsigned char *data = vs_table_get(&g->table[ref->kind], ref->page);
    size_t len =
        vs_page_encode(&g->geo[ref->kind], ref->kind, ref->page, ver, data, count, blob);
    *hash = vs_hash64(*hash, blob, VS_PAGE_HEADER);
    return write(ctx, ref->kind, ref->page, ver, blob, len);
}

VsStatus vs_flush_pages(VsGraph *g, VsPageWriter write, void *ctx) {
    VsPageRef *pages = NULL;
    size_t n = 0, room = 0;
    VsState next = g->state;
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        size_t max = vs_page_stored_max(&g->geo[kind]);
        room = max > room ? max : room;
    }
    unsigned char *blob = vs_alloc(&g->alloc, 1, room);
    VsStatus st = blob == NULL ? VS_NOMEM : unfolded_pages(g, &pages, &n);
    next.ver += g->changed != 0;
    uint64_t hash = next_stamp(&next);
    for (size_t i = 0; st == VS_OK && i < n; i++) {
        st = write_page(g, &pages[i], next.ver, blob, write, ctx, &hash);
    }
    if (st == VS_OK) {
        next.stamp = g->changed ? hash : next.stamp;
        next.fold_ver = next.ver;
        for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
            uint32_t per = g->geo[kind].per_page;
            uint32_t used = vs_slots_used(&next, (VsPageKind)kind);
            uint32_t count = used / per + (used % per != 0);
            next.folded[kind] = count > next.folded[kind] ? count : next.folded[kind];
        }
        vs_overlay_clear(&g->alloc, g->overlay);
        flushed(g, &next);
        g->redo.len = 0;
    }
    vs_free(&g->alloc, pages);
    vs_free(&g->alloc, blob);
    return st;
}

static VsStatus replay_edit(VsGraph *g, const VsEdit *e) {
    const VsGeometry *geo = &g->geo[e->kind];
    VsTable *t = &g->table[e->kind];
    uint32_t page = vs_page_of(geo, e->slot);
    VsStatus st = vs_table_reserve(&g->alloc, t, page + 1);
    if (st != VS_OK || vs_table_get(t, page) == NULL) {
        /* Not loaded: it will be, with the overlay; older snapshots must not see that
         * page. */
        return st == VS_OK ? vs_table_own_leaf(&g->alloc, t, page) : st;
    }
    unsigned char *data = NULL;
    st = vs_table_own(&g->alloc, geo, t, page, &data);
    if (st == VS_OK) {
        memcpy(data + (size_t)(e->slot - page * geo->per_page) * geo->slot_size +
                   e->offset,
               e->bytes, e->len);
    }
    return st;
}

VsStatus vs_replay(VsGraph *g, const VsState *state, const unsigned char *edits,
                   size_t len) {
    VsStatus st = vs_overlay_add(g, state->ver, edits, len);
    for (size_t at = 0; st == VS_OK && at < len;) {
        VsEdit e;
        st = vs_edit_read(g, edits, len, &at, &e);
        if (st == VS_OK) {
            st = replay_edit(g, &e);
        }
    }
    if (st == VS_OK) {
        g->state = *state;
    }
    return st;
}
