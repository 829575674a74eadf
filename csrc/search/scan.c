/* Scans of all codes: which rows may be among the nearest by bounds (scan.h), or by the codes
 * alone (search.h). */
#include "csrc/search/scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/base/bits.h"
#include "csrc/graph/fit.h"
#include "csrc/codec/prefilter.h"
#include "csrc/search/walk.h"

/* ---- admitted nodes ---------------------------------------------------------------- */

/* The next one at or after `node`, skipping whole words of zeros; n_nodes if there is none.
 */
static uint32_t next_admitted(const VsAdmit *admit, uint32_t node, uint32_t n_nodes) {
    if (admit == NULL) {
        return node;
    }
    uint32_t end = admit->n_nodes < n_nodes ? admit->n_nodes : n_nodes;
    while (node < end) {
        uint64_t word = admit->words[node >> 6] >> (node & 63);
        if ((word & 1) != 0) {
            return node;
        }
        node = word == 0 ? (node | 63) + 1 : node + 1;
    }
    return n_nodes;
}

/* Which of 1 <= n <= 64 nodes from `node` on are admitted: bit i for node + i. */
static uint64_t admitted_bits(const VsAdmit *admit, uint32_t node, uint32_t n) {
    if (node >= admit->n_nodes) {
        return 0;
    }
    uint32_t at = node >> 6, shift = node & 63, known = admit->n_nodes - node;
    uint64_t bits = admit->words[at] >> shift;
    n = known < n ? known : n;
    if (n > 64 - shift) {
        bits |= admit->words[at + 1] << (64 - shift);
    }
    return bits & UINT64_MAX >> (64 - n);
}

/* ---- the scan ---------------------------------------------------------------------- */

/* The k smallest upper bounds as a heap with the largest on top. */
typedef struct Nearest {
    float *high; /* NULL: of all rows none is left out for being too many */
    size_t n, k;
    float within; /* what is farther does not count */
} Nearest;

static float limit_of(const Nearest *near) {
    return near->high == NULL || near->n < near->k || near->within < near->high[0]
               ? near->within
               : near->high[0];
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
    if (near->high == NULL) {
        return;
    }
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

/* Codes of a page, one after the other, and what they can be at the worst. */
typedef struct Run {
    VsCodeRun codes;
    uint32_t node, n; /* whose codes these are, from this one on */
    float worst;      /* no live node of the same pages has a larger error */
    uint32_t rest;    /* the same for low planes (prefilter.h) */
    int32_t least;    /* of their sums */
} Run;

/* A run is on its way into the cache while so many before it are compared: memory has the
 * time, also when others use it, and they stay there. */
#define AHEAD 16
#define PART 512 /* runs whose sums are there before the first row is judged */
#define RING (2 * PART)

typedef struct Memory {
    Run run[RING];
    int32_t sum[PART][VS_RUN];
    VsHit best[PART + 1];
} Memory;

#define GROUP 8      /* runs that share a limit */
#define KEPT 64      /* rows are judged when there are so many */
#define UNFILTERED 1 /* parts without a prefilter, after one where it did not pay */
#define ROWS_PER_POLL 8192

/* Codes are compared before anything is known of their nodes: to most it does not matter.
 * Their pages are 4 to 5 times as long as what is needed of a node.
 *
 * A part of the table at a time, in three steps: the sums of all high planes; the rows with
 * the least sums by their whole codes, which tells how near the nearest are; then the other
 * rows whose sums allow them to be nearer. Where half of a code is known the limit decides
 * how many pass: of 10,000 rows of MiniLM-384 55 % when it shrinks on the way, 25 % when it
 * is known before. */
typedef struct Scan {
    VsGraph *g;
    const VsQuery *q;
    const VsAdmit *admit;
    size_t k;
    VsPrefilter prefilter;
    /* An order such that rows beyond it do not matter, if no error is larger. */
    float (*beyond)(const struct Scan *s, float worst);
    VsStatus (*take)(struct Scan *s, uint32_t node, float order);
    void *to;
    int errors; /* those of the nodes matter: `worst` is needed */

    Memory *memory;
    uint32_t first, n; /* of the ring of runs: this part, and those that come later */
    uint32_t next;     /* the node after those of all runs */
    float last;        /* worst of the page of nodes that was looked at last, */
    uint32_t known;    /* which ends before this node */

    uint32_t part;   /* runs of this part */
    int prefiltered; /* there are sums of it */
    float worst;     /* the worst of the runs that are looked at now, */
    uint32_t rest;
    float limit;  /* beyond(worst), */
    int32_t most; /* and the sum of a high plane for it; INT32_MAX: any */

    uint32_t n_kept; /* rows of these runs that may matter */
    uint32_t node[KEPT + VS_RUN];
    const unsigned char *code[KEPT + VS_RUN];
    uint32_t seen, all_kept; /* rows of this part, and those of them that were kept */
    uint32_t unfiltered;     /* parts to come that no prefilter gets */
    uint32_t unpolled;
} Scan;

VsStatus vs_scan_reserve(VsGraph *g) {
    if (g->scratch->scan == NULL) {
        g->scratch->scan = vs_alloc_zero(&g->alloc, 1, sizeof(Memory));
    }
    return g->scratch->scan == NULL ? VS_NOMEM : VS_OK;
}

static inline Run *run_at(Scan *s, uint32_t i) {
    return &s->memory->run[(s->first + i) % RING];
}

static VsStatus poll(Scan *s, uint32_t rows) {
    s->unpolled += rows;
    if (s->unpolled < ROWS_PER_POLL) {
        return VS_OK;
    }
    s->unpolled = 0;
    return vs_interrupted(s->g) ? VS_INTERRUPT : VS_OK;
}

static inline VsStatus page_in(VsGraph *g, VsPageKind kind, uint32_t page,
                               unsigned char **first) {
    VsStatus st = VS_OK;
    *first = vs_table_get(&g->table[kind], page);
    if (*first == NULL) {
        st = vs_page_touch(g, kind, page);
        *first = st == VS_OK ? vs_table_get(&g->table[kind], page) : NULL;
    }
    return st;
}

/* The largest error of the live nodes of a page. Notes stay with a page as long as nobody
 * writes there. */
static VsStatus worst_of_page(VsGraph *g, uint32_t page, float *out) {
    const VsGeometry *geo = &g->geo[VS_NODE];
    unsigned char *first;
    VS_TRY(page_in(g, VS_NODE, page, &first));
    uint32_t note = vs_table_note(&g->table[VS_NODE], page), worst = 0;
    for (uint32_t i = 0; note == 0 && i < geo->per_page; i++) {
        const VsNode *v =
            (const VsNode *)(const void *)(first + (size_t)i * geo->slot_size);
        int live = (v->flags & VS_STATUS_MASK) == VS_LIVE;
        worst = live && v->error > worst ? v->error : worst;
    }
    if (note == 0) {
        note = worst + 1; /* errors are not negative: their bits are in their order */
        vs_page_set_note(&g->table[VS_NODE], page, note);
    }
    *out = vs_error((uint16_t)(note - 1));
    return VS_OK;
}

/* The same for what the high planes of its codes do not tell. */
static uint32_t rest_of_page(VsGraph *g, uint32_t page, const unsigned char *first) {
    const VsGeometry *geo = &g->geo[VS_CODE];
    uint32_t note = vs_table_note(&g->table[VS_CODE], page);
    uint32_t used = g->state.n_nodes - page * geo->per_page;
    if (note == 0) {
        note = 1 + vs_prefilter_rest(&g->params.code, first,
                                     used < geo->per_page ? used : geo->per_page);
        vs_page_set_note(&g->table[VS_CODE], page, note);
    }
    return note - 1;
}

/* The largest error of the nodes of a run. The next run may share the last page. */
static VsStatus worst_of_run(Scan *s, Run *r) {
    const VsGeometry *geo = &s->g->geo[VS_NODE];
    uint32_t end = r->node + r->n;
    VsStatus st = VS_OK;
    r->worst = r->node < s->known ? s->last : 0;
    for (uint32_t u = r->node < s->known ? s->known : r->node; st == VS_OK && u < end;
         u = s->known) {
        uint32_t page = vs_page_of(geo, u);
        st = worst_of_page(s->g, page, &s->last);
        s->known = (page + 1) * geo->per_page;
        r->worst = s->last > r->worst ? s->last : r->worst;
    }
    return st;
}

/* The next run, if there is one. */
static VsStatus add_run(Scan *s) {
    VsGraph *g = s->g;
    const VsGeometry *geo = &g->geo[VS_CODE];
    uint32_t n_nodes = g->state.n_nodes;
    uint32_t node =
        s->admit == NULL ? s->next : next_admitted(s->admit, s->next, n_nodes);
    s->next = node;
    if (node >= n_nodes) {
        return VS_OK;
    }
    Run *r = run_at(s, s->n);
    uint32_t page = vs_page_of(geo, node), at = node - page * geo->per_page;
    uint32_t n = geo->per_page - at < VS_RUN ? geo->per_page - at : VS_RUN;
    unsigned char *first;
    VS_TRY(page_in(g, VS_CODE, page, &first));
    n = n < n_nodes - node ? n : n_nodes - node;
    int prefiltered = g->params.code.codec == VS_CODEC_SQ8;
    *r = (Run){.codes = {first + (size_t)at * geo->slot_size,
                         s->admit == NULL ? UINT64_MAX >> (64 - n)
                                          : admitted_bits(s->admit, node, n)},
               .node = node,
               .n = n,
               .rest = prefiltered ? rest_of_page(g, page, first) : 0};
    s->n++;
    s->next = node + n;
    return s->errors ? worst_of_run(s, r) : VS_OK;
}

/* Looks at the rows that were kept. */
static VsStatus judge(Scan *s) {
    float order[KEPT + VS_RUN];
    VsStatus st = poll(s, s->n_kept);
    uint32_t n = 0;
    if (s->errors) { /* bounds of raw rows are those of their codes */
        s->q->full(s->q, s->code, s->n_kept, order);
    } else if (st == VS_OK) {
        st = vs_full_orders(s->g, s->q, s->node, s->code, s->n_kept, order);
    }
    for (uint32_t i = 0; st == VS_OK && i < s->n_kept; i++) {
        if (!(order[i] > s->limit && order[i] < VS_LONGEST)) {
            const unsigned char *node = vs_slot_loaded(s->g, VS_NODE, s->node[i]);
            if (node != NULL) {
                VS_PREFETCH_FAR(node);
            }
            s->node[n] = s->node[i];
            order[n++] = order[i];
        }
    }
    for (uint32_t i = 0; st == VS_OK && i < n; i++) {
        st = s->take(s, s->node[i], order[i]);
    }
    s->n_kept = 0;
    return st;
}

/* What the rows that were taken so far leave for those to come. */
static void aim(Scan *s) {
    s->limit = s->beyond(s, s->worst);
    s->most =
        s->prefiltered ? vs_prefilter_most(&s->prefilter, s->limit, s->rest) : INT32_MAX;
}

/* The limit for n runs of this part. Rows that were kept for other runs are judged by
 * theirs. */
static VsStatus aim_at(Scan *s, uint32_t from, uint32_t n) {
    VsStatus st = judge(s);
    s->worst = 0;
    s->rest = 0;
    for (uint32_t i = from; i < s->part && i < from + n; i++) {
        const Run *r = run_at(s, i);
        s->worst = r->worst > s->worst ? r->worst : s->worst;
        s->rest = r->rest > s->rest ? r->rest : s->rest;
    }
    aim(s);
    return st;
}

static VsStatus keep(Scan *s, Run *r, uint64_t bits) {
    size_t size = s->g->geo[VS_CODE].slot_size;
    r->codes.wanted &= ~bits;
    for (; bits != 0; bits &= bits - 1) {
        uint32_t at = vs_first_bit(bits);
        const unsigned char *code = r->codes.code + at * size;
        s->code[s->n_kept] = code;
        s->node[s->n_kept++] = r->node + at;
        s->all_kept++;
        if (s->prefiltered) {
            vs_prefetch_code_far(code, size / 2);
            vs_prefetch_code_far(code + size / 2, size / 2);
        }
    }
    if (s->n_kept < KEPT) {
        return VS_OK;
    }
    VsStatus st = judge(s);
    aim(s);
    return st;
}

/* The next part: its sums. */
static VsStatus begin_part(Scan *s) {
    VsStatus st = VS_OK;
    s->prefiltered = s->prefilter.kernels != NULL && s->unfiltered == 0;
    s->seen = 0;
    s->all_kept = 0;
    for (s->part = 0; st == VS_OK && s->part < s->n && s->part < PART; s->part++) {
        Run *r = run_at(s, s->part);
        VsCodeRun later = {0};
        while (st == VS_OK && s->n <= s->part + AHEAD && s->next < s->g->state.n_nodes) {
            st = add_run(s);
        }
        if (s->n > s->part + AHEAD) {
            later = run_at(s, s->part + AHEAD)->codes;
        }
        if (s->prefiltered) {
            r->least = s->prefilter.sums(s->prefilter.weights, r->codes, later,
                                         s->prefilter.blocks, s->memory->sum[s->part]);
            st = st == VS_OK ? poll(s, r->n) : st;
        }
        s->seen += vs_count_bits(r->codes.wanted);
    }
    return st;
}

/* The runs with the least sums: of each the row that has it. */
static VsStatus keep_best(Scan *s) {
    VsPool best = {s->memory->best, 0, s->k < PART / 4 ? s->k + 2 : PART};
    VsStatus st = aim_at(s, 0, s->part);
    for (uint32_t i = 0; i < s->part; i++) {
        int32_t least = run_at(s, i)->least;
        if (least <= s->most) {
            (void)vs_pool_offer(&best, (VsHit){(float)least, i});
        }
    }
    for (size_t i = 0; st == VS_OK && i < best.n; i++) {
        Run *r = run_at(s, best.at[i].node);
        const int32_t *sum = s->memory->sum[best.at[i].node];
        uint64_t bits = s->prefilter.kernels->at_most(sum, r->least) & r->codes.wanted;
        st = keep(s, r, bits & (0 - bits));
    }
    return st;
}

/* The other rows that may be near enough. Sums are less certain in some runs than in
 * others. */
static VsStatus keep_others(Scan *s) {
    VsStatus st = VS_OK;
    for (uint32_t i = 0; st == VS_OK && i < s->part; i++) {
        Run *r = run_at(s, i);
        uint64_t bits = r->codes.wanted;
        if (i % GROUP == 0) {
            st = aim_at(s, i, GROUP);
        }
        if (s->most != INT32_MAX) {
            bits &= r->least > s->most
                        ? 0
                        : s->prefilter.kernels->at_most(s->memory->sum[i], s->most);
        }
        st = st == VS_OK ? keep(s, r, bits) : st;
    }
    return st == VS_OK ? judge(s) : st;
}

static void end_part(Scan *s) {
    if (s->unfiltered > 0) {
        s->unfiltered--;
    } else if (s->prefiltered && s->all_kept > s->seen / 2) {
        s->unfiltered = UNFILTERED; /* it costs more than it saves */
    }
    s->g->scratch->evaluations += s->seen;
    s->first = (s->first + s->part) % RING;
    s->n -= s->part;
}

static VsStatus scan_all(Scan *s) {
    VsStatus st = vs_scan_reserve(s->g);
    s->memory = s->g->scratch->scan;
    st = st == VS_OK ? add_run(s) : st;
    while (st == VS_OK && s->n > 0) {
        st = begin_part(s);
        if (st == VS_OK && s->prefiltered) {
            st = keep_best(s);
        }
        if (st == VS_OK) {
            st = keep_others(s);
        }
        end_part(s);
    }
    return st;
}

static Scan scan_of(VsGraph *g, const VsQuery *q, size_t k, const VsAdmit *admit) {
    Scan s = {.g = g, .q = q, .k = k, .admit = admit};
    vs_prefilter_set(&s.prefilter, q);
    return s;
}

/* ---- candidates ------------------------------------------------------------------ */

#define UNTIDIED 256

typedef struct Proven {
    Nearest near;
    VsCandidate *found;
    size_t n, cap, tidied; /* how many there were after the last tidying */
    int fixed;             /* room for no more */
} Proven;

static float beyond_proven(const Scan *s, float worst) {
    const Proven *p = s->to;
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
    if (p->n > 2 * p->tidied + UNTIDIED || (p->fixed && p->n == p->cap)) {
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

void vs_candidates_sort(VsCandidate *at, size_t n) {
    if (n > 1) {
        qsort(at, n, sizeof *at, compare_candidates);
    }
}

/* Scans; the candidates are at p->found. */
static VsStatus prove(VsGraph *g, const VsQuery *q, const VsAdmit *admit, Proven *p) {
    Scan s = scan_of(g, q, p->near.k, admit);
    s.beyond = beyond_proven;
    s.take = take_proven;
    s.to = p;
    s.errors = 1;
    VsStatus st = p->near.k > 0 ? scan_all(&s) : VS_OK;
    if (st == VS_OK) {
        tidy(p);
    }
    return st;
}

static size_t at_most(const VsGraph *g, size_t k) {
    return k < g->state.n_live ? k : g->state.n_live;
}

VsStatus vs_scan_candidates(VsGraph *g, const VsQuery *q, const VsWanted *wanted,
                            VsCandidates *out) {
    const VsAdmit *admit = wanted->admit;
    size_t most = admit == NULL ? g->state.n_live : admit->count;
    Proven p = {.near = {.k = wanted->k, .within = wanted->within}};
    VsStatus st = VS_OK;
    if (wanted->k < most) {
        p.near.high = vs_alloc(&g->alloc, wanted->k, sizeof *p.near.high);
        st = p.near.high == NULL ? VS_NOMEM : VS_OK;
    }
    st = st == VS_OK ? prove(g, q, admit, &p) : st;
    if (st == VS_OK) {
        *out = (VsCandidates){p.found, p.n, limit_of(&p.near)};
    } else {
        vs_free(&g->alloc, p.found);
    }
    vs_free(&g->alloc, p.near.high);
    return st;
}

/* The notes of all pages: whoever reads them then writes none. */
VsStatus vs_scan_ready(VsGraph *g) {
    VsStatus st = vs_scan_reserve(g);
    Scan s = {.g = g, .errors = 1, .memory = g->scratch->scan};
    while (st == VS_OK && s.next < g->state.n_nodes) {
        st = add_run(&s);
        s.n = 0;
    }
    return st;
}

VsStatus vs_scan_within(VsGraph *g, const VsQuery *q, size_t k, const VsScanRoom *room,
                        size_t *n) {
    Proven p = {.near = {.high = room->high, .k = at_most(g, k), .within = INFINITY},
                .found = room->found,
                .cap = room->cap,
                .fixed = 1};
    VS_TRY(prove(g, q, NULL, &p));
    vs_candidates_sort(p.found, p.n);
    *n = p.n;
    return VS_OK;
}

/* ---- the nearest codes ------------------------------------------------------------ */

/* Where a scan puts what it scored: the pool, or `all` if that is not NULL. */
typedef struct Hits {
    VsPool pool;
    VsHit *all;
    size_t n_all;
} Hits;

/* The same order as the last one may still enter: the newer node goes first. */
static float beyond_pool(const Scan *s, float worst) {
    (void)worst;
    const VsPool *pool = &((const Hits *)s->to)->pool;
    return ((const Hits *)s->to)->all != NULL || pool->n < pool->cap || s->q->meets_raw
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

VsStatus vs_scan(VsGraph *g, const VsQuery *q, size_t k, VsHit *hits, size_t *n) {
    Scan s = scan_of(g, q, k, NULL);
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
        st = scan_all(&s);
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
