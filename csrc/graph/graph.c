/* Opening a graph, reading slots, and changing them with undo and redo; rules in graph.h.
 */
#include "csrc/graph/graph.h"

#include <string.h>

#include "csrc/base/assert.h"
#include "csrc/store/page_cache.h"
#include "csrc/base/hash.h"

uint32_t vs_level_of(const VsParams *params, int64_t rowid) {
    uint64_t hash = vs_mix64((uint64_t)rowid), threshold = UINT64_MAX / params->m;
    uint32_t level = 0;
    if (params->kind == VS_FLAT) {
        return 0;
    }
    while (hash < threshold && level < VS_MAX_LEVEL) {
        level++;
        threshold /= params->m;
    }
    return level;
}

int vs_interrupted(const VsGraph *g) {
    return g->hooks.interrupted != NULL && g->hooks.interrupted(g->hooks.ctx);
}

/* ---- open and close ------------------------------------------------------------- */

VsState vs_state_initial(const VsParams *params) {
    uint32_t words[] = {params->code.dims,
                        (uint32_t)params->code.metric | (uint32_t)params->code.element
                                                            << 8,
                        (uint32_t)params->code.codec,
                        (uint32_t)params->kind,
                        params->m,
                        params->ef_construction,
                        params->page_bytes,
                        (uint32_t)params->code.nav_bits | params->code.pq_m << 8};
    return (VsState){.stamp = vs_hash64(VS_PAGE_VERSION, words, sizeof words),
                     .free_head = VS_NIL,
                     .entry = VS_NIL,
                     .upper_free = VS_NIL,
                     .raw_free = VS_NIL,
                     .ef_search = params->ef_search};
}

static void set_geometry(VsGraph *g) {
    const VsParams *p = &g->params;
    uint32_t links = p->kind == VS_FLAT ? 0 : p->m, size = p->page_bytes;
    uint32_t code = g->codec->code_size(&p->code);
    g->geo[VS_NODE] = vs_geometry(size, VS_NODE_STORED, 2 * links,
                                  (uint32_t)sizeof(VsNode) + 8 * links);
    g->geo[VS_CODE] = vs_geometry(size, code, 0, code);
    g->geo[VS_UPPER] = vs_geometry(size, VS_UPPER_HEAD, links, VS_UPPER_HEAD + 4 * links);
    g->geo[VS_ROOT] = vs_geometry(size, 4, 0, 4);
    uint32_t raw = VS_RAW_HEAD + 4 * p->code.dims;
    g->geo[VS_RAW] = vs_geometry(size, raw, 0, raw);
    g->geo[VS_RAW_AT] = vs_geometry(size, 4, 0, 4);
}

/* For the pages that walks read. */
static VsStatus make_arenas(VsGraph *g) {
    for (int kind = VS_NODE; kind <= VS_CODE; kind++) {
        VsGeometry *geo = &g->geo[kind];
        geo->arena = vs_arena_new(&g->alloc, vs_page_memory(geo));
        if (geo->arena == NULL) {
            return VS_NOMEM;
        }
    }
    return VS_OK;
}

VsStatus vs_graph_open(const VsAlloc *alloc, const VsParams *params, const VsHooks *hooks,
                       VsGraph **out) {
    const VsCodec *codec = vs_codec(params->code.codec);
    if (codec == NULL || !vs_codec_fits(&params->code) || params->code.dims == 0 ||
        params->m < VS_MIN_M || params->m > VS_MAX_M) {
        return VS_RANGE;
    }
    VsGraph *g = vs_alloc_zero(alloc, 1, sizeof *g);
    if (g == NULL) {
        return VS_NOMEM;
    }
    g->alloc = *alloc;
    g->params = *params;
    g->apart = params->code;
    g->apart.metric = g->apart.metric == VS_DOT ? VS_L2 : g->apart.metric;
    g->codec = codec;
    g->hooks = *hooks;
    g->period = 1;
    g->state = vs_state_initial(params);
    set_geometry(g);
    VsStatus st = make_arenas(g);
    if (st == VS_OK) {
        st = vs_overlay_new(&g->alloc, g->geo, &g->overlay);
    }
    if (st == VS_OK) {
        st = vs_scratch_new(&g->alloc, vs_query_bytes(&params->code), &g->scratch);
    }
    if (st != VS_OK) {
        vs_graph_close(g);
        return st;
    }
    *out = g;
    return VS_OK;
}

void vs_graph_share(VsGraph *g, VsPageCache *page_cache) {
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        g->geo[kind].page_cache = page_cache;
        g->geo[kind].kind = (VsPageKind)kind;
    }
}

static void models_free(VsGraph *g) {
    for (int i = 0; i < VS_MODELS; i++) {
        vs_free(&g->alloc, g->models[i]);
        g->models[i] = NULL;
    }
    g->model = NULL;
}

void vs_graph_close(VsGraph *g) {
    if (g == NULL) {
        return;
    }
    VsAlloc a = g->alloc;
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        vs_table_clear(&a, &g->table[kind]);
    }
    vs_overlay_free(g->overlay);
    vs_scratch_free(&a, g->scratch);
    models_free(g);
    vs_arena_close(g->geo[VS_NODE].arena);
    vs_arena_close(g->geo[VS_CODE].arena);
    vs_free(&a, g->redo.data);
    vs_free(&a, g->undo.data);
    vs_free(&a, g->dirty);
    vs_free(&a, g);
}

void vs_forget(VsGraph *g) {
    g->changes++;
    g->redo.len = g->undo.len = 0;
    g->redo_overflow = g->changed = 0;
    g->n_dirty = 0;
    g->period++;
}

VsStatus vs_graph_reset(VsGraph *g, const VsState *state) {
    vs_forget(g);
    vs_overlay_clear(g->overlay);
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        vs_table_clear(&g->alloc, &g->table[kind]);
    }
    g->state = *state;
    for (int kind = 0; kind < VS_PAGE_KINDS; kind++) {
        uint32_t used = vs_slots_used(state, (VsPageKind)kind),
                 per = g->geo[kind].per_page;
        uint32_t pages = used / per + (used % per != 0);
        VS_TRY(vs_table_reserve(&g->alloc, &g->table[kind], pages));
        if (g->geo[kind].page_cache != NULL) {
            vs_page_cache_expect(g->geo[kind].page_cache, (VsPageKind)kind, pages);
        } else if (g->geo[kind].arena != NULL) {
            vs_arena_expect(g->geo[kind].arena, pages);
        }
    }
    return VS_OK;
}

uint32_t vs_slots_used(const VsState *state, VsPageKind kind) {
    switch (kind) {
    case VS_UPPER:
        return state->n_upper;
    case VS_ROOT:
        return state->n_roots;
    case VS_RAW:
        return state->n_raw;
    case VS_RAW_AT:
        return state->n_raw > 0 ? state->n_nodes : 0;
    default:
        return state->n_nodes;
    }
}

/* ---- reading -------------------------------------------------------------------- */

static int link_ok(const VsGraph *g, uint32_t v) {
    return v == VS_NIL || v < g->state.n_nodes;
}

static int links_ok(const VsGraph *g, const unsigned char *links, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (!link_ok(g, vs_get_u32(links + 4 * (size_t)i))) {
            return 0;
        }
    }
    return 1;
}

static int node_ok(const VsGraph *g, const VsNode *node) {
    uint32_t status = node->flags & VS_STATUS_MASK;
    if (status == VS_FREE) {
        return link_ok(g, node->upper);
    }
    return status != 0 && node->level <= VS_MAX_LEVEL &&
           (node->level == 0 ? node->upper == VS_NIL : node->upper < g->state.n_upper);
}

VsStatus vs_slot_judge(const VsGraph *g, VsPageKind kind, const unsigned char *slot) {
    uint32_t head = vs_get_u32(slot), n_links = g->geo[kind].n_links;
    int ok = 1;
    if (kind == VS_NODE) {
        ok = node_ok(g, (const VsNode *)(const void *)slot) &&
             links_ok(g, slot + sizeof(VsNode), n_links);
    } else if (kind == VS_UPPER) {
        ok = (head == VS_NIL || head < g->state.n_upper) &&
             links_ok(g, slot + VS_UPPER_HEAD, n_links);
    } else if (kind == VS_ROOT) {
        ok = head < g->state.n_nodes;
    } else if (kind == VS_RAW) {
        uint32_t next = head & ~VS_RAW_FREE;
        ok = (head & VS_RAW_FREE) == 0 ? head < g->state.n_nodes
                                       : next == VS_RAW_NONE || next < g->state.n_raw;
    }
    return ok ? VS_OK : VS_CORRUPT;
}

VsStatus vs_page_judge(const VsGraph *g, VsPageKind kind, uint32_t page,
                       const unsigned char *data) {
    const VsGeometry *geo = &g->geo[kind];
    uint32_t first = page * geo->per_page, used = vs_slots_used(&g->state, kind);
    for (uint32_t i = 0; i < geo->per_page && first + i < used; i++) {
        VS_TRY(vs_slot_judge(g, kind, data + (size_t)i * geo->slot_size));
    }
    return VS_OK;
}

VsStatus vs_graph_judge(const VsGraph *g) {
    size_t in_log = vs_overlay_page_count(g->overlay);
    for (int k = 0; k < VS_PAGE_KINDS; k++) {
        uint32_t used = vs_slots_used(&g->state, (VsPageKind)k), per = g->geo[k].per_page;
        uint32_t pages = used / per + (used % per != 0);
        if (k != VS_RAW_AT && pages > g->state.checkpointed[k] &&
            pages - g->state.checkpointed[k] > in_log) {
            return VS_CORRUPT;
        }
    }
    return VS_OK;
}

/* Reads the page as it stands on disk; a page that was never checkpointed begins as zeros. *crc
 * is that of the stored bytes. */
static VsStatus read_stored(VsGraph *g, VsPageKind kind, uint32_t page,
                            unsigned char *data, uint64_t *ver, uint32_t *crc) {
    const unsigned char *blob = NULL;
    size_t len = 0;
    *ver = 0;
    *crc = 0;
    if (g->hooks.load == NULL || page >= g->state.checkpointed[kind]) {
        return VS_OK;
    }
    uint32_t ver32 = 0;
    VsStatus st = g->hooks.load(g->hooks.ctx, kind, page, &blob, &len, ver);
    if (st == VS_OK) {
        if (blob == NULL) { /* only around raw rows are there such pages (raw.h) */
            st = kind == VS_RAW_AT ? VS_OK : VS_CORRUPT;
            *ver = 0;
        } else {
            st = vs_page_decode(&g->geo[kind], kind, page, blob, len, data, &ver32);
            st = st == VS_OK && ver32 != (uint32_t)*ver ? VS_CORRUPT : st;
            *crc = st == VS_OK ? vs_page_stored_crc(blob) : 0;
        }
        g->hooks.load_done(g->hooks.ctx);
    }
    return st;
}

/* Reads a page into `data` and judges it; *key is the one for a page cache. */
static VsStatus read_page(VsGraph *g, VsPageKind kind, uint32_t page, unsigned char *data,
                          uint64_t *key) {
    uint64_t ver;
    uint32_t crc;
    VS_TRY(read_stored(g, kind, page, data, &ver, &crc));
    uint64_t last = vs_overlay_apply(g->overlay, kind, page, ver, data);
    *key = vs_page_cache_key(kind, page, crc, last);
    return vs_page_judge(g, kind, page, data);
}

/* Loads a page; `share`: it is for reading, and may be the one that others read. */
static VsStatus load_page(VsGraph *g, VsPageKind kind, uint32_t page, int share) {
    if (page >= g->table[kind].n_leaves * VS_LEAF_PAGES) {
        return VS_CORRUPT;
    }
    unsigned char *data = vs_page_new(&g->alloc, &g->geo[kind]);
    if (data == NULL) {
        return VS_NOMEM;
    }
    uint64_t key = 0;
    VsStatus st = read_page(g, kind, page, data, &key);
    if (st == VS_OK) {
        st = vs_table_fill(&g->alloc, &g->table[kind], page, data);
    }
    if (st != VS_OK) {
        vs_page_release(&g->alloc, data);
    } else if (share && g->geo[kind].page_cache != NULL) {
        vs_table_share(&g->alloc, &g->geo[kind], &g->table[kind], page,
                       g->geo[kind].per_page, key);
    }
    return st;
}

VsStatus vs_page_touch(VsGraph *g, VsPageKind kind, uint32_t page) {
    return vs_table_get(&g->table[kind], page) != NULL ? VS_OK
                                                       : load_page(g, kind, page, 1);
}

VsStatus vs_slot_load(VsGraph *g, VsPageKind kind, uint32_t slot,
                      const unsigned char **out) {
    VS_TRY(vs_page_touch(g, kind, vs_page_of(&g->geo[kind], slot)));
    *out = vs_slot_loaded(g, kind, slot);
    return VS_OK;
}

VsStatus vs_list(VsGraph *g, uint32_t node, uint32_t layer, VsList *out) {
    const VsNode *n = NULL;
    const unsigned char *p = NULL;
    VS_TRY(vs_node(g, node, &n));
    if (layer == 0) {
        *out = (VsList){VS_NODE, node, (uint32_t)sizeof(VsNode), g->geo[VS_NODE].n_links,
                        (const uint32_t *)(const void *)(n + 1)};
        return VS_OK;
    }
    if (layer > n->level) {
        return VS_CORRUPT;
    }
    uint32_t slot = n->upper;
    VsStatus st = VS_OK;
    for (uint32_t i = 1;; i++) {
        st = slot < g->state.n_upper ? vs_slot(g, VS_UPPER, slot, &p) : VS_CORRUPT;
        if (st != VS_OK || i == layer) {
            break;
        }
        slot = vs_get_u32(p);
    }
    if (st == VS_OK) {
        *out = (VsList){VS_UPPER, slot, VS_UPPER_HEAD, g->geo[VS_UPPER].n_links,
                        (const uint32_t *)(const void *)(p + VS_UPPER_HEAD)};
    }
    return st;
}

uint32_t vs_list_length(const VsList *list) {
    uint32_t n = 0;
    while (n < list->cap && list->links[n] != VS_NIL) {
        n++;
    }
    return n;
}

/* ---- changing ------------------------------------------------------------------- */

/* Beyond this a flush writes pages instead of a log row. */
#define REDO_LIMIT ((size_t)1 << 20)

typedef struct UndoHead {
    uint32_t kind, slot, offset, len;
} UndoHead;

static VsStatus mark_dirty(VsGraph *g, VsPageKind kind, uint32_t page,
                           unsigned char *data) {
    uint64_t *mark = vs_page_mark(data);
    if (*mark == g->period) {
        return VS_OK;
    }
    VS_TRY(vs_grow(&g->alloc, (void **)&g->dirty, &g->cap_dirty, g->n_dirty + 1,
                   sizeof *g->dirty));
    g->dirty[g->n_dirty++] = (VsPageRef){kind, page};
    *mark = g->period;
    return VS_OK;
}

/* A slot for writing: its page is in memory, belongs to this graph alone and is marked.
 */
static VsStatus slot_for_write(VsGraph *g, VsPageKind kind, uint32_t slot,
                               unsigned char **out) {
    const VsGeometry *geo = &g->geo[kind];
    uint32_t page = vs_page_of(geo, slot);
    unsigned char *data = NULL;
    VS_TRY(vs_table_reserve(&g->alloc, &g->table[kind], page + 1));
    if (vs_table_get(&g->table[kind], page) == NULL) {
        VS_TRY(load_page(g, kind, page, 0));
    }
    VS_TRY(vs_table_own(&g->alloc, geo, &g->table[kind], page, &data));
    VS_TRY(mark_dirty(g, kind, page, data));
    *out = data + (size_t)(slot - page * geo->per_page) * geo->slot_size;
    return VS_OK;
}

static VsStatus reserve_edit(VsGraph *g, uint32_t len) {
    VsStatus st = vs_buffer_reserve(&g->alloc, &g->undo, len + sizeof(UndoHead));
    if (st == VS_OK && !g->redo_overflow) {
        if (g->redo.len + len + VS_EDIT_HEAD > REDO_LIMIT) {
            g->redo_overflow = 1;
            vs_free(&g->alloc, g->redo.data);
            g->redo = (VsBuffer){0};
        } else {
            st = vs_buffer_reserve(&g->alloc, &g->redo, len + VS_EDIT_HEAD);
        }
    }
    return st;
}

VsStatus vs_edit(VsGraph *g, VsPageKind kind, uint32_t slot, uint32_t offset,
                 const void *bytes, uint32_t len) {
    unsigned char *p = NULL;
    VS_ASSERT(g->in_statement);
    VS_TRY(slot_for_write(g, kind, slot, &p));
    VS_TRY(reserve_edit(g, len));
    UndoHead head = {(uint32_t)kind, slot, offset, len};
    memcpy(g->undo.data + g->undo.len, p + offset, len);
    memcpy(g->undo.data + g->undo.len + len, &head, sizeof head);
    g->undo.len += len + sizeof head;
    if (!g->redo_overflow) {
        vs_edit_write(&g->redo, kind, slot, offset, bytes, len);
    }
    memcpy(p + offset, bytes, len);
    g->changed = 1;
    return VS_OK;
}

void vs_begin(VsGraph *g) {
    VS_ASSERT(!g->in_statement);
    g->in_statement = 1;
    g->changes++;
    g->undo.len = 0;
    g->undo_state = g->state;
    g->undo_redo_len = g->redo.len;
    g->undo_changed = g->changed;
}

void vs_undo(VsGraph *g) {
    VS_ASSERT(g->in_statement);
    g->in_statement = 0;
    while (g->undo.len > 0) {
        UndoHead head;
        g->undo.len -= sizeof head;
        memcpy(&head, g->undo.data + g->undo.len, sizeof head);
        g->undo.len -= head.len;
        const VsGeometry *geo = &g->geo[head.kind];
        uint32_t page = vs_page_of(geo, head.slot);
        unsigned char *data = vs_table_get(&g->table[head.kind], page);
        memcpy(data + (size_t)(head.slot - page * geo->per_page) * geo->slot_size +
                   head.offset,
               g->undo.data + g->undo.len, head.len);
        vs_page_set_note(&g->table[head.kind], page, 0);
    }
    g->state = g->undo_state;
    if (!g->redo_overflow) {
        g->redo.len = g->undo_redo_len;
    }
    g->changed = g->undo_changed;
}

void vs_done(VsGraph *g) {
    VS_ASSERT(g->in_statement);
    g->in_statement = 0;
    g->undo.len = 0;
}
