/* Resumable search over a pinned graph; see stream.h. */
#include "stream.h"

#include <string.h>

#include "model.h"
#include "snapshot.h"
#include "walk.h"

struct VsStream {
    VsGraph *graph; /* NULL: closed */
    VsStream *next; /* over the same graph */
    VsGraph view;   /* what is read: a copy of *graph, or of what it was (pinned) */
    int pinned, lost;
    int still; /* no more expansions: everything is seen */
    int begun; /* the first batch was asked for */
    VsScratch *scratch;
    VsQuery query;
    size_t ef;
    VsPool window; /* the nearest, sorted */
    size_t cap_window;
    VsHit *far; /* the others: a heap, nearest first */
    size_t n_far, cap_far;
};

/* ---- the snapshot ---------------------------------------------------------------- */

/* What is read in this call. Until it is pinned the view is the graph itself with another
 * scratch, so that pages which are loaded stay with the graph. */
static VsStatus look(VsStream *s) {
    if (s->lost || s->graph == NULL) {
        return VS_MOVED;
    }
    if (!s->pinned) {
        s->view = *s->graph;
        s->view.scratch = s->scratch;
        s->view.streams = NULL;
    }
    return VS_OK;
}

void vs_streams_pin(VsGraph *g) {
    for (VsStream *s = g->streams; s != NULL; s = s->next) {
        if (s->pinned || s->lost) {
            continue;
        }
        VsTable table[VS_PAGE_KINDS];
        s->lost = look(s) != VS_OK || vs_tables_clone(g, g->table, table) != VS_OK;
        if (!s->lost) {
            memcpy(s->view.table, table, sizeof table);
            s->view.base = g;
            s->pinned = 1;
        }
    }
}

void vs_streams_forget(VsGraph *g) {
    vs_streams_pin(g); /* the tables go */
    for (VsStream *s = g->streams; s != NULL; s = s->next) {
        s->graph = NULL;
        s->view.base = NULL;
        s->lost = 1;
    }
    g->streams = NULL;
}

void vs_streams_lose(VsGraph *g, const VsModel *model) {
    for (VsStream *s = g->streams; s != NULL; s = s->next) {
        s->lost |= model != NULL && s->query.model == model;
    }
}

int vs_stream_moved(const VsStream *s) {
    return s->pinned || s->lost;
}

/* ---- open and close -------------------------------------------------------------- */

static VsStatus enter(VsStream *s);

VsStatus vs_stream_open(VsGraph *g, const void *v, size_t ef, VsStream **out) {
    VsStream *s = vs_alloc_zero(&g->alloc, 1, sizeof *s);
    if (s == NULL) {
        return VS_NOMEM;
    }
    s->graph = g;
    /* tombstones take places in the window */
    s->ef = (size_t)((double)ef * (g->state.n_live + (double)g->state.n_dead) /
                     (g->state.n_live + 1.0)) +
            1;
    s->next = g->streams;
    g->streams = s;
    VsStatus st =
        vs_scratch_new(&g->alloc, g->codec->query_size(&g->params.code), &s->scratch);
    if (st == VS_OK) {
        st = vs_model_ready(g); /* not in the view, which keeps nothing */
    }
    if (st == VS_OK) {
        st = look(s);
    }
    if (st == VS_OK) {
        st = vs_walk_reserve(&s->view, 0);
    }
    if (st == VS_OK) {
        st = vs_query_set(&s->view, v, &s->query);
    }
    if (st == VS_OK && g->params.kind == VS_HNSW && g->state.n_live > 0) {
        st = enter(s);
    }
    if (st != VS_OK) {
        vs_stream_close(s);
        return st;
    }
    *out = s;
    return VS_OK;
}

void vs_stream_close(VsStream *s) {
    if (s == NULL) {
        return;
    }
    VsAlloc a = s->graph != NULL ? s->graph->alloc : s->view.alloc;
    for (VsStream **at = s->graph == NULL ? NULL : &s->graph->streams;
         at != NULL && *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    for (int k = 0; s->pinned && k < VS_PAGE_KINDS; k++) {
        vs_table_clear(&a, &s->view.table[k]);
    }
    vs_scratch_free(&a, s->scratch);
    vs_free(&a, s->window.at);
    vs_free(&a, s->far);
    vs_free(&a, s);
}

VsStatus vs_stream_node(VsStream *s, uint32_t node, const VsNode **out) {
    VsStatus st = look(s);
    return st == VS_OK ? vs_node(&s->view, node, out) : st;
}

uint64_t vs_stream_evaluations(const VsStream *s) {
    return s->scratch->evaluations;
}

/* ---- window and heap ------------------------------------------------------------- */

static void sift_down(VsStream *s, size_t at) {
    VsHit hit = s->far[at];
    for (size_t child = 2 * at + 1; child < s->n_far; child = 2 * at + 1) {
        if (child + 1 < s->n_far && vs_before(s->far[child + 1], s->far[child])) {
            child++;
        }
        if (!vs_before(s->far[child], hit)) {
            break;
        }
        s->far[at] = s->far[child];
        at = child;
    }
    s->far[at] = hit;
}

static VsHit pop_far(VsStream *s) {
    VsHit first = s->far[0];
    s->far[0] = s->far[--s->n_far];
    if (s->n_far > 0) {
        sift_down(s, 0);
    }
    return first;
}

/* Room for it was reserved. */
static void push_far(VsStream *s, VsHit hit) {
    size_t at = s->n_far++;
    while (at > 0 && vs_before(hit, s->far[(at - 1) / 2])) {
        s->far[at] = s->far[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->far[at] = hit;
}

static VsStatus reserve_far(VsStream *s, size_t more) {
    return vs_grow(&s->view.alloc, (void **)&s->far, &s->cap_far, s->n_far + more,
                   sizeof *s->far);
}

/* Makes the window hold the nearest `size` of all that wait. */
static VsStatus widen(VsStream *s, size_t size) {
    VsStatus st = vs_grow(&s->view.alloc, (void **)&s->window.at, &s->cap_window,
                          size + 1, sizeof *s->window.at);
    if (st != VS_OK) {
        return st;
    }
    s->window.cap = size > s->window.n ? size : s->window.n;
    while (s->window.n < s->window.cap && s->n_far > 0) {
        s->window.at[s->window.n++] = pop_far(s); /* farther than all in the window */
    }
    return VS_OK;
}

/* Offers a scored front; returns the foremost place that changed. */
static size_t offer(VsStream *s, const VsFront *front) {
    VsPool *w = &s->window;
    size_t foremost = w->cap;
    for (uint32_t i = 0; i < front->n; i++) {
        VsHit hit = {front->order[i], front->node[i]};
        if (w->n == w->cap) {
            if (w->n == 0 || !vs_before(hit, w->at[w->n - 1])) {
                push_far(s, hit);
                continue;
            }
            push_far(s, w->at[w->n - 1]);
        }
        size_t place = vs_pool_offer(w, hit);
        foremost = place < foremost ? place : foremost;
    }
    return foremost;
}

static VsStatus score_and_offer(VsStream *s, VsFront *front, size_t *foremost) {
    VsStatus st = reserve_far(s, front->n);
    if (st == VS_OK) {
        vs_front_score(&s->view, &s->query, front);
        *foremost = offer(s, front);
    }
    return st;
}

/* ---- the walk -------------------------------------------------------------------- */

/* The entry point of layer 0 and the seeds. */
static VsStatus enter(VsStream *s) {
    const uint32_t *seeds = NULL;
    size_t n_seeds = 0, place;
    uint32_t entry = VS_NIL;
    VsFront front;
    VsStatus st = widen(s, s->ef);
    if (st == VS_OK) {
        st = vs_descend(&s->view, &s->query, 0, &entry);
    }
    if (st == VS_OK) {
        st = vs_seeds(&s->view, &seeds, &n_seeds);
    }
    for (size_t i = 0; st == VS_OK && i <= n_seeds; i++) {
        st = vs_front_one(&s->view, i == 0 ? entry : seeds[i - 1], &front);
        if (st == VS_OK) {
            st = score_and_offer(s, &front, &place);
        }
    }
    return st;
}

/* Expands the window, nearest first. */
static VsStatus expand(VsStream *s) {
    size_t next = 0;
    uint32_t expansions = 0;
    while (!s->still && next < s->window.n) {
        VsHit *hit = &s->window.at[next];
        if ((hit->node & VS_CHECKED) != 0) {
            next++;
            continue;
        }
        VsFront front;
        uint32_t node = hit->node;
        size_t foremost = 0;
        front.n = 0;
        VsStatus st = reserve_far(s, 2 * VS_MAX_M); /* nothing is lost when this fails */
        if (st == VS_OK) {
            st = vs_front_unseen(&s->view, &s->query, node, 0, &front);
        }
        if (st == VS_OK) {
            hit->node |= VS_CHECKED;
            st = score_and_offer(s, &front, &foremost);
        }
        if (st == VS_OK && ++expansions % VS_POLL_EVERY == 0 &&
            vs_interrupted(&s->view)) {
            st = VS_INTERRUPT;
        }
        if (st != VS_OK) {
            return st;
        }
        next = foremost <= next ? foremost : next + 1;
    }
    return VS_OK;
}

/* The live ones among the first n of the window, by all that their codes know, nearest
 * first: hits whose `node` is the place in the window. The dead leave it. */
static VsStatus refine(VsStream *s, size_t n, VsHit *out, size_t *n_out) {
    VsPool *w = &s->window;
    VsStatus st = VS_OK;
    int same = s->query.full == s->query.score;
    *n_out = 0;
    for (size_t i = 0; st == VS_OK && i < n; i++) {
        const unsigned char *code = NULL;
        VsHit hit = {w->at[i].order, (uint32_t)i};
        uint32_t node = w->at[i].node & ~VS_CHECKED;
        int live = 0;
        st = vs_is_live(&s->view, node, &live);
        if (st == VS_OK && live && !same) {
            st = vs_slot(&s->view, VS_CODE, node, &code);
        }
        if (st == VS_OK && code != NULL) {
            s->query.full(&s->query, &code, 1, &hit.order);
        }
        if (st == VS_OK && live) {
            out[(*n_out)++] = hit;
        } else if (st == VS_OK) {
            w->at[i].node = VS_NIL;
        }
    }
    if (st == VS_OK && !same) {
        vs_hits_sort(out, *n_out);
    }
    return st;
}

/* Moves up to `want` from the window to hits. Where walking uses less than the codes know,
 * they are the best of somewhat more. */
static VsStatus give(VsStream *s, size_t want, VsHit *hits, size_t *n) {
    enum { MORE = 24 };
    VsPool *w = &s->window;
    VsScratch *scratch = s->scratch;
    size_t missing = want - *n, found = 0, kept = 0,
           look_at = missing + (s->query.full == s->query.score ? 0 : MORE);
    look_at = look_at < w->n ? look_at : w->n;
    VsStatus st = vs_grow(&s->view.alloc, (void **)&scratch->pool, &scratch->cap_pool,
                          look_at, sizeof *scratch->pool);
    if (st == VS_OK) {
        st = refine(s, look_at, scratch->pool, &found);
    }
    for (size_t i = 0; st == VS_OK && i < found && i < missing; i++) {
        VsHit *at = &w->at[scratch->pool[i].node];
        hits[(*n)++] = (VsHit){scratch->pool[i].order, at->node & ~VS_CHECKED};
        at->node = VS_NIL;
    }
    for (size_t i = 0; i < w->n; i++) {
        if (w->at[i].node != VS_NIL) {
            w->at[kept++] = w->at[i];
        }
    }
    w->n = kept;
    return st;
}

VsStatus vs_stream_next(VsStream *s, size_t want, VsHit *hits, size_t *n) {
    VsStatus st = look(s);
    *n = 0;
    /* what comes later is harder to find than what comes first: look ef further */
    size_t size = s->begun ? s->ef + want : s->ef > want ? s->ef : want;
    s->begun = 1;
    while (st == VS_OK && *n < want) {
        st = widen(s, size);
        if (st == VS_OK) {
            st = expand(s);
        }
        if (st != VS_OK || s->window.n == 0) {
            break;
        }
        st = give(s, want, hits, n);
    }
    return st;
}

/* ---- the rest -------------------------------------------------------------------- */

/* Appends a scored front to `far`, which is no heap meanwhile. */
static VsStatus append_far(VsStream *s, VsFront *front) {
    VsStatus st = reserve_far(s, front->n);
    if (st == VS_OK) {
        vs_front_score(&s->view, &s->query, front);
        for (uint32_t i = 0; i < front->n; i++) {
            s->far[s->n_far++] = (VsHit){front->order[i], front->node[i]};
        }
        front->n = 0;
    }
    return st;
}

static void heapify(VsStream *s) {
    while (s->window.n > 0) { /* the window is filled again from the heap */
        s->far[s->n_far++] = s->window.at[--s->window.n];
    }
    for (size_t i = s->n_far / 2; i-- > 0;) {
        sift_down(s, i);
    }
}

VsStatus vs_stream_rest(VsStream *s, const VsAdmit *admit) {
    enum { FRONT = 64 };
    VsFront front;
    uint32_t polled = 0;
    VsStatus st = look(s);
    uint32_t n_nodes = st == VS_OK ? s->view.state.n_nodes : 0;
    front.n = 0;
    s->still = 1;
    for (uint32_t u = vs_next_admitted(admit, 0, n_nodes); st == VS_OK && u < n_nodes;
         u = vs_next_admitted(admit, u + 1, n_nodes)) {
        int live = 0;
        st = vs_is_live(&s->view, u, &live);
        if (st == VS_OK && live && !vs_is_visited(s->scratch, u)) {
            st = vs_slot(&s->view, VS_CODE, u, &front.code[front.n]);
            if (st == VS_OK) {
                vs_visit(s->scratch, u);
                front.node[front.n++] = u;
            }
        }
        if (st == VS_OK && front.n == FRONT) {
            st = append_far(s, &front);
        }
        if (st == VS_OK && ++polled % (VS_POLL_EVERY * 16) == 0 &&
            vs_interrupted(&s->view)) {
            st = VS_INTERRUPT;
        }
    }
    if (st == VS_OK && front.n > 0) { /* an index without rows has no way to compare */
        st = append_far(s, &front);
    }
    if (st == VS_OK) {
        st = reserve_far(s, s->window.n);
    }
    if (st == VS_OK) {
        heapify(s);
    }
    return st;
}
