/* The stored state, flushing, checkpointing and replaying; see log.h. */
#include "csrc/graph/log.h"

#include <stdlib.h>
#include <string.h>

#include "csrc/base/crc32c.h"
#include "csrc/base/hash.h"

/* ---- the stored state ----------------------------------------------------------- */

/* Of the two forms: kinds of pages and counters. The first is that of a graph that has
 * nothing to put into the others. */
typedef struct Form {
    const char *magic;
    int kinds, counters;
} Form;
static const Form forms[] = {{"VSt1", 4, 17}, {"VSt2", VS_PAGE_KINDS, 23}};
#define STATE_COUNTERS 23

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void counters_of(const VsState *s, uint32_t *w) {
    uint32_t all[STATE_COUNTERS] = {s->n_nodes,
                                    s->n_live,
                                    s->n_dead,
                                    s->free_head,
                                    s->next_seq,
                                    s->entry,
                                    s->max_level,
                                    s->n_upper,
                                    s->upper_free,
                                    s->n_roots,
                                    s->cursor,
                                    s->ef_search,
                                    s->epoch,
                                    s->fitted,
                                    s->clipped,
                                    (uint32_t)s->model,
                                    (uint32_t)(s->model >> 32),
                                    s->n_raw,
                                    s->raw_free,
                                    s->raw_rows,
                                    bits_of(s->blur),
                                    s->judged,
                                    s->blurred};
    memcpy(w, all, sizeof all);
}

/* Where what follows the kinds, and what follows the counters, begins. */
static size_t counters_at(const Form *form) {
    return 12 + 4 * (size_t)form->kinds;
}

static size_t rest_at(const Form *form) {
    return counters_at(form) + 4 * (size_t)form->counters;
}

static size_t form_size(const Form *form) {
    return rest_at(form) + 16;
}

static uint32_t state_crc(const unsigned char *blob, size_t size, uint64_t ver,
                          uint64_t stamp) {
    unsigned char columns[16];
    vs_put_u64(columns, ver);
    vs_put_u64(columns + 8, stamp);
    return vs_crc32c(vs_crc32c(0, blob, size - 4), columns, sizeof columns);
}

int vs_state_format(const VsState *s) {
    return s->n_raw > 0 || s->blur > 0 || s->checkpointed[VS_RAW] > 0 ||
                   s->checkpointed[VS_RAW_AT] > 0
               ? 2
               : 1;
}

size_t vs_state_encode(const VsState *s, const unsigned char *edits, size_t n_edits,
                       int has_edits, unsigned char *out) {
    const Form *form = &forms[vs_state_format(s) - 1];
    uint32_t w[STATE_COUNTERS];
    unsigned char *rest = out + rest_at(form);
    counters_of(s, w);
    memcpy(out, form->magic, 4);
    vs_put_u64(out + 4, s->checkpoint_ver);
    for (int i = 0; i < form->kinds; i++) {
        vs_put_u32(out + 12 + 4 * i, s->checkpointed[i]);
    }
    for (int i = 0; i < form->counters; i++) {
        vs_put_u32(out + counters_at(form) + 4 * (size_t)i, w[i]);
    }
    vs_put_u32(rest, (uint32_t)(has_edits != 0));
    vs_put_u32(rest + 4, (uint32_t)n_edits);
    vs_put_u32(rest + 8, vs_crc32c(0, edits, n_edits));
    vs_put_u32(rest + 12, state_crc(out, form_size(form), s->ver, s->stamp));
    return form_size(form);
}

static int state_sane(const VsState *s) {
    return s->ver <= INT64_MAX / 2 && s->n_nodes <= VS_MAX_NODES &&
           s->n_live <= s->n_nodes && s->n_dead <= s->n_nodes - s->n_live &&
           (s->entry == VS_NIL || s->entry < s->n_nodes) &&
           (s->free_head == VS_NIL || s->free_head < s->n_nodes) &&
           (s->upper_free == VS_NIL || s->upper_free < s->n_upper) &&
           s->n_roots <= s->n_nodes &&
           s->n_upper <= (uint64_t)s->n_nodes * VS_MAX_LEVEL &&
           s->max_level <= VS_MAX_LEVEL && s->checkpoint_ver <= s->ver &&
           s->ef_search > 0 && s->ef_search <= VS_MAX_EF && s->raw_rows <= s->n_raw &&
           s->n_raw <= s->n_nodes && (s->raw_free == VS_NIL || s->raw_free < s->n_raw) &&
           s->blur >= 0 && s->blur < 1e30f && s->blurred <= s->judged;
}

static const Form *form_of(const unsigned char *blob, size_t len) {
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (len == form_size(&forms[i]) && memcmp(blob, forms[i].magic, 4) == 0) {
            return &forms[i];
        }
    }
    return NULL;
}

VsStatus vs_state_decode(const unsigned char *blob, size_t len, uint64_t ver,
                         uint64_t stamp, VsStateRow *out) {
    const Form *form = form_of(blob, len);
    if (form == NULL || vs_get_u32(blob + len - 4) != state_crc(blob, len, ver, stamp)) {
        return VS_CORRUPT;
    }
    uint32_t w[STATE_COUNTERS] = {[18] = VS_NIL}; /* no free RAW slot */
    const unsigned char *rest = blob + rest_at(form);
    for (int i = 0; i < form->counters; i++) {
        w[i] = vs_get_u32(blob + counters_at(form) + 4 * (size_t)i);
    }
    VsStateRow row = {.has_edits = vs_get_u32(rest) != 0,
                      .edits_len = vs_get_u32(rest + 4),
                      .edits_crc = vs_get_u32(rest + 8)};
    row.state = (VsState){.ver = ver,
                          .stamp = stamp,
                          .checkpoint_ver = vs_get_u64(blob + 4),
                          .n_nodes = w[0],
                          .n_live = w[1],
                          .n_dead = w[2],
                          .free_head = w[3],
                          .next_seq = w[4],
                          .entry = w[5],
                          .max_level = w[6],
                          .n_upper = w[7],
                          .upper_free = w[8],
                          .n_roots = w[9],
                          .cursor = w[10],
                          .ef_search = w[11],
                          .epoch = w[12],
                          .fitted = w[13],
                          .clipped = w[14],
                          .model = w[15] | (uint64_t)w[16] << 32,
                          .n_raw = w[17],
                          .raw_free = w[18],
                          .raw_rows = w[19],
                          .judged = w[21],
                          .blurred = w[22]};
    memcpy(&row.state.blur, &w[20], sizeof row.state.blur);
    for (int i = 0; i < form->kinds; i++) {
        row.state.checkpointed[i] = vs_get_u32(blob + 12 + 4 * i);
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

/* ---- flushing ------------------------------------------------------------------- */

static int compare_pages(const void *a, const void *b) {
    const VsPageRef *x = a, *y = b;
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return x->page < y->page ? -1 : x->page > y->page;
}

/* Pages of the overlay and the dirty list, ascending, each once. */
static VsStatus pages_without_checkpoint(const VsGraph *g, VsPageRef **out, size_t *n) {
    size_t count = vs_overlay_page_count(g->overlay), kept = 0;
    VsPageRef *all = vs_alloc(&g->alloc, count + g->n_dirty, sizeof *all);
    if (all == NULL) {
        return VS_NOMEM;
    }
    vs_overlay_list(g->overlay, all);
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

/* The stamp of a state that follows `stamp`, without the fields that checkpointing changes. */
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
    VS_TRY(vs_overlay_add(g->overlay, next.ver, g->redo.data, g->redo.len));
    *edits = g->redo.data;
    *n_edits = g->redo.len;
    flushed(g, &next);
    g->redo.len = 0; /* the bytes stay until the next vs_edit */
    return VS_OK;
}

static uint32_t slots_in_page(const VsGraph *g, const VsPageRef *ref) {
    uint32_t per = g->geo[ref->kind].per_page, used = vs_slots_used(&g->state, ref->kind);
    uint32_t first = ref->page * per;
    return used <= first ? 0 : used - first < per ? used - first : per;
}

/* *crc is the checksum of what is written. */
static VsStatus write_page(VsGraph *g, const VsPageRef *ref, uint64_t ver,
                           unsigned char *blob, VsPageWriter write, void *ctx,
                           uint64_t *hash, uint32_t *crc) {
    uint32_t count = slots_in_page(g, ref);
    VsStatus st = count > 0 ? vs_page_touch(g, ref->kind, ref->page) : VS_OK;
    if (st != VS_OK || count == 0) {
        return st;
    }
    const unsigned char *data = vs_table_get(&g->table[ref->kind], ref->page);
    size_t len =
        vs_page_encode(&g->geo[ref->kind], ref->kind, ref->page, ver, data, count, blob);
    *hash = vs_hash64(*hash, blob, VS_PAGE_HEADER);
    *crc = vs_page_stored_crc(blob);
    return write(ctx, ref->kind, ref->page, ver, blob, len);
}

/* Pages that were written are now what everybody reads. */
static void share_pages(VsGraph *g, const VsPageRef *pages, const uint32_t *crc,
                        size_t n) {
    for (size_t i = 0; i < n; i++) {
        VsPageKind kind = pages[i].kind;
        uint32_t count = slots_in_page(g, &pages[i]);
        if (count > 0 && g->geo[kind].page_cache != NULL) {
            vs_table_share(&g->alloc, &g->geo[kind], &g->table[kind], pages[i].page,
                           count, vs_page_cache_key(kind, pages[i].page, crc[i], 0));
        }
    }
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
    uint32_t *crc = NULL;
    VsStatus st = blob == NULL ? VS_NOMEM : pages_without_checkpoint(g, &pages, &n);
    if (st == VS_OK) {
        crc = vs_alloc(&g->alloc, n, sizeof *crc);
        st = crc == NULL ? VS_NOMEM : VS_OK;
    }
    next.ver += g->changed != 0;
    uint64_t hash = next_stamp(&next);
    for (size_t i = 0; st == VS_OK && i < n; i++) {
        st = write_page(g, &pages[i], next.ver, blob, write, ctx, &hash, &crc[i]);
    }
    if (st == VS_OK) {
        next.stamp = g->changed ? hash : next.stamp;
        next.checkpoint_ver = next.ver;
        for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
            uint32_t per = g->geo[kind].per_page;
            uint32_t used = vs_slots_used(&next, (VsPageKind)kind);
            uint32_t count = used / per + (used % per != 0);
            next.checkpointed[kind] =
                count > next.checkpointed[kind] ? count : next.checkpointed[kind];
        }
        vs_overlay_clear(g->overlay);
        flushed(g, &next);
        g->redo.len = 0;
        share_pages(g, pages, crc, n);
    }
    vs_free(&g->alloc, crc);
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

/* What the edits of a row made of the slots in memory must lie inside the arrays, as what
 * is read from a page. */
static VsStatus judge_replayed(const VsGraph *g, const unsigned char *edits, size_t len) {
    VsStatus st = VS_OK;
    for (size_t at = 0; st == VS_OK && at < len;) {
        VsEdit e;
        st = vs_edit_read(g->geo, edits, len, &at, &e);
        const unsigned char *slot =
            st == VS_OK && e.slot < vs_slots_used(&g->state, e.kind)
                ? vs_slot_loaded(g, e.kind, e.slot)
                : NULL;
        st = slot != NULL ? vs_slot_judge(g, e.kind, slot) : st;
    }
    return st;
}

/* 1 if others may have the same pages. */
static int sharing(const VsGraph *g) {
    VsPageCache *page_cache = g->geo[VS_NODE].page_cache;
    return page_cache != NULL && vs_page_cache_users(page_cache) > 1;
}

/* Pages that a replay has changed: everybody who replays that row has the same then. */
static void share_replayed(VsGraph *g, uint64_t ver, const unsigned char *edits,
                           size_t len) {
    VsEdit e;
    for (size_t at = 0;
         sharing(g) && at < len && vs_edit_read(g->geo, edits, len, &at, &e) == VS_OK;) {
        uint32_t page = vs_page_of(&g->geo[e.kind], e.slot);
        unsigned char *data = vs_table_get(&g->table[e.kind], page);
        if (data != NULL && !vs_page_is_listed(data)) {
            vs_table_share(&g->alloc, &g->geo[e.kind], &g->table[e.kind], page,
                           g->geo[e.kind].per_page,
                           vs_page_cache_key(e.kind, page, 0, ver));
        }
    }
}

VsStatus vs_replay(VsGraph *g, const VsState *state, const unsigned char *edits,
                   size_t len) {
    g->changes++;
    VS_TRY(vs_overlay_add(g->overlay, state->ver, edits, len));
    for (size_t at = 0; at < len;) {
        VsEdit e;
        VS_TRY(vs_edit_read(g->geo, edits, len, &at, &e));
        VS_TRY(replay_edit(g, &e));
    }
    g->state = *state;
    VS_TRY(judge_replayed(g, edits, len));
    share_replayed(g, state->ver, edits, len);
    return VS_OK;
}

void vs_checkpointed_elsewhere(VsGraph *g, uint64_t checkpoint_ver) {
    size_t n = vs_overlay_page_count(g->overlay);
    VsPageRef *pages = sharing(g) ? vs_alloc(&g->alloc, n, sizeof *pages) : NULL;
    if (pages != NULL) {
        vs_overlay_list(g->overlay, pages);
        for (size_t i = 0; i < n; i++) {
            VsTable *t = &g->table[pages[i].kind];
            unsigned char *data = vs_table_get(t, pages[i].page);
            if (data != NULL && !vs_page_is_listed(data)) {
                vs_table_drop(&g->alloc, t, pages[i].page);
            }
        }
        vs_free(&g->alloc, pages);
    }
    vs_overlay_keep(g->overlay, checkpoint_ver, g->state.ver);
}
