/* A database in memory for graphs that are written and read: pages by kind and number. */
#ifndef DISK_FIXTURE_H
#define DISK_FIXTURE_H

#include "graph_fixture.h"

enum { DIMS = 6 };

enum { PAGES = 400 };

typedef struct Store {
    struct {
        VsPageKind kind;
        uint32_t page;
        uint64_t ver;
        unsigned char blob[2048];
        size_t len;
    } page[PAGES];
    size_t n;
    int polls_left; /* before an interrupt; -1: never */
} Store;

static inline VsStatus put_page(void *ctx, VsPageKind kind, uint32_t page, uint64_t ver,
                                const unsigned char *blob, size_t len) {
    Store *s = ctx;
    size_t i = 0;
    while (i < s->n && (s->page[i].kind != kind || s->page[i].page != page)) {
        i++;
    }
    if (i == PAGES || len > sizeof s->page[i].blob) {
        return VS_IO;
    }
    s->n += i == s->n;
    s->page[i].kind = kind;
    s->page[i].page = page;
    s->page[i].ver = ver;
    s->page[i].len = len;
    memcpy(s->page[i].blob, blob, len);
    return VS_OK;
}

static inline VsStatus get_page(void *ctx, VsPageKind kind, uint32_t page,
                                const unsigned char **blob, size_t *len, uint64_t *ver) {
    Store *s = ctx;
    *blob = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (s->page[i].kind == kind && s->page[i].page == page) {
            *blob = s->page[i].blob;
            *len = s->page[i].len;
            *ver = s->page[i].ver;
        }
    }
    return VS_OK;
}

static inline void no_done(void *ctx) {
    (void)ctx;
}

static inline int interrupted(void *ctx) {
    Store *s = ctx;
    return s->polls_left == 0 || (s->polls_left > 0 && --s->polls_left == 0);
}

static inline void insert_rows(VsGraph *g, Random *r, int from, int to) {
    for (int i = from; i < to; i++) {
        float v[DIMS];
        uint32_t node;
        random_vector(r, v, DIMS);
        vs_begin(g);
        CHECK(vs_insert(g, i, v, &node) == VS_OK);
        vs_done(g);
    }
}

#endif
