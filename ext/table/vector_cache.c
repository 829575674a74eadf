/* Vectors of rows, kept in memory; see vector_cache.h. */
#include "ext/table/vector_cache.h"

#include <stdlib.h>
#include <string.h>

#include "csrc/base/arena.h"
#include "csrc/kernel/batch.h"
#include "ext/table/errors.h"

#define MOST_MIB (1L << 24)
#define LEAST_PLACES 1024

typedef struct Place {
    void *vector; /* NULL: no memory was taken for it yet */
    VsChunk *chunk;
    uint32_t node, seq; /* of that vector; node VS_NIL: of none */
} Place;

struct VsxCache {
    VsArena *arena;
    Place *place;
    size_t n, taken; /* places, and those of them that have memory */
    size_t most;     /* places for the limit */
    size_t size;     /* of a vector */
    sqlite3_int64 limit;
    uint32_t next_seq; /* of the graph when the cache was last used */
};

static Place *place_of(const VsxCache *c, uint32_t node) {
    return &c->place[node % c->n];
}

int vsx_set_vector_cache(VsxTable *t, const char *text) {
    char *end = NULL;
    long n = strtol(text, &end, 10);
    if (end == text || *end != '\0' || n < 0 || n > MOST_MIB) {
        return vsx_fail(t, SQLITE_ERROR,
                        "%s: vector_cache must be a number of MiB from 0 to %d, not '%s'",
                        t->index->table, (int)MOST_MIB, text);
    }
    t->index->global->vector_cache = (sqlite3_int64)n << 20;
    return SQLITE_OK;
}

static void forget(const VsxCache *c) {
    for (size_t i = 0; i < c->n; i++) {
        c->place[i].node = VS_NIL;
    }
}

void vsx_cache_clear(VsxVector *v) {
    if (v->cache != NULL) {
        forget(v->cache);
    }
}

void vsx_cache_free(VsxVector *v) {
    VsxCache *c = v->cache;
    v->cache = NULL;
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; c->place != NULL && i < c->n; i++) {
        if (c->place[i].vector != NULL) {
            vs_arena_give(c->place[i].chunk, c->place[i].vector);
        }
    }
    if (c->arena != NULL) {
        vs_arena_close(c->arena);
    }
    sqlite3_free(c->place);
    sqlite3_free(c);
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
    size_t want = 2 * (size_t)v->graph->state.n_nodes + LEAST_PLACES;
    sqlite3_uint64 most = (sqlite3_uint64)limit / room; /* size_t may have 32 bits */
    *c = (VsxCache){.most = most < VS_MAX_NODES ? (size_t)most : VS_MAX_NODES,
                    .size = size,
                    .limit = limit};
    c->n = want < c->most ? want : c->most;
    c->arena = vs_arena_new(&vsx_alloc, size);
    c->place = sqlite3_malloc64(c->n * sizeof *c->place);
    if (c->place != NULL) {
        memset(c->place, 0, c->n * sizeof *c->place);
        forget(c);
    }
    if (c->arena == NULL || c->place == NULL) {
        vsx_cache_free(v);
    }
}

VsxCache *vsx_cache_of(VsxVector *v) {
    const VsxIndex *i = v->index;
    sqlite3_int64 limit = i->def->content == NULL ? i->global->vector_cache : 0;
    VsxCache *c = v->cache;
    if (c != NULL &&
        (c->limit != limit || (c->n < v->graph->state.n_nodes && c->n < c->most))) {
        vsx_cache_free(v);
    }
    if (limit == 0 || sqlite3_txn_state(i->global->db, i->schema) == SQLITE_TXN_WRITE) {
        return NULL;
    }
    if (v->cache == NULL) {
        make(v, limit);
    } else if (v->graph->state.next_seq < v->cache->next_seq) {
        forget(v->cache); /* ages have begun again */
    }
    if (v->cache != NULL) {
        v->cache->next_seq = v->graph->state.next_seq;
    }
    return v->cache;
}

const void *vsx_cache_get(const VsxCache *c, uint32_t node, uint32_t seq) {
    const Place *p = place_of(c, node);
    return p->node == node && p->seq == seq ? p->vector : NULL;
}

void vsx_cache_put(VsxCache *c, uint32_t node, uint32_t seq, const void *vector) {
    Place *p = place_of(c, node);
    if (p->vector == NULL) {
        p->vector = vs_arena_take(c->arena, &p->chunk);
        c->taken += p->vector != NULL;
    }
    if (p->vector != NULL) {
        memcpy(p->vector, vector, c->size);
        p->node = node;
        p->seq = seq;
    }
}

void vsx_cache_prefetch(const VsxCache *c, uint32_t node, uint32_t seq) {
    const void *vector = vsx_cache_get(c, node, seq);
    if (vector != NULL) {
        vs_prefetch_code_far(vector, c->size);
    }
}

sqlite3_int64 vsx_cache_bytes(const VsxVector *v) {
    const VsxCache *c = v->cache;
    return c == NULL ? 0 : (sqlite3_int64)(c->n * sizeof *c->place + c->taken * c->size);
}
