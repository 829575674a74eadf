/* Scans of all codes: who may be among the nearest by bounds (scan.h), or by the codes alone
 * (search.h). */
#include "scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "sieve.h"
#include "walk.h"

/* Slots of one kind in ascending order: a division a page, not a slot. */
typedef struct Slots {
    VsPageKind kind;
    uint32_t from, end; /* the page at hand */
    unsigned char *first;
} Slots;

static inline VsStatus turn_page(VsGraph *g, Slots *s, uint32_t slot) {
    const VsGeometry *geo = &g->geo[s->kind];
    const VsTable *table = &g->table[s->kind];
    uint32_t page = vs_page_of(geo, slot);
    s->first = vs_table_get(table, page);
    if (s->first == NULL) {
        VsStatus st = vs_page_touch(g, s->kind, page);
        if (st != VS_OK) {
            return st;
        }
        s->first = vs_table_get(table, page);
    }
    s->from = page * geo->per_page;
    s->end = s->from + geo->per_page;
    unsigned char *next = vs_table_get(table, page + 1);
    if (next != NULL) {
        VS_PREFETCH(next - 64); /* where the note is */
    }
    return VS_OK;
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

/* Rows wait here until there are some more behind them, whose codes are fetched while the
 * first are compared. The first fronts are short: they tell what is near. */
#define FIRST_FRONT (VS_SIEVE_AHEAD / 2) /* so that no row waits for more than two */
#define FRONT 256
#define UNSIEVED 4
#define ROOM (FRONT + VS_SIEVE_AHEAD)

/* Codes are compared before anything is known of their nodes: to most it does not matter.
 * Their pages are 4 to 5 times as long as what is needed of a node. */
typedef struct Scan {
    VsGraph *g;
    const VsQuery *q;
    VsSieve sieve;
    uint32_t unsieved; /* fronts to come that are not sieved */
    /* An order such that rows beyond it do not matter. */
    float (*beyond)(const struct Scan *s);
    VsStatus (*take)(struct Scan *s, uint32_t node, float order);
    void *to;
    int errors; /* those of the nodes matter: `worst` is needed */
    int dense;  /* node[0] and its successors; else node[] */
    uint32_t node[ROOM], n, front, fronts;
    const unsigned char *code[ROOM];
    float worst[2];   /* no node added since the last front has a larger error; before */
    uint32_t rest[2]; /* the same for low planes (sieve.h) */
} Scan;

/* The largest error of the live nodes of a page. Notes stay with a page as long as nobody
 * writes there. */
static float worst_of_page(const VsGraph *g, const Slots *s) {
    const VsGeometry *geo = &g->geo[VS_NODE];
    uint32_t note = vs_page_note(s->first), worst = 0;
    for (uint32_t i = 0; note == 0 && i < geo->per_page; i++) {
        const VsNode *v =
            (const VsNode *)(const void *)(s->first + (size_t)i * geo->slot_size);
        int live = (v->flags & VS_STATUS_MASK) == VS_LIVE;
        worst = live && v->error > worst ? v->error : worst;
    }
    if (note == 0) {
        note = worst + 1; /* errors are not negative: their bits are in their order */
        vs_page_set_note(s->first, note);
    }
    return vs_error((uint16_t)(note - 1));
}

/* The same for what the high planes of its codes do not tell. */
static uint32_t rest_of_page(const VsGraph *g, const Slots *s) {
    const VsGeometry *geo = &g->geo[VS_CODE];
    uint32_t note = vs_page_note(s->first), used = g->state.n_nodes - s->from;
    if (note == 0) {
        note = 1 + vs_sieve_rest(&g->params.code, s->first,
                                 used < geo->per_page ? used : geo->per_page);
        vs_page_set_note(s->first, note);
    }
    return note - 1;
}

static inline uint32_t first_bit(uint64_t word) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(word);
#else
    uint32_t at = 0;
    for (; (word & 1) == 0; word >>= 1) {
        at++;
    }
    return at;
#endif
}

/* Places of the rows that may matter, among the first n. */
static uint32_t sift(Scan *s, uint32_t n, float beyond, uint16_t *place) {
    unsigned char pass[FRONT / 8] = {0};
    int32_t most = INT32_MAX;
    uint32_t kept = 0;
    if (s->sieve.run != NULL && s->unsieved == 0) {
        uint32_t rest = s->rest[0] > s->rest[1] ? s->rest[0] : s->rest[1];
        most = vs_sieve_most(&s->sieve, beyond, rest);
    }
    if (most == INT32_MAX) {
        s->unsieved -= s->unsieved > 0;
        for (; kept < n; kept++) {
            place[kept] = (uint16_t)kept;
        }
        return n;
    }
    s->sieve.run(s->sieve.weights, s->code, n, s->n, s->sieve.blocks, most, pass);
    for (uint32_t i = 0; i < FRONT; i += 64) {
        uint64_t word;
        memcpy(&word, pass + i / 8, sizeof word);
        for (; word != 0; word &= word - 1) {
            place[kept++] = (uint16_t)(i + first_bit(word));
        }
    }
    s->unsieved = kept > n / 2 ? UNSIEVED : 0; /* it costs more than it saves */
    return kept;
}

/* Looks at the first n rows that wait. */
static VsStatus judge(Scan *s, uint32_t n) {
    uint16_t place[FRONT];
    const unsigned char *code[FRONT];
    float order[FRONT], beyond = s->beyond(s);
    uint32_t kept = sift(s, n, beyond, place);
    VsStatus st = VS_OK;
    for (uint32_t i = 0; i < kept; i++) {
        code[i] = s->code[place[i]];
    }
    s->q->full(s->q, code, kept, order);
    s->g->scratch->evaluations += n;
    for (uint32_t i = 0; st == VS_OK && i < kept; i++) {
        if (!(order[i] > beyond && order[i] < VS_LONGEST)) {
            uint32_t at = place[i];
            st = s->take(s, s->dense ? s->node[0] + at : s->node[at], order[i]);
        }
    }
    s->n -= n;
    memmove(s->code, s->code + n, s->n * sizeof *s->code);
    if (s->dense) {
        s->node[0] += n;
    } else {
        memmove(s->node, s->node + n, s->n * sizeof *s->node);
    }
    s->worst[1] = s->worst[0];
    s->rest[1] = s->rest[0];
    s->worst[0] = 0;
    s->rest[0] = 0;
    s->front = s->front < FRONT ? 2 * s->front : FRONT;
    return st == VS_OK && ++s->fronts % 32 == 0 && vs_interrupted(s->g) ? VS_INTERRUPT
                                                                        : st;
}

/* What the rows to come can be at the worst. */
static void expect(Scan *s, float worst, uint32_t rest) {
    s->worst[0] = worst > s->worst[0] ? worst : s->worst[0];
    s->rest[0] = rest > s->rest[0] ? rest : s->rest[0];
}

/* Adds nodes u .. end - 1, whose codes lie one after the other. */
static VsStatus take_run(Scan *s, uint32_t u, uint32_t end, const unsigned char *code,
                         float worst, uint32_t rest) {
    size_t size = s->g->geo[VS_CODE].slot_size;
    VsStatus st = VS_OK;
    while (st == VS_OK && u < end) {
        uint32_t room = s->front + VS_SIEVE_AHEAD - s->n, at = s->n;
        uint32_t n = end - u < room ? end - u : room;
        uint32_t i = 0;
        for (; i + 4 <= n; i += 4, code += 4 * size) {
            s->code[at + i] = code;
            s->code[at + i + 1] = code + size;
            s->code[at + i + 2] = code + 2 * size;
            s->code[at + i + 3] = code + 3 * size;
        }
        for (; i < n; i++, code += size) {
            s->code[at + i] = code;
        }
        if (!s->dense) {
            s->node[at] = u; /* n is 1 */
        } else if (at == 0) {
            s->node[0] = u;
        }
        u += n;
        s->n += n;
        expect(s, worst, rest);
        st = n == room ? judge(s, s->front) : VS_OK;
    }
    return st;
}

/* The largest error of the nodes up to `end`; *last: of the page that the next ones may
 * share. */
static VsStatus worst_until(VsGraph *g, Slots *nodes, uint32_t u, uint32_t end,
                            float *last, float *out) {
    VsStatus st = VS_OK;
    *out = *last;
    for (u = u < nodes->end ? nodes->end : u; st == VS_OK && u < end; u = nodes->end) {
        st = turn_page(g, nodes, u);
        *last = st == VS_OK ? worst_of_page(g, nodes) : 0;
        *out = *last > *out ? *last : *out;
    }
    return st;
}

static VsStatus scan_all(Scan *s, const VsAdmit *admit) {
    VsGraph *g = s->g;
    Slots nodes = {.kind = VS_NODE}, codes = {.kind = VS_CODE};
    uint32_t n_nodes = g->state.n_nodes, rest = 0, end;
    float last = 0, worst = 0;
    VsStatus st = VS_OK;
    s->dense = admit == NULL;
    for (uint32_t u = vs_next_admitted(admit, 0, n_nodes); u < n_nodes && st == VS_OK;
         u = vs_next_admitted(admit, end, n_nodes)) {
        if (u >= codes.end) {
            st = turn_page(g, &codes, u);
            rest = st == VS_OK && s->sieve.run != NULL ? rest_of_page(g, &codes) : 0;
        }
        end = codes.end < n_nodes ? codes.end : n_nodes;
        end = admit != NULL ? u + 1 : end;
        if (st == VS_OK && s->errors) {
            st = worst_until(g, &nodes, u, end, &last, &worst);
        }
        if (st == VS_OK) {
            size_t size = g->geo[VS_CODE].slot_size;
            st = take_run(s, u, end, codes.first + (u - codes.from) * size, worst, rest);
        }
    }
    while (st == VS_OK && s->n > 0) {
        st = judge(s, s->n < s->front ? s->n : s->front);
    }
    return st;
}

static Scan scan_of(VsGraph *g, const VsQuery *q) {
    Scan s = {.g = g, .q = q, .front = FIRST_FRONT};
    vs_sieve_set(&s.sieve, q);
    return s;
}

/* ---- candidates ------------------------------------------------------------------ */

typedef struct Proven {
    Nearest near;
    VsCandidate *found;
    size_t n, cap, tidied; /* how many there were after the last tidying */
    int fixed;             /* room for no more */
} Proven;

static float beyond_proven(const Scan *s) {
    const Proven *p = s->to;
    float worst = s->worst[0] > s->worst[1] ? s->worst[0] : s->worst[1];
    return vs_order_beyond(s->q, limit_of(&p->near), worst);
}

/* Those that are candidates still. */
static void tidy(Proven *p) {
    float limit = limit_of(&p->near);
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->found[i].low <= limit) {
            p->found[kept++] = p->found[i];
        }
    }
    p->n = kept;
    p->tidied = kept;
}

/* Tidies once in a while. */
static VsStatus reserve_one(const VsGraph *g, Proven *p) {
    if (p->n > 2 * p->tidied + FRONT || (p->fixed && p->n == p->cap)) {
        tidy(p);
    }
    if (!p->fixed) {
        return vs_grow(&g->alloc, (void **)&p->found, &p->cap, p->n + 1,
                       sizeof *p->found);
    }
    return p->n < p->cap ? VS_OK : VS_RANGE;
}

static VsStatus take_proven(Scan *s, uint32_t u, float order) {
    Proven *p = s->to;
    const VsNode *node = NULL;
    float low, high;
    VsStatus st = vs_node(s->g, u, &node);
    if (st != VS_OK || (node->flags & VS_STATUS_MASK) != VS_LIVE) {
        return st;
    }
    vs_bounds(s->q, order, vs_error(node->error), 1, &low, &high);
    if (low <= limit_of(&p->near)) {
        st = reserve_one(s->g, p);
        if (st == VS_OK) {
            p->found[p->n++] = (VsCandidate){low, order, u, 0};
            offer_high(&p->near, high);
        }
    }
    return st;
}

static int compare_candidates(const void *a, const void *b) {
    const VsCandidate *x = a, *y = b;
    if (x->low != y->low) {
        return x->low < y->low ? -1 : 1;
    }
    return x->node < y->node ? -1 : x->node > y->node;
}

/* Scans; the candidates are at p->found, sorted. */
static VsStatus prove(VsGraph *g, const VsQuery *q, const VsAdmit *admit, Proven *p) {
    Scan s = scan_of(g, q);
    s.beyond = beyond_proven;
    s.take = take_proven;
    s.to = p;
    s.errors = 1;
    VsStatus st = p->near.k > 0 ? scan_all(&s, admit) : VS_OK;
    if (st == VS_OK) {
        tidy(p);
        if (p->n > 0) {
            qsort(p->found, p->n, sizeof *p->found, compare_candidates);
        }
    }
    return st;
}

static size_t at_most(const VsGraph *g, size_t k) {
    return k < g->state.n_live ? k : g->state.n_live;
}

VsStatus vs_scan_candidates(VsGraph *g, const VsQuery *q, size_t k, const VsAdmit *admit,
                            VsCandidate **out, size_t *n) {
    Proven p = {.near = {.k = at_most(g, k)}};
    p.near.high = vs_alloc(&g->alloc, p.near.k, sizeof *p.near.high);
    VsStatus st = p.near.high == NULL ? VS_NOMEM : prove(g, q, admit, &p);
    if (st == VS_OK) {
        *out = p.found;
        *n = p.n;
    } else {
        vs_free(&g->alloc, p.found);
    }
    vs_free(&g->alloc, p.near.high);
    return st;
}

/* The notes of all pages: whoever reads them then writes none. */
VsStatus vs_scan_ready(VsGraph *g) {
    Slots nodes = {.kind = VS_NODE}, codes = {.kind = VS_CODE};
    VsStatus st = VS_OK;
    while (st == VS_OK && nodes.end < g->state.n_nodes) {
        st = turn_page(g, &nodes, nodes.end);
        if (st == VS_OK) {
            worst_of_page(g, &nodes);
        }
    }
    while (st == VS_OK && g->params.code.codec == VS_CODEC_SQ8 &&
           codes.end < g->state.n_nodes) {
        st = turn_page(g, &codes, codes.end);
        if (st == VS_OK) {
            rest_of_page(g, &codes);
        }
    }
    return st;
}

VsStatus vs_scan_within(VsGraph *g, const VsQuery *q, size_t k, const VsScanRoom *room,
                        size_t *n) {
    Proven p = {.near = {.high = room->high, .k = at_most(g, k)},
                .found = room->found,
                .cap = room->cap,
                .fixed = 1};
    VsStatus st = prove(g, q, NULL, &p);
    if (st == VS_OK) {
        *n = p.n;
    }
    return st;
}

/* ---- the nearest codes ------------------------------------------------------------ */

/* Where a scan puts what it scored: the pool, or `all` if that is not NULL. */
typedef struct Hits {
    VsPool pool;
    VsHit *all;
    size_t n_all;
} Hits;

/* The same order as the last one may still enter: the newer node goes first. */
static float beyond_pool(const Scan *s) {
    const VsPool *pool = &((const Hits *)s->to)->pool;
    return ((const Hits *)s->to)->all != NULL || pool->n < pool->cap
               ? INFINITY
               : nextafterf(pool->at[pool->n - 1].order, INFINITY);
}

static VsStatus take_hit(Scan *s, uint32_t node, float order) {
    Hits *to = s->to;
    int live;
    VsStatus st = vs_is_live(s->g, node, &live);
    if (st == VS_OK && live && to->all != NULL) {
        to->all[to->n_all++] = (VsHit){order, node};
    } else if (st == VS_OK && live) {
        (void)vs_pool_offer(&to->pool, (VsHit){order, node});
    }
    return st;
}

VsStatus vs_scan(VsGraph *g, const VsQuery *q, size_t k, const VsAdmit *admit,
                 VsHit *hits, size_t *n) {
    Scan s = scan_of(g, q);
    Hits to = {.pool = {hits, 0, k}};
    s.beyond = beyond_pool;
    s.take = take_hit;
    s.to = &to;
    VsStatus st = VS_OK;
    if (k > VS_SCAN_SORTED) {
        to.all = vs_alloc(&g->alloc, g->state.n_nodes, sizeof *to.all);
        st = to.all == NULL ? VS_NOMEM : VS_OK;
    }
    if (st == VS_OK && k > 0) {
        st = scan_all(&s, admit);
    }
    if (st == VS_OK && to.all != NULL) {
        vs_hits_sort(to.all, to.n_all);
        to.pool.n = to.n_all < k ? to.n_all : k;
        memcpy(hits, to.all, to.pool.n * sizeof *hits);
    }
    vs_free(&g->alloc, to.all);
    if (st == VS_OK) {
        *n = to.pool.n;
    }
    return st;
}
