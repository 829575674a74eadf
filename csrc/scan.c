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
    VsStatus st = slot < s->end ? VS_OK : turn_page(g, s, slot);
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

/* Codes are compared before anything is known of their nodes: to most it does not matter.
 * Their pages are 4 to 5 times as long as what is needed of a node. */
#define FRONT 128

typedef struct Scan {
    VsGraph *g;
    const VsQuery *q;
    Nearest near;
    VsCandidate *found;
    size_t n, cap;
    int fixed; /* room for no more */
    uint32_t node[FRONT], n_front;
    const unsigned char *code[FRONT];
    float order[FRONT];
    float worst; /* no node of the front has a larger error */
} Scan;

/* The largest error of the live nodes of a page, which stays with the page as long as
 * nobody writes there. */
static float worst_of_page(const VsGraph *g, const Slots *s) {
    const VsGeometry *geo = &g->geo[VS_NODE];
    unsigned char *page = vs_table_get(&g->table[VS_NODE], vs_page_of(geo, s->from));
    uint32_t note = vs_page_note(page), worst = 0;
    for (uint32_t i = 0; note == 0 && i < geo->per_page; i++) {
        const VsNode *v =
            (const VsNode *)(const void *)(page + (size_t)i * geo->slot_size);
        int live = (v->flags & VS_STATUS_MASK) == VS_LIVE;
        worst = live && v->error > worst ? v->error : worst;
    }
    if (note == 0) {
        note = worst + 1; /* errors are not negative: their bits are in their order */
        vs_page_set_note(page, note);
    }
    return vs_error((uint16_t)(note - 1));
}

/* Those that are candidates still. */
static void tidy(Scan *s) {
    float limit = limit_of(&s->near);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->found[i].low <= limit) {
            s->found[kept++] = s->found[i];
        }
    }
    s->n = kept;
}

static VsStatus reserve_one(Scan *s) {
    if (!s->fixed) {
        return vs_grow(&s->g->alloc, (void **)&s->found, &s->cap, s->n + 1,
                       sizeof *s->found);
    }
    if (s->n == s->cap) {
        tidy(s);
    }
    return s->n < s->cap ? VS_OK : VS_RANGE;
}

static VsStatus judge(Scan *s, uint32_t i) {
    const VsNode *node = NULL;
    float low, high;
    VsStatus st = vs_node(s->g, s->node[i], &node);
    if (st != VS_OK || (node->flags & VS_STATUS_MASK) != VS_LIVE) {
        return st;
    }
    vs_bounds(s->q, s->order[i], vs_error(node->error), 1, &low, &high);
    if (low <= limit_of(&s->near)) {
        st = reserve_one(s);
        if (st == VS_OK) {
            s->found[s->n++] = (VsCandidate){low, s->order[i], s->node[i], 0};
            offer_high(&s->near, high);
        }
    }
    return st;
}

static VsStatus judge_front(Scan *s) {
    VsStatus st = VS_OK;
    uint32_t n = s->n_front;
    float beyond = vs_order_beyond(s->q, limit_of(&s->near), s->worst);
    s->q->full(s->q, s->code, n, s->order);
    s->g->scratch->evaluations += n;
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        if (!(s->order[i] > beyond && s->order[i] < VS_LONGEST)) {
            st = judge(s, i);
        }
    }
    s->n_front = 0;
    s->worst = 0;
    return st;
}

static VsStatus score_front(Scan *s, uint32_t *fronts) {
    VsStatus st = judge_front(s);
    if (++*fronts % 16 == 0) { /* once in a while */
        tidy(s);
    }
    return st == VS_OK && *fronts % 32 == 0 && vs_interrupted(s->g) ? VS_INTERRUPT : st;
}

/* Adds nodes u .. end - 1, whose codes lie one after the other. */
static VsStatus take_run(Scan *s, uint32_t u, uint32_t end, const unsigned char *code,
                         float worst, uint32_t *fronts) {
    size_t size = s->g->geo[VS_CODE].slot_size;
    VsStatus st = VS_OK;
    while (st == VS_OK && u < end) {
        uint32_t at = s->n_front, n = end - u < FRONT - at ? end - u : FRONT - at;
        for (uint32_t i = 0; i < n; i++) {
            s->code[at + i] = code + i * size;
            s->node[at + i] = u + i;
        }
        code += n * size;
        u += n;
        s->n_front += n;
        s->worst = worst > s->worst ? worst : s->worst;
        st = s->n_front == FRONT ? score_front(s, fronts) : VS_OK;
    }
    return st;
}

/* The processor sees what comes next within a page, but pages lie anywhere. */
static void fetch_page(const VsGraph *g, VsPageKind kind, uint32_t slot, int lines) {
    const VsGeometry *geo = &g->geo[kind];
    const unsigned char *p = vs_table_get(&g->table[kind], vs_page_of(geo, slot));
    for (int i = -1; p != NULL && i < lines; i++) {
        VS_PREFETCH(p + 64 * i);
    }
}

static VsStatus scan_all(Scan *s, const VsAdmit *admit) {
    VsGraph *g = s->g;
    Slots nodes = {.kind = VS_NODE}, codes = {.kind = VS_CODE};
    uint32_t n_nodes = g->state.n_nodes, fronts = 0, end;
    float worst = 0;
    for (uint32_t u = vs_next_admitted(admit, 0, n_nodes); u < n_nodes;
         u = vs_next_admitted(admit, end, n_nodes)) {
        const unsigned char *code = NULL;
        VsStatus st = VS_OK;
        if (u >= nodes.end) {
            st = turn_page(g, &nodes, u);
            worst = st == VS_OK ? worst_of_page(g, &nodes) : 0;
            fetch_page(g, VS_NODE, nodes.end, 0);
        }
        if (u >= codes.end) {
            fetch_page(g, VS_CODE, u + 2 * g->geo[VS_CODE].per_page, 64);
        }
        st = st == VS_OK ? slot_at(g, &codes, u, &code) : st;
        end = admit != NULL ? u + 1 : codes.end < nodes.end ? codes.end : nodes.end;
        end = end < n_nodes ? end : n_nodes;
        st = st == VS_OK ? take_run(s, u, end, code, worst, &fronts) : st;
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

/* Scans; the candidates are at s->found, sorted. */
static VsStatus scan(Scan *s, const VsAdmit *admit) {
    VsStatus st = s->near.k > 0 ? scan_all(s, admit) : VS_OK;
    if (st == VS_OK) {
        tidy(s);
        if (s->n > 0) {
            qsort(s->found, s->n, sizeof *s->found, compare_candidates);
        }
    }
    return st;
}

static size_t at_most(const VsGraph *g, size_t k) {
    return k < g->state.n_live ? k : g->state.n_live;
}

VsStatus vs_scan_candidates(VsGraph *g, const VsQuery *q, size_t k, const VsAdmit *admit,
                            VsCandidate **out, size_t *n) {
    Scan s = {.g = g, .q = q, .near.k = at_most(g, k)};
    s.near.high = vs_alloc(&g->alloc, s.near.k, sizeof *s.near.high);
    VsStatus st = s.near.high == NULL ? VS_NOMEM : scan(&s, admit);
    if (st == VS_OK) {
        *out = s.found;
        *n = s.n;
    } else {
        vs_free(&g->alloc, s.found);
    }
    vs_free(&g->alloc, s.near.high);
    return st;
}

/* The notes of all pages: whoever reads them then writes none. */
VsStatus vs_scan_ready(VsGraph *g) {
    Slots nodes = {.kind = VS_NODE};
    VsStatus st = VS_OK;
    while (st == VS_OK && nodes.end < g->state.n_nodes) {
        st = turn_page(g, &nodes, nodes.end);
        if (st == VS_OK) {
            worst_of_page(g, &nodes);
        }
    }
    return st;
}

VsStatus vs_scan_within(VsGraph *g, const VsQuery *q, size_t k, const VsScanRoom *room,
                        size_t *n) {
    Scan s = {.g = g,
              .q = q,
              .near = {.high = room->high, .k = at_most(g, k)},
              .found = room->found,
              .cap = room->cap,
              .fixed = 1};
    VsStatus st = scan(&s, NULL);
    if (st == VS_OK) {
        *n = s.n;
    }
    return st;
}
