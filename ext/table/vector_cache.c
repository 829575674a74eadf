/* Vectors of rows, kept in memory; see vector_cache.h. */
#include "ext/table/vector_cache.h"

#include <stdlib.h>
#include <string.h>

#include "csrc/base/arena.h"
#include "csrc/base/budget.h"
#include "csrc/kernel/batch.h"
#include "ext/table/errors.h"

#define MOST_MIB (1L << 24)
#define LEAF 128          /* places */
#define SHARE_OF_A_HEAP 4 /* that SQLite limits */

typedef struct Place {
    void *vector; /* NULL: no memory was taken for it yet */
    VsChunk *chunk;
    uint32_t node, seq; /* of that vector */
    uint32_t filling;   /* when it was put; of another filling it is nobody's */
} Place;

struct VsxCache {
    VsArena *arena;
    Place **leaf;     /* NULL: none of its places was used */
    size_t n, leaves; /* places, and leaves that were made */
    size_t most;      /* places for the limit */
    size_t taken;     /* places that have memory */
    size_t size;      /* of a vector */
    size_t charged;   /* to the account of the process */
    sqlite3_int64 limit, option;
    uint32_t filling;      /* one more each time that all is forgotten; never 0 */
    uint32_t next_seq;     /* of the graph when the cache was last used */
    unsigned data_version; /* of a content table: what its vectors stand for */
    int fills;             /* what the running statement reads may be kept */
};

/* The place of a node; NULL: its leaf was not made. */
static Place *place_of(const VsxCache *c, uint32_t node) {
    size_t at = c->n > 0 ? node % c->n : 0;
    Place *leaf = c->n > 0 ? c->leaf[at / LEAF] : NULL;
    return leaf == NULL ? NULL : leaf + at % LEAF;
}

int vsx_set_vector_cache(VsxTable *t, const char *text) {
    char *end = NULL;
    if (strcmp(text, "auto") == 0) {
        t->index->global->vector_cache = VSX_CACHE_AUTO;
        return SQLITE_OK;
    }
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || n < 0 || n > MOST_MIB) {
        return vsx_fail(
            t, SQLITE_ERROR,
            "%s: vector_cache must be 'auto' or a number of MiB from 0 to %d, "
            "not '%s'",
            t->index->table, (int)MOST_MIB, text);
    }
    t->index->global->vector_cache = (sqlite3_int64)n << 20;
    return SQLITE_OK;
}

static void forget(VsxCache *c) {
    c->filling++;
    for (size_t i = 0; c->filling == 0 && i * LEAF < c->n; i++) {
        if (c->leaf[i] != NULL) { /* 2^32 fillings: none may look like the present one */
            for (size_t j = 0; j < LEAF; j++) {
                c->leaf[i][j].filling = 0;
            }
        }
    }
    c->filling += c->filling == 0;
}

void vsx_cache_clear(VsxVector *v) {
    if (v->cache != NULL) {
        forget(v->cache);
    }
}

/* ---- memory ----------------------------------------------------------------------- */

/* Takes bytes from the account, where the cache goes by it. */
static int charge(VsxCache *c, size_t bytes) {
    int granted = c->option != VSX_CACHE_AUTO || vs_budget_take(bytes);
    c->charged += granted && c->option == VSX_CACHE_AUTO ? bytes : 0;
    return granted;
}

static void give_vectors(const VsxCache *c) {
    for (size_t i = 0; i * LEAF < c->n; i++) {
        for (size_t j = 0; c->leaf[i] != NULL && j < LEAF; j++) {
            if (c->leaf[i][j].vector != NULL) {
                vs_arena_give(c->leaf[i][j].chunk, c->leaf[i][j].vector);
            }
        }
        sqlite3_free(c->leaf[i]);
    }
}

void vsx_cache_free(VsxVector *v) {
    VsxCache *c = v->cache;
    v->cache = NULL;
    if (c == NULL) {
        return;
    }
    if (c->leaf != NULL) {
        give_vectors(c);
    }
    if (c->arena != NULL) {
        vs_arena_close(c->arena);
    }
    vs_budget_give(c->charged);
    sqlite3_free(c->leaf);
    sqlite3_free(c);
}

static size_t leaves_of(size_t places) {
    return (places + LEAF - 1) / LEAF;
}

/* Places for so many nodes and as many more. While every node has a place of its own, that
 * place stays what it is. Without memory there are no more places. */
static void grow(VsxCache *c, size_t nodes) {
    size_t want = 2 * nodes + 8 * LEAF, had = leaves_of(c->n);
    want = want < c->most ? want : c->most;
    size_t leaves = leaves_of(want), more = (leaves - had) * sizeof *c->leaf;
    if (!charge(c, more)) {
        return;
    }
    Place **grown = sqlite3_realloc64(c->leaf, leaves * sizeof *grown);
    if (grown != NULL) {
        memset(grown + had, 0, more);
        c->leaf = grown;
        c->n = want;
    }
}

static void make(VsxVector *v, sqlite3_int64 limit) {
    const VsCodecParams *p = &v->graph->params.code;
    size_t size = vs_element_bytes(p->element, p->dims);
    size_t room = ((size + 63) & ~(size_t)63) + sizeof(Place);
    if ((sqlite3_uint64)limit < room) {
        return;
    }
    VsxCache *c = v->cache = sqlite3_malloc64(sizeof *c);
    if (c == NULL) {
        return;
    }
    sqlite3_uint64 most = (sqlite3_uint64)limit / room; /* size_t may have 32 bits */
    *c = (VsxCache){.most = most < VS_MAX_NODES ? (size_t)most : VS_MAX_NODES,
                    .size = size,
                    .limit = limit,
                    .option = v->index->global->vector_cache,
                    .filling = 1};
    c->arena = vs_arena_new(&vsx_alloc, size);
    if (c->arena == NULL) {
        vsx_cache_free(v);
    }
}

/* A place for the node, made if need be; NULL: there is no memory. */
static Place *make_place(VsxCache *c, uint32_t node) {
    Place **leaf = c->n > 0 ? &c->leaf[node % c->n / LEAF] : NULL;
    if (leaf == NULL) {
        return NULL;
    }
    if (*leaf == NULL && charge(c, LEAF * sizeof **leaf)) {
        *leaf = sqlite3_malloc64(LEAF * sizeof **leaf);
        if (*leaf != NULL) {
            memset(*leaf, 0, LEAF * sizeof **leaf);
            c->leaves++;
        }
    }
    Place *p = place_of(c, node);
    if (p != NULL && p->vector == NULL && charge(c, c->size)) {
        p->vector = vs_arena_take(c->arena, &p->chunk);
        c->taken += p->vector != NULL;
    }
    return p != NULL && p->vector != NULL ? p : NULL;
}

/* ---- use -------------------------------------------------------------------------- */

/* Bytes for the cache of one vector column. */
static sqlite3_int64 limit_of(const VsxGlobal *global) {
    if (global->vector_cache != VSX_CACHE_AUTO) {
        return global->vector_cache;
    }
    sqlite3_int64 limit = vs_budget_limit(), heap = sqlite3_soft_heap_limit64(-1);
    return heap > 0 && heap / SHARE_OF_A_HEAP < limit ? heap / SHARE_OF_A_HEAP : limit;
}

/* Empties the cache if it does not stand for the present any more. */
static void renew(VsxVector *v, VsxCache *c) {
    sqlite3 *db = v->index->global->db;
    const VsState *state = &v->graph->state;
    int left = state->next_seq < c->next_seq; /* ages have begun again */
    if (v->index->def->content != NULL) {
        unsigned version = 0;
        int rc = sqlite3_file_control(db, v->index->schema, SQLITE_FCNTL_DATA_VERSION,
                                      &version);
        left |= rc != SQLITE_OK || version != c->data_version;
        c->fills &= rc == SQLITE_OK;
        c->data_version = version;
    }
    if (left) {
        forget(c);
    }
    c->next_seq = state->next_seq;
}

VsxCache *vsx_cache_of(VsxVector *v) {
    const VsxIndex *i = v->index;
    VsxCache *c = v->cache;
    sqlite3_int64 limit = limit_of(i->global);
    if (c != NULL && (c->limit != limit || c->option != i->global->vector_cache)) {
        vsx_cache_free(v);
    }
    int writes = sqlite3_txn_state(i->global->db, i->schema) == SQLITE_TXN_WRITE;
    if (limit == 0 || (writes && (i->def->content != NULL || v->cache == NULL))) {
        return NULL;
    }
    if (v->cache == NULL) {
        make(v, limit);
    }
    c = v->cache;
    if (c == NULL || (writes && v->graph->state.next_seq < c->next_seq)) {
        return NULL;
    }
    c->fills = !writes;
    if (!writes) {
        renew(v, c);
    }
    if (c->n < v->graph->state.n_nodes && c->n < c->most) {
        grow(c, v->graph->state.n_nodes);
    }
    return c;
}

const void *vsx_cache_get(const VsxCache *c, uint32_t node, uint32_t seq) {
    const Place *p = place_of(c, node);
    return p != NULL && p->node == node && p->seq == seq && p->filling == c->filling
               ? p->vector
               : NULL;
}

void vsx_cache_put(VsxCache *c, uint32_t node, uint32_t seq, const void *vector) {
    Place *p = c->fills ? make_place(c, node) : NULL;
    if (p != NULL) {
        memcpy(p->vector, vector, c->size);
        p->node = node;
        p->seq = seq;
        p->filling = c->filling;
    }
}

void vsx_cache_prefetch_place(const VsxCache *c, uint32_t node) {
    VS_PREFETCH_FAR(place_of(c, node)); /* of no address it does nothing */
}

void vsx_cache_prefetch(const VsxCache *c, uint32_t node, uint32_t seq) {
    const void *vector = vsx_cache_get(c, node, seq);
    if (vector != NULL) {
        vs_prefetch_code_far(vector, c->size);
    }
}

sqlite3_int64 vsx_cache_bytes(const VsxVector *v) {
    const VsxCache *c = v->cache;
    return c == NULL
               ? 0
               : (sqlite3_int64)(leaves_of(c->n) * sizeof *c->leaf +
                                 c->leaves * LEAF * sizeof(Place) + c->taken * c->size);
}
