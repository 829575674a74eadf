/* Bounds of every code, and who remains; see scan.h. */
#include "scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "walk.h"

/* Slots of one kind in ascending order: a division a page, not a slot. */
typedef struct Slots {
    VsPageKind kind;
    uint32_t from, end; /* the page at hand */
    const unsigned char *first;
} Slots;

static VsStatus turn_page(VsGraph *g, Slots *s, uint32_t slot) {
    const VsGeometry *geo = &g->geo[s->kind];
    uint32_t page = vs_page_of(geo, slot);
    VsStatus st = vs_slot(g, s->kind, page * geo->per_page, &s->first);
    if (st == VS_OK) {
        s->from = page * geo->per_page;
        s->end = s->from + geo->per_page;
    }
    return st;
}

static inline VsStatus slot_at(VsGraph *g, Slots *s, uint32_t slot,
                               const unsigned char **out) {
    VsStatus st = slot < s->end && slot >= s->from ? VS_OK : turn_page(g, s, slot);
    if (st == VS_OK) {
        *out = s->first + (size_t)(slot - s->from) * g->geo[s->kind].slot_size;
    }
    return st;
}

/* The k smallest upper bounds as a heap with the largest on top. */
typedef struct Nearest {
    float *high;
    size_t n, k;
} Nearest;

static float limit_of(const Nearest *near) {
    return near->n < near->k ? INFINITY : near->high[0];
}

static void sift_down(Nearest *near, float high) {
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        child += child + 1 < near->n && near->high[child + 1] > near->high[child];
        if (child >= near->n || near->high[child] <= high) {
            break;
        }
        near->high[i] = near->high[child];
        i = child;
    }
    near->high[i] = high;
}

static void offer_high(Nearest *near, float high) {
    if (near->n < near->k) {
        size_t i = near->n++;
        for (; i > 0 && near->high[(i - 1) / 2] < high; i = (i - 1) / 2) {
            near->high[i] = near->high[(i - 1) / 2];
        }
        near->high[i] = high;
    } else if (high < near->high[0]) {
        sift_down(near, high);
    }
}

typedef struct Scan {
    VsGraph *g;
    const VsQuery *q;
    Nearest near;
    VsCandidate *found;
    size_t n, cap;
    VsFront front;
    float error[2 * VS_MAX_M];
    float passed; /* with this error or less, an order beyond `order` is no candidate */
    float order;
} Scan;

/* Orders beyond this mean that a sum left float32 (vs_bounds). */
#define LONGEST 1e29f

/* Most codes are far: their order alone tells, without bounds of their own. Finds the
 * least order that is out, by bisection over the bits of a float. The limit only falls,
 * so an old one is safe. */
static void lower_limit(Scan *s) {
    const VsCodecParams *p = s->q->params;
    union {
        float value;
        uint32_t bits;
    } from = {0}, to = {s->order < LONGEST ? s->order : LONGEST}, middle;
    float limit = limit_of(&s->near), low, high;
    vs_bounds(s->q, to.value, s->passed, 1, &low, &high);
    if (p->metric == VS_DOT || (p->metric == VS_COSINE && p->codec == VS_CODEC_NONE) ||
        !(low > limit)) {
        return; /* orders that can be negative, or none is out */
    }
    while (to.bits - from.bits > 1024) {
        middle.bits = from.bits + (to.bits - from.bits) / 2;
        vs_bounds(s->q, middle.value, s->passed, 1, &low, &high);
        if (low > limit) {
            to = middle;
        } else {
            from = middle;
        }
    }
    s->order = to.value;
}

static VsStatus judge_front(Scan *s) {
    VsFront *f = &s->front;
    s->q->full(s->q, f->code, f->n, f->order);
    s->g->scratch->evaluations += f->n;
    VsStatus st =
        vs_grow(&s->g->alloc, (void **)&s->found, &s->cap, s->n + f->n, sizeof *s->found);
    float limit = limit_of(&s->near);
    for (uint32_t i = 0; st == VS_OK && i < f->n; i++) {
        float low, high;
        if (f->order[i] > s->order && s->error[i] <= s->passed && f->order[i] < LONGEST) {
            continue;
        }
        vs_bounds(s->q, f->order[i], s->error[i], 1, &low, &high);
        if (low <= limit) {
            s->found[s->n++] = (VsCandidate){low, f->order[i], f->node[i]};
            offer_high(&s->near, high);
            limit = limit_of(&s->near);
        }
    }
    f->n = 0;
    return st;
}

/* Once in a while: what is left of the candidates, and how far one needs to look. */
static void tidy(Scan *s) {
    float limit = limit_of(&s->near), worst = 0;
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->found[i].low <= limit) {
            s->found[kept++] = s->found[i];
        }
    }
    s->n = kept;
    for (uint32_t i = 0; i < s->front.n; i++) {
        worst = s->error[i] > worst ? s->error[i] : worst;
    }
    if (isfinite(limit) && isfinite(worst)) {
        if (worst > s->passed) {
            s->passed = worst;
            s->order = INFINITY;
        }
        lower_limit(s);
    }
}

static VsStatus scan_all(Scan *s, const VsAdmit *admit) {
    enum { FRONT = 64, TIDY = 1024 };
    VsGraph *g = s->g;
    Slots nodes = {.kind = VS_NODE}, codes = {.kind = VS_CODE};
    uint32_t n_nodes = g->state.n_nodes, seen = 0;
    for (uint32_t u = vs_next_admitted(admit, 0, n_nodes); u < n_nodes;
         u = vs_next_admitted(admit, u + 1, n_nodes)) {
        const unsigned char *p = NULL;
        VsStatus st = slot_at(g, &nodes, u, &p);
        const VsNode *node = (const VsNode *)(const void *)p;
        if (st == VS_OK && (node->flags & VS_STATUS_MASK) == VS_LIVE) {
            VsFront *f = &s->front;
            st = slot_at(g, &codes, u, &f->code[f->n]);
            s->error[f->n] = vs_error(node->error);
            f->node[f->n++] = u;
            if (st == VS_OK && f->n == FRONT) {
                if ((seen & (TIDY - 1)) == 0) {
                    tidy(s);
                }
                st = judge_front(s);
                seen += FRONT;
                if (st == VS_OK && seen % 4096 == 0 && vs_interrupted(g)) {
                    st = VS_INTERRUPT;
                }
            }
        }
        if (st != VS_OK) {
            return st;
        }
    }
    return judge_front(s);
}

static int compare_candidates(const void *a, const void *b) {
    const VsCandidate *x = a, *y = b;
    if (x->low != y->low) {
        return x->low < y->low ? -1 : 1;
    }
    return x->node < y->node ? -1 : x->node > y->node;
}

VsStatus vs_scan_candidates(VsGraph *g, const VsQuery *q, size_t k, const VsAdmit *admit,
                            VsCandidate **out, size_t *n) {
    Scan s = {.g = g, .q = q, .order = INFINITY, .passed = -1};
    size_t room = k < g->state.n_live ? k : g->state.n_live;
    s.near.k = room;
    s.near.high = vs_alloc(&g->alloc, room, sizeof *s.near.high);
    VsStatus st = s.near.high == NULL ? VS_NOMEM : VS_OK;
    if (st == VS_OK && room > 0) {
        st = scan_all(&s, admit);
    }
    if (st == VS_OK) {
        tidy(&s);
        if (s.n > 0) {
            qsort(s.found, s.n, sizeof *s.found, compare_candidates);
        }
        *out = s.found;
        *n = s.n;
    } else {
        vs_free(&g->alloc, s.found);
    }
    vs_free(&g->alloc, s.near.high);
    return st;
}
