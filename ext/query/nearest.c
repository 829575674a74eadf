/*
 * The n nearest rows, and all rows in order of distance.
 *
 * Both are made of rounds. A round asks the index for the `ask` nearest rows; those that
 * the filter admits (admit.c) get their distances from the stored vectors (rerank.c). If
 * that is too few a further round asks for more. A round is
 *
 *     a walk   of the graph: likely rows, at the cost of few codes
 *     a scan   of the codes: every row up to the distance `reach`, proven (csrc/search/scan.h)
 *     rows     the row table from end to end: where most rows would be read anyway, or the
 *              codes tell nothing
 *
 * The n nearest begin with a walk where that costs less than a scan. min(n, matching) rows
 * come always: the last round is a scan that reaches every row.
 *
 * All rows are never walked, so they come sorted by (distance, rowid) and none is late. Of
 * a round no more candidates are read than the rows that are taken need: a row is given
 * when it is nearer than all candidates that were not read. The first round is for a few
 * hundred rows, the second for a sixteenth of the table, and then the row table is read.
 *
 * Ties. Equal distances come in order of rowid. A scan has them all. Where a walk has seen
 * more rows at the last distance than it may give, a scan within that distance decides
 * which ones come first.
 *
 * A statement that is open while its connection writes goes on in the present: each round
 * leaves out what is not farther than the last row, and what was found before.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "csrc/graph/fit.h"
#include "csrc/base/assert.h"
#include "csrc/base/sort.h"
#include "ext/query/knn.h"
#include "ext/base/rowmap.h"
#include "ext/table/errors.h"
#include "csrc/search/search.h"

#define FIRST_ROUND 512
#define FIRST_HINTED 128 /* where the statement has a LIMIT */
/* Candidates that are read at once, of a round that is read as its rows are taken. */
#define FIRST_CHUNK 32
#define LARGEST_CHUNK 256
#define FEW_ROWS 1000
#define ROWS_PER_READ 16 /* a row by itself costs as much as so many in a row */

static VsGraph *graph_of(const VsxKnn *knn) {
    return knn->vector->graph;
}

static const VsAdmit *admit_of(const VsxKnn *knn) {
    const VsxAdmission *a = &knn->admission;
    return a->gate == VSX_GATE_NODES ? &a->nodes->admit : NULL;
}

/* Codes that a scan looks at. */
static size_t codes_of(const VsxKnn *knn) {
    const VsAdmit *admit = admit_of(knn);
    return admit == NULL ? graph_of(knn)->state.n_live : admit->count;
}

/* Whether distances are read from rows, and not told by the codes. */
static int reads_rows(const VsxKnn *knn) {
    double told;
    return knn->vector->index->def->content != NULL ||
           !vsx_order_distance(knn->vector, 1, &told);
}

/* ---- a round --------------------------------------------------------------------- */

/* No less than x, nor than what is rounded to it. */
static float at_least(double x) {
    return nextafterf((float)x, INFINITY);
}

static VsStatus scan(VsxKnn *knn, const VsQuery *q, size_t ask, VsxRound *r) {
    size_t codes = codes_of(knn);
    VsWanted wanted = {ask, at_least(knn->bounds.high), admit_of(knn)};
    VsStatus st = vs_scan_candidates(graph_of(knn), q, &wanted, &r->found);
    if (st == VS_OK) {
        r->proven = 1;
        r->whole = r->found.reach >= wanted.within;
        /* of all rows few are read as a rule: those that are taken need */
        double most = knn->want == VSX_ALL && ask < VSX_ALL
                          ? FEW_ROWS + (double)codes / 2
                          : FEW_ROWS + (double)codes / ROWS_PER_READ +
                                (ask < VSX_ALL ? 2 * (double)ask : 0);
        r->rows = reads_rows(knn) && (double)r->found.n > most;
    }
    if (st == VS_OK && !r->rows) {
        vs_candidates_sort(r->found.at, r->found.n);
    }
    return st;
}

/* Behind a filter the walk looks `ef` rows further than those that it gives, as an
 * unfiltered one looks further than its k. */
static VsStatus walk(VsxKnn *knn, const VsQuery *q, size_t ask, VsxRound *r) {
    VsGraph *g = graph_of(knn);
    size_t n = 0, live = g->state.n_live, room = ask < live ? ask : live,
           ef = knn->ef + (knn->admission.gate == VSX_GATE_OPEN ? 0 : room);
    VsHit *hits = sqlite3_malloc64((room + 1) * sizeof *hits);
    VsCandidate *likely = vs_alloc(&g->alloc, room + 1, sizeof *likely);
    VsStatus st = hits == NULL || likely == NULL ? VS_NOMEM : VS_OK;
    st = st == VS_OK ? vs_search(g, q, room, ef, hits, &n) : st;
    st = st == VS_OK ? vsx_likely(g, q, hits, n, likely) : st;
    if (st == VS_OK) {
        /* a walk cannot tell rows apart whose distances leave float32 */
        r->rows = n > 0 && (vsx_leaves_float32(hits[0].order) ||
                            vsx_leaves_float32(hits[n - 1].order));
        r->found = (VsCandidates){likely, n, INFINITY};
        r->whole = n == live;
    } else {
        vs_free(&g->alloc, likely);
    }
    sqlite3_free(hits);
    return st;
}

/* Bounds of pq are so wide that a scan of it would read most rows. */
static int may_scan(const VsxKnn *knn, size_t ask) {
    const VsGraph *g = graph_of(knn);
    size_t codes = codes_of(knn),
           ef = knn->ef + (knn->admission.gate == VSX_GATE_OPEN ? 0 : ask);
    return (g->params.code.codec != VS_CODEC_PQ || codes <= FEW_ROWS) &&
           vs_search_scans(g, ask, ef, codes);
}

static int look(VsxKnn *knn, size_t ask, int proven, VsxRound *r) {
    VsGraph *g = graph_of(knn);
    VsQuery q;
    uint64_t before = vs_evaluations(g);
    *r = (VsxRound){0};
    VsStatus st = vs_query_set(g, knn->query, &q);
    if (st == VS_OK) {
        st = (proven ? scan : walk)(knn, &q, ask, r);
    }
    r->there = st == VS_OK;
    knn->figures.evaluations += vs_evaluations(g) - before;
    knn->figures.batches++;
    return vsx_code(knn->vector->index, st);
}

static void end_round(VsxKnn *knn, VsxRound *r) {
    vs_free(&graph_of(knn)->alloc, r->found.at);
    *r = (VsxRound){0};
}

/* Where distances are rounded to float32, one beyond the reach may be rounded to it. */
static VsxPick pick_of(const VsxKnn *knn, const VsxRound *r, size_t want) {
    int probes = knn->admission.gate == VSX_GATE_PROBE;
    float reach = r->found.reach;
    reach = knn->ties.dialect->float32 && reach > 0 && reach < INFINITY
                ? nextafterf(reach, 0)
                : reach;
    return (VsxPick){.want = want,
                     .reach = r->proven ? (double)reach : HUGE_VAL,
                     .patience = probes ? vsx_admit_patience(knn) : UINT64_MAX,
                     .next = HUGE_VAL};
}

/* ---- results --------------------------------------------------------------------- */

/* What comes after what was given, up to knn->want rows in all. */
static int give(VsxKnn *knn, const VsxResult *rows, size_t n) {
    VsxResults *out = &knn->result;
    size_t before = out->n;
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < n && out->n < knn->want; i++) {
        int known =
            before > 0 && vsx_results_compare(&rows[i], &out->at[before - 1]) <= 0;
        if (!known &&
            (knn->taken == NULL || vsx_rowmap_get(knn->taken, rows[i].rowid) == NULL)) {
            rc = vsx_results_add(out, rows[i]);
            VS_ASSERT(out->n < 2 || vsx_results_compare(&out->at[out->n - 2],
                                                        &out->at[out->n - 1]) <= 0);
        }
    }
    return rc;
}

int vsx_nearest_rows(VsxKnn *knn) {
    VsxResults all = {0};
    int rc = vsx_scan_rows(knn, &all);
    rc = rc == SQLITE_OK ? give(knn, all.at, all.n) : rc;
    knn->complete = 1;
    sqlite3_free(all.at);
    return rc;
}

/* ---- the gate -------------------------------------------------------------------- */

/* Rows that a filter may admit to be resolved at once: with S of n rows passing,
 * resolving costs some 0.6 us S, and probing until `need` pass some 4 us need n / S (on
 * 100,000 rows of SIFT-128). */
static size_t few_rows(const VsxKnn *knn, size_t need) {
    double n = graph_of(knn)->state.n_live, even = sqrt(6.7 * (double)need * n);
    size_t few = need < FEW_ROWS / 2 ? FEW_ROWS : 2 * need;
    return (double)few > even ? few : (size_t)even;
}

static int open_gate(VsxKnn *knn, size_t need) {
    int rc = knn->open ? SQLITE_OK : vsx_admit_open(knn, few_rows(knn, need));
    knn->open = 1;
    return rc;
}

/* The share of the rows that pass, as far as it is known before one was asked about. */
static double share_of(const VsxKnn *knn) {
    double live = graph_of(knn)->state.n_live, n = live;
    switch (knn->admission.gate) {
    case VSX_GATE_SET:
        n = (double)vsx_rowmap_count(knn->filter.rowids);
        break;
    case VSX_GATE_NODES:
        n = knn->admission.nodes->admit.count;
        break;
    case VSX_GATE_PROBE:
        n = live / 2;
        break;
    default:
        break;
    }
    return n < live ? (n + 1) / (live + 1) : 1;
}

/* ---- the n nearest --------------------------------------------------------------- */

static int compare_rowids(const void *a, const void *b) {
    const VsxResult *x = a, *y = b;
    return x->rowid < y->rowid ? -1 : x->rowid > y->rowid;
}

/* Equal distances come in this order. */
static uint64_t key_of(const VsxKnn *knn, sqlite3_int64 rowid) {
    return knn->ties.dialect->tie != NULL ? vsx_tie(&knn->ties, rowid)
                                          : (uint64_t)rowid ^ (uint64_t)1 << 63;
}

/* The candidates in that order; *out: their number in found[]. */
static int in_order(VsxKnn *knn, const VsCandidates *found, VsKeyed **room,
                    const VsKeyed **out) {
    *room = sqlite3_malloc64((2 * found->n + 1) * sizeof **room);
    if (*room == NULL) {
        return SQLITE_NOMEM;
    }
    for (size_t i = 0; i < found->n; i++) {
        const VsNode *node = NULL;
        VsStatus st = vs_node(graph_of(knn), found->at[i].node, &node);
        if (st != VS_OK) {
            return vsx_code(knn->vector->index, st);
        }
        (*room)[i] = (VsKeyed){key_of(knn, node->rowid), (uint32_t)i};
    }
    *out = vs_sort_keyed(*room, *room + found->n, found->n);
    return SQLITE_OK;
}

/* Reads candidates in that order until there are `want` rows not farther than `last`.
 * `near`, by rowid: those that are nearer and known. */
static int read_ties(VsxKnn *knn, const VsCandidates *found, double last, size_t want,
                     const VsxResults *near, VsxResults *out) {
    VsKeyed *room = NULL;
    const VsKeyed *order = NULL;
    int rc = in_order(knn, found, &room, &order);
    for (size_t i = 0; rc == SQLITE_OK && i < found->n && out->n < want; i++) {
        const VsCandidate *c = &found->at[order[i].item];
        const VsNode *node = NULL;
        VsxResult r = {0};
        int passes = 0;
        rc = vsx_code(knn->vector->index, vs_node(graph_of(knn), c->node, &node));
        r.rowid = rc == SQLITE_OK ? node->rowid : 0;
        if (rc == SQLITE_OK && (near->n == 0 || bsearch(&r, near->at, near->n, sizeof r,
                                                        compare_rowids) == NULL)) {
            rc = vsx_pick_row(knn, c, &r, &passes);
        }
        if (rc == SQLITE_OK && passes && r.distance <= last) {
            rc = vsx_results_add(out, r);
        }
    }
    sqlite3_free(room);
    return rc;
}

/* Trusts the walk for what is nearer than the last distance, and reads no more of the copies
 * of one vector than are given. */
static int finish_many(VsxKnn *knn, const VsCandidates *found, VsxResults *rows) {
    double last = rows->at[rows->n - 1].distance;
    size_t want = rows->n, nearer = 0;
    VsxResults near = {0};
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && rows->at[nearer].distance < last) {
        rc = vsx_results_add(&near, rows->at[nearer++]);
    }
    if (near.n > 0) {
        qsort(near.at, near.n, sizeof *near.at, compare_rowids);
    }
    rows->n = nearer;
    rc = rc == SQLITE_OK ? read_ties(knn, found, last, want, &near, rows) : rc;
    sqlite3_free(near.at);
    vsx_results_sort(rows->at, rows->n);
    return rc;
}

/* A walk gave `rows`, and has seen another at the last distance: of all that lie there
 * those that come first in order of rowid are given. Where the scan leaves few candidates,
 * the answer is proven. */
static int finish_ties(VsxKnn *knn, VsxResults *rows) {
    VsxBounds bounds = knn->bounds;
    VsxRound r = {0};
    size_t want = rows->n;
    knn->bounds.high = rows->at[want - 1].distance;
    int rc = look(knn, VSX_ALL, 1, &r);
    knn->bounds = bounds;
    if (rc == SQLITE_OK && !r.rows && r.found.n <= FEW_ROWS + 2 * want) {
        VsxPick pick = pick_of(knn, &r, want);
        pick.patience = UINT64_MAX;
        rc = vsx_pick_rows(knn, r.found.at, r.found.n, &pick);
        sqlite3_free(rows->at);
        *rows = pick.rows;
    } else if (rc == SQLITE_OK) {
        rc = finish_many(knn, &r.found, rows);
    }
    end_round(knn, &r);
    return rc;
}

/* What the next round asks for. */
typedef struct Asking {
    size_t want, need; /* rows; candidates for as many rows */
    size_t ask;        /* so that about `need` pass */
    size_t times;      /* of a scan of what passes: so often `want` */
    int done;
} Asking;

static size_t ask_for(const VsxKnn *knn, size_t need, double share) {
    double live = graph_of(knn)->state.n_live, ask = ceil((double)need / share);
    return ask < live ? (size_t)ask : (size_t)live;
}

/* Too few rows passed: asks for more by the share that did. */
static void ask_more(const VsxKnn *knn, const VsxPick *pick, Asking *a) {
    double share = ((double)pick->passed + 1) / ((double)pick->looked + 1);
    size_t more = ask_for(knn, a->need + a->need / 4, share);
    a->ask = more > 2 * a->ask ? more : 2 * a->ask;
    a->times *= 2;
}

/* Of a walk that gave just enough rows nothing tells whether the last one is tied. */
static int is_answer(const VsxRound *r, const VsxPick *pick, size_t want) {
    int compared = r->proven || pick->farther || pick->next < HUGE_VAL;
    return r->whole || pick->beyond || (pick->rows.n >= want && compared);
}

static int take_round(VsxKnn *knn, const VsxRound *r, Asking *a) {
    VsxPick pick = pick_of(knn, r, a->want);
    int rc = vsx_pick_rows(knn, r->found.at, r->found.n, &pick);
    if (rc == SQLITE_OK && pick.impatient) {
        rc = vsx_admit_resolve(knn);
        a->ask = ask_for(knn, a->need, share_of(knn));
    } else if (rc == SQLITE_OK && is_answer(r, &pick, a->want)) {
        size_t n = pick.rows.n;
        if (!r->proven && n > 0 && pick.next <= pick.rows.at[n - 1].distance) {
            rc = finish_ties(knn, &pick.rows);
        }
        rc = rc == SQLITE_OK ? give(knn, pick.rows.at, pick.rows.n) : rc;
        a->done = 1;
    } else if (rc == SQLITE_OK) {
        ask_more(knn, &pick, a);
    }
    sqlite3_free(pick.rows.at);
    return rc;
}

/* A set of rowids is asked as it is while that means fewer rows than it has. */
static int resolve_set(VsxKnn *knn, const Asking *a) {
    if (knn->admission.gate != VSX_GATE_SET ||
        vsx_rowmap_count(knn->filter.rowids) > a->ask) {
        return SQLITE_OK;
    }
    return vsx_admit_resolve(knn);
}

static int nearest_round(VsxKnn *knn, Asking *a) {
    int proven = knn->exact || knn->bounds.low != -HUGE_VAL || may_scan(knn, a->ask);
    int rc = proven ? resolve_set(knn, a) : SQLITE_OK;
    VsxGate gate = knn->admission.gate;
    size_t codes = codes_of(knn), ask = a->ask;
    VsxRound r = {0};
    if (proven && (gate == VSX_GATE_OPEN || gate == VSX_GATE_NODES)) {
        ask = a->want < codes / a->times ? a->want * a->times : codes;
    }
    r.rows = proven && codes > FEW_ROWS && ask > codes / 4 && reads_rows(knn);
    rc = rc != SQLITE_OK || r.rows ? rc : look(knn, ask, proven, &r);
    knn->figures.plan = r.rows                  ? "rows"
                        : proven                ? "exact scan"
                        : gate == VSX_GATE_OPEN ? "walk"
                                                : "filtered walk";
    if (rc == SQLITE_OK && r.rows) {
        rc = vsx_nearest_rows(knn);
        a->done = 1;
    } else if (rc == SQLITE_OK) {
        rc = take_round(knn, &r, a);
    }
    end_round(knn, &r);
    return rc;
}

static int nearest(VsxKnn *knn) {
    VsGraph *g = graph_of(knn);
    size_t live = g->state.n_live, want = knn->want < live ? knn->want : live,
           need = g->codec->candidates(want, knn->ef);
    Asking a = {.want = want, .times = 1, .done = want == 0};
    a.need = need > want ? need : want + 1; /* one more tells of a tie */
    int rc = a.done ? SQLITE_OK : open_gate(knn, a.need);
    a.ask = rc == SQLITE_OK ? ask_for(knn, a.need, share_of(knn)) : 0;
    while (rc == SQLITE_OK && !a.done) {
        rc = nearest_round(knn, &a);
    }
    knn->complete = 1;
    return rc;
}

/* ---- all rows -------------------------------------------------------------------- */

/* `again`: the next one asks for as much. */
static void drop_round(VsxKnn *knn, int again) {
    end_round(knn, &knn->round);
    knn->held.n = 0;
    knn->again = again;
}

/* A range is read to its end, unless LIMIT says otherwise. */
static size_t ask_next(const VsxKnn *knn) {
    size_t codes = codes_of(knn), most = codes / ROWS_PER_READ,
           first = knn->hint > FIRST_HINTED ? knn->hint
                   : knn->hint > 0          ? FIRST_HINTED
                                            : FIRST_ROUND;
    if (knn->bounds.high != HUGE_VAL && knn->hint == 0) {
        return VSX_ALL;
    }
    if (knn->asked == 0 && (first <= FEW_ROWS || first <= most)) {
        return first;
    }
    return knn->asked < most ? most : VSX_ALL;
}

static int begin_round(VsxKnn *knn) {
    knn->asked = knn->again ? knn->asked : ask_next(knn);
    knn->again = 0;
    knn->chunk = knn->hint > FIRST_CHUNK ? knn->hint : FIRST_CHUNK;
    int rows = knn->asked == VSX_ALL && knn->bounds.high == HUGE_VAL && reads_rows(knn);
    int rc = rows ? SQLITE_OK : look(knn, knn->asked, 1, &knn->round);
    if (rc == SQLITE_OK && (rows || knn->round.rows)) {
        drop_round(knn, 0);
        return vsx_nearest_rows(knn);
    }
    return rc;
}

/* Gives what is held and nearer than all candidates that were not read. */
static int give_certain(VsxKnn *knn) {
    const VsxRound *r = &knn->round;
    VsxResults *held = &knn->held;
    size_t n = 0;
    int more = r->read < r->found.n;
    double low = more ? (double)r->found.at[r->read].low : HUGE_VAL;
    while (n < held->n && (!more || held->at[n].distance < low)) {
        n++;
    }
    int rc = give(knn, held->at, n);
    held->n -= n;
    if (n > 0 && held->n > 0) {
        memmove(held->at, held->at + n, held->n * sizeof *held->at);
    }
    return rc;
}

/* Reads the next candidates of the round, more each time. */
static int read_round(VsxKnn *knn) {
    VsxRound *r = &knn->round;
    size_t left = r->found.n - r->read, n = knn->chunk < left ? knn->chunk : left;
    VsxPick pick = pick_of(knn, r, VSX_ALL);
    pick.rows = knn->held;
    int rc = vsx_pick_rows(knn, r->found.at + r->read, n, &pick);
    knn->held = pick.rows;
    r->read = pick.beyond ? r->found.n : r->read + n;
    knn->chunk *= knn->chunk < LARGEST_CHUNK ? 2 : 1;
    if (rc == SQLITE_OK && pick.impatient) {
        drop_round(knn, 1);
        return vsx_admit_resolve(knn);
    }
    rc = rc == SQLITE_OK ? give_certain(knn) : rc;
    if (rc == SQLITE_OK && r->read == r->found.n) {
        knn->complete = r->whole;
        drop_round(knn, 0);
    }
    return rc;
}

static int next_of_all(VsxKnn *knn) {
    size_t before = knn->result.n;
    int rc = open_gate(knn, FIRST_CHUNK);
    knn->figures.plan = knn->bounds.high != HUGE_VAL ? "range" : "stream";
    while (rc == SQLITE_OK && !knn->complete && knn->result.n == before) {
        rc = knn->round.there ? read_round(knn) : begin_round(knn);
    }
    return rc;
}

/* ---- both ------------------------------------------------------------------------ */

/* The table was changed: nothing that was found comes again. */
static int follow(VsxKnn *knn) {
    VsxResults *r = &knn->result;
    if (!vsx_knn_changed(knn)) {
        return SQLITE_OK;
    }
    if (knn->taken == NULL && (knn->taken = vsx_rowmap_new()) == NULL) {
        return SQLITE_NOMEM;
    }
    int rc = vsx_rowmap_reserve(knn->taken, r->n);
    for (size_t i = 0; rc == SQLITE_OK && i < r->n; i++) {
        vsx_rowmap_put(knn->taken, r->at[i].rowid, 0);
    }
    if (rc == SQLITE_OK && knn->admission.gate == VSX_GATE_NODES) {
        rc = vsx_admit_resolve(knn); /* other nodes */
    }
    drop_round(knn, knn->asked > 0);
    knn->moved = 1;
    knn->changes = graph_of(knn)->changes;
    return rc;
}

int vsx_nearest(VsxKnn *knn) {
    int rc = follow(knn);
    if (rc == SQLITE_OK) {
        rc = knn->want == VSX_ALL ? next_of_all(knn) : nearest(knn);
    }
    const VsAdmit *admit = admit_of(knn);
    knn->figures.admitted = admit == NULL ? -1 : (sqlite3_int64)admit->count;
    knn->figures.probes = knn->admission.probes;
    return rc;
}
